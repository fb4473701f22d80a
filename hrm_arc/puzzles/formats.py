"""Puzzle files as people have them: single tasks, Kaggle's and other combined files, boards in CSV.

Every file is examined in one pass that gives the puzzles in it and all that is wrong with it,
so that what ``hrm data check`` reports is what stops a run.
"""

from __future__ import annotations

import contextlib
import gc
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hrm_arc.errors import and_more
from hrm_arc.puzzles.boards import read_boards
from hrm_arc.puzzles.task import Problem, PuzzleError, Task, build_task, grid_problems, task_problems

SUFFIXES = (".json", ".csv")
# A file with more problems than this is no puzzle file with mistakes.
MOST_PROBLEMS = 1000
LARGEST_FILE = 2**29


@dataclass
class Examined:
    """What is in a file.

    Attributes:
        tasks: those without a problem, in the file's order.
        problems: everything wrong with the others, each with the file it is in.
    """

    tasks: list[Task] = field(default_factory=list)
    problems: list[tuple[Path, Problem]] = field(default_factory=list)

    def add(self, path: Path, problems: Iterator[Problem]) -> bool:
        """Take in the problems of one part of a file; returns whether there was none."""
        before = len(self.problems)
        for problem in problems:
            if len(self.problems) >= MOST_PROBLEMS:
                self.problems.append((path, Problem("", f"more than {MOST_PROBLEMS} problems; the rest is not listed")))
                raise _TooManyError
            self.problems.append((path, problem))
        return len(self.problems) == before

    def only_tasks(self) -> tuple[Task, ...]:
        """The tasks, if nothing is wrong.

        Raises:
            PuzzleError: naming the first problem and how many more there are.
        """
        if self.problems:
            path, problem = self.problems[0]
            raise PuzzleError(path, f"{problem}{and_more(self.problems)}")
        return tuple(self.tasks)


class _TooManyError(Exception):
    """A file has more problems than are worth listing."""


def examine_file(path: Path, group: str = "", most: int | None = None) -> Examined:
    """Everything in one puzzle file, right and wrong.

    Args:
        path: ``.json``: a task ``{"train": [...], "test": [...]}``; tasks by name, as in Kaggle's
            challenges (with the solutions file beside it, where there is one); or a list of
            tasks. ``.csv``: Sudoku or Maze boards.
        group: what the tasks belong to.
        most: of a game's boards, at most so many.
    """
    found = Examined()
    try:
        if path.suffix.lower() == ".csv":
            tasks, problems = read_boards(path, most)
            found.add(path, iter(problems))
            found.tasks += tasks
        else:
            _examine_json(found, path, group)
    except PuzzleError as error:
        found.problems.append((path, Problem("", error.what)))
    except _TooManyError:
        pass
    return found


def puzzle_files(folder: Path) -> list[Path]:
    """The puzzle files under a folder, in a stable order.

    Submissions hold no puzzles, and solutions are read with the challenges that they belong to.
    """
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES and file.is_file() and "submission" not in file.name
    ]
    beside = {solutions_beside(file) for file in files}
    return [file for file in files if file not in beside]


def solutions_beside(path: Path) -> Path | None:
    """The solutions that belong to a file of Kaggle challenges, under either spelling."""
    if "challenges" not in path.name:
        return None
    name = path.name.replace("challenges", "solutions")
    spellings = (name, re.sub(r"[-_]solutions", "_solutions", name), re.sub(r"[-_]solutions", "-solutions", name))
    return next((path.with_name(each) for each in spellings if path.with_name(each).is_file()), None)


def read_json(path: Path) -> Any:
    """Decode a JSON file.

    Raises:
        PuzzleError: it cannot be read, is no JSON, or has a key twice.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise PuzzleError(path, f"larger than {LARGEST_FILE // 2**20} MiB, expected a file of tasks")
        text = path.read_text(encoding="utf-8")
        with _uncollected():
            return json.loads(text, object_pairs_hook=_object)
    except OSError as error:
        raise PuzzleError(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PuzzleError(path, f"not UTF-8 text: bad byte at position {error.start}") from None
    except json.JSONDecodeError as error:
        raise PuzzleError(path, f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise PuzzleError(path, "not a task: nested too deeply") from None
    except _RepeatedKeyError as error:
        raise PuzzleError(path, f"key {error.key[:40]!r} comes twice in one object, expected once") from None
    except ValueError:  # Python refuses to convert integers of thousands of digits.
        raise PuzzleError(path, "not a task: a number of thousands of digits") from None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which looks at millions of new lists again and again."""
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
    """A JSON object. The decoder would keep the last of two values of a key in silence."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKeyError(next(key for n, key in enumerate(keys) if key in keys[:n]))
    return result


def _examine_json(found: Examined, path: Path, group: str) -> None:
    data = read_json(path)
    if isinstance(data, list) and data:
        for number, each in enumerate(data):
            _examine_task(found, path, each, _name_in(each, f"{path.stem}-{number}"), f"[{number}]", group)
    elif _is_combined(data):
        if all(isinstance(each, list) for each in data.values()):
            for name, grids in data.items():
                for number, grid in enumerate(grids):
                    found.add(path, grid_problems(grid, f"{name}[{number}]"))
            return
        solutions, answers = _solutions(found, path)
        for name, each in data.items():
            answered = _answer(found, solutions, each, answers.get(name), name) if solutions else each
            _examine_task(found, path, answered, name, name, group)
    else:
        _examine_task(found, path, data, path.stem, "", group)


def _is_combined(data: Any) -> bool:
    """Whether JSON holds tasks, or Kaggle's solutions, by name."""
    if not isinstance(data, dict) or not data or "train" in data or "test" in data:
        return False
    return all(isinstance(each, dict) for each in data.values()) or all(
        isinstance(each, list) for each in data.values()
    )


def _name_in(task: Any, otherwise: str) -> str:
    names = (task.get(key) for key in ("id", "name", "task_id")) if isinstance(task, dict) else ()
    return next((name for name in names if isinstance(name, str) and name), otherwise)


def _examine_task(found: Examined, path: Path, data: Any, name: str, place: str, group: str) -> None:
    prefix = f"{place}." if place else ""
    problems = (Problem(f"{prefix}{p.place}".rstrip("."), p.what) for p in task_problems(data))
    if found.add(path, problems):
        found.tasks.append(build_task(data, name, group))


def _solutions(found: Examined, path: Path) -> tuple[Path | None, Mapping[str, Any]]:
    """The solutions file beside challenges, and what it holds."""
    beside = solutions_beside(path)
    if beside is None:
        return None, {}
    try:
        answers = read_json(beside)
    except PuzzleError as error:
        found.problems.append((beside, Problem("", error.what)))
        return None, {}
    if not isinstance(answers, dict):
        found.problems.append((beside, Problem("", "expected an object of lists of grids, by task")))
        return None, {}
    return beside, answers


def _answer(found: Examined, solutions: Path, task: Any, answers: Any, name: str) -> Any:
    """A challenge with its test outputs, as far as both are sound."""
    tests = task.get("test") if isinstance(task, dict) else None
    if answers is None or not isinstance(tests, list) or not all(isinstance(test, dict) for test in tests):
        return task
    if not isinstance(answers, list) or len(answers) != len(tests):
        has = f"{len(answers)} grids" if isinstance(answers, list) else "no list"
        found.problems.append((solutions, Problem(name, f"{has}, expected a list of {len(tests)}, one for each test")))
        return task
    sound = [found.add(solutions, grid_problems(answer, f"{name}[{n}]")) for n, answer in enumerate(answers)]
    if not all(sound):
        return task
    return {**task, "test": [{**test, "output": answer} for test, answer in zip(tests, answers, strict=True)]}


def task_json(task: Task) -> dict[str, Any]:
    """A task as its file holds it; test pairs without an answer have none."""
    return {
        part: [
            {"input": p.input.tolist(), **({} if p.output is None else {"output": p.output.tolist()})} for p in pairs
        ]
        for part, pairs in (("train", task.demonstrations), ("test", task.tests))
    }
