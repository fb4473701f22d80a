"""Reads puzzle files: single tasks, Kaggle's and other files of many tasks, and boards in CSV.

One function reads a file and gives its tasks and its problems. ``hrm data check`` and training
both use it, so that ``hrm data check`` reports exactly the problems that would stop a run.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError, and_more
from hrm_arc.puzzles.board_files import ALL, Counts, read_boards
from hrm_arc.puzzles.listing import solutions_beside, warn_once
from hrm_arc.puzzles.task import Problem, PuzzleError, Task, build_task, grid_problems, name_problem, task_problems
from hrm_arc.reading import read_text, syntax_problem

log = logging.getLogger(__name__)
# Reading stops at this number of problems: the file is most likely not a puzzle file.
MOST_PROBLEMS = 1000
LARGEST_FILE = 2**29


@dataclass
class Examined:
    """The content of a file.

    Attributes:
        tasks: the tasks without a problem, in the order of the file.
        problems: every problem, with the file that it is in.
        gaps: what is missing in these files, but does not stop a run: answers that the solutions file lacks, or tasks
            that it alone has.
    """

    tasks: list[Task] = field(default_factory=list)
    problems: list[tuple[Path, Problem]] = field(default_factory=list)
    gaps: list[tuple[Path, Problem]] = field(default_factory=list)

    def add(self, path: Path, problems: Iterable[Problem]) -> bool:
        """Add the problems of one part of a file; returns whether there was none."""
        before = len(self.problems)
        for problem in problems:
            if len(self.problems) >= MOST_PROBLEMS:
                self.problems.append((path, Problem("", f"more than {MOST_PROBLEMS} problems; the rest is not listed")))
                raise _TooManyError
            self.problems.append((path, problem))
        return len(self.problems) == before

    def only_tasks(self) -> tuple[Task, ...]:
        """The tasks, if there is no problem. Gaps are logged.

        Raises:
            PuzzleError: there is one; the message gives the first problem and the number of further ones.
        """
        if self.problems:
            path, problem = self.problems[0]
            raise PuzzleError(path, f"{problem}{and_more(self.problems)}")
        if self.gaps:
            path, gap = self.gaps[0]
            warn_once(f"{path}: {gap}{and_more(self.gaps)}")
        return tuple(self.tasks)


class _TooManyError(Exception):
    """A file has more problems than are listed."""


def examine_file(path: Path, group: str = "", counts: Counts = ALL) -> Examined:
    """The tasks and the problems of one puzzle file.

    Args:
        path: ``.json``: a task ``{"train": [...], "test": [...]}``; an object of tasks by name, as in
            Kaggle's challenges (outputs come from the solutions file in the same folder, if there is
            one); or a list of tasks. ``.csv``: Sudoku or Maze boards.
        group: the group of the tasks.
        counts: the largest numbers of boards to read of a game.
    """
    found = Examined()
    try:
        if path.suffix.lower() == ".csv":
            tasks, problems = read_boards(path, counts)
            for file, problem in problems:
                found.add(file, [problem])
            found.tasks += tasks
        else:
            _examine_json(found, path, group)
    except PuzzleError as error:
        found.problems.append((Path(error.where), Problem("", error.what)))
    except _TooManyError:
        pass
    return found


def examine_text(text: str, path: Path) -> Examined:
    """The tasks and the problems of the text of a JSON file; see :func:`examine_file`. Nothing is read from the disk.

    Args:
        text: the content.
        path: what problems name; a task without a name gets that of the file.
    """
    found = Examined()
    try:
        _examine_data(found, path, parse_strict_json(text, path), "", None)
    except PuzzleError as error:
        found.problems.append((Path(error.where), Problem("", error.what)))
    except _TooManyError:
        pass
    return found


def read_strict_json(path: Path) -> Any:
    """Decode a JSON file.

    Raises:
        PuzzleError: the file cannot be read, is not JSON, or has a repeated key.
    """
    try:
        text = read_text(path, LARGEST_FILE)
    except FileNotFoundError:
        what = "is a link that leads nowhere" if path.is_symlink() else "there is no such file"
        raise PuzzleError(path, what) from None
    except UserError as error:
        raise PuzzleError(path, error.what) from None
    return parse_strict_json(text, path)


def parse_strict_json(text: str, path: Path) -> Any:
    """Decode JSON.

    Raises:
        PuzzleError: it is not JSON, or has a repeated key; naming ``path``.
    """
    try:
        with _garbage_collector_off():
            return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise PuzzleError(path, f"not JSON: {syntax_problem(error)}") from None
    except RecursionError:
        raise PuzzleError(path, "not a task: nested too deeply") from None
    except _RepeatedKeyError as error:
        raise PuzzleError(path, f"key {error.key[:40]!r} appears twice in one object, expected once") from None
    except ValueError:  # Python refuses to convert integers of thousands of digits.
        raise PuzzleError(path, "not a task: a number of thousands of digits") from None


@contextlib.contextmanager
def _garbage_collector_off() -> Iterator[None]:
    """Turn the garbage collector off: it would visit millions of new lists again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _RepeatedKeyError(Exception):
    def __init__(self, key: str):
        self.key = key


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without repeated keys; without this check the decoder keeps only the last value."""
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)
    return result


def _examine_json(found: Examined, path: Path, group: str) -> None:
    _examine_data(found, path, read_strict_json(path), group, solutions_beside(path))


def _examine_data(found: Examined, path: Path, data: Any, group: str, beside: Path | None) -> None:
    """Examine decoded JSON; ``beside`` is the solutions file that belongs to it, if there is one."""
    if isinstance(data, list) and data:
        for number, each in enumerate(data):
            _examine_task(found, path, each, _name_in(each, f"{path.stem}-{number}"), f"[{number}]", group)
    elif _is_combined(data):
        if all(isinstance(each, list) for each in data.values()):
            for name, grids in data.items():
                for number, grid in enumerate(grids):
                    found.add(path, grid_problems(grid, f"{name}[{number}]"))
            return
        solutions, answers = _solutions(found, beside)
        if solutions is not None and (strangers := [name for name in answers if name not in data]):
            what = f"has solutions of tasks that are not in {path.name}: {strangers[0]}{and_more(strangers)}"
            found.gaps.append((solutions, Problem("", what)))
        for name, each in data.items():
            answered = _answer(found, solutions, each, answers.get(name), name) if solutions else each
            _examine_task(found, path, answered, name, name, group)
    else:
        _examine_task(found, path, data, path.stem, "", group)


def _is_combined(data: Any) -> bool:
    """Whether the JSON is an object of tasks, or of Kaggle's solutions, by name."""
    if not isinstance(data, dict) or not data or "train" in data or "test" in data:
        return False
    # A task whose keys are in capitals; of tasks by name each is an object.
    if any(key.lower() in ("train", "test") and isinstance(value, list) for key, value in data.items()):
        return False
    return all(isinstance(each, dict) for each in data.values()) or all(
        isinstance(each, list) for each in data.values()
    )


def _name_in(task: Any, otherwise: str) -> str:
    names = (task.get(key) for key in ("id", "name", "task_id")) if isinstance(task, dict) else ()
    return next((name for name in names if isinstance(name, str) and name), otherwise)


def _examine_task(found: Examined, path: Path, data: Any, name: str, place: str, group: str) -> None:
    prefix = f"{place}." if place else ""
    named = [Problem(place, what)] if (what := name_problem(name)) else []
    # Not a list: a file can have a million problems, and the first thousand end its reading.
    problems = (Problem(f"{prefix}{p.place}".rstrip("."), p.what) for p in task_problems(data))
    if found.add(path, itertools.chain(named, problems)):
        found.tasks.append(build_task(data, name, group))


def _solutions(found: Examined, beside: Path | None) -> tuple[Path | None, Mapping[str, Any]]:
    """The solutions file that belongs to challenges, and its content."""
    if beside is None:
        return None, {}
    try:
        answers = read_strict_json(beside)
    except PuzzleError as error:
        found.add(beside, [Problem("", error.what)])
        return None, {}
    if not isinstance(answers, dict):
        found.add(beside, [Problem("", "expected an object with a list of grids for each task")])
        return None, {}
    return beside, answers


def _answer(found: Examined, solutions: Path, task: Any, answers: Any, name: str) -> Any:
    """A challenge with the outputs from its solutions, or the challenge alone if either has a problem."""
    tests = task.get("test") if isinstance(task, dict) else None
    if not isinstance(tests, list) or not all(isinstance(test, dict) for test in tests):
        return task
    if answers is None:
        if any(test.get("output") is None for test in tests):
            found.gaps.append((solutions, Problem("", f"no solution of task {name}, so it has no known answer")))
        return task
    if not isinstance(answers, list) or len(answers) != len(tests):
        got = f"{len(answers)} grids" if isinstance(answers, list) else "not a list"
        what = f"{got}, expected a list of {len(tests)}, one grid for each test"
        found.add(solutions, [Problem(name, what)])
        return task
    valid = [found.add(solutions, grid_problems(answer, f"{name}[{n}]")) for n, answer in enumerate(answers)]
    if not all(valid):
        return task
    for n, (test, answer) in enumerate(zip(tests, answers, strict=True)):
        if test.get("output") not in (None, answer):
            found.add(solutions, [Problem(f"{name}[{n}]", "differs from the output that the challenges file gives")])
            return task
    return {**task, "test": [{**test, "output": answer} for test, answer in zip(tests, answers, strict=True)]}


def task_json(task: Task) -> dict[str, Any]:
    """A task as the JSON object of its file; test pairs whose output is not known have no ``output``."""
    return {
        part: [
            {"input": p.input.tolist(), **({} if p.output is None else {"output": p.output.tolist()})} for p in pairs
        ]
        for part, pairs in (("train", task.demonstrations), ("test", task.tests))
    }
