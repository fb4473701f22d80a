"""Tasks for the page: thumbnails and groups, one task, what a model solved, and problems of what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError, printable
from hrm_arc.evaluation.breakdown import groups
from hrm_arc.evaluation.results import read_results, read_scores, solved_tasks
from hrm_arc.puzzles.formats import MOST_PROBLEMS, Examined, examine_text, task_json
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Grid, Pair, Task, grid_problems, make_grid, parse_task
from hrm_arc.report.gallery import compared
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.named import SHIPPED, read_about
from hrm_arc.studio.exchange import RefusedError
from hrm_arc.studio.places import Model

# Pairs of a task that the editor takes, tasks of a file that it lists, and problems that it shows.
MOST_PAIRS, MOST_TASKS, MOST_SHOWN = 100, 2000, 200
# Sources whose tasks are kept.
KEPT = 8


@lru_cache(KEPT)
def tasks_of(source: str) -> tuple[Task, ...]:
    """The tasks of a source, which are kept."""
    return load_tasks(source)


@lru_cache(KEPT)
def thumbnails(source: str) -> list[dict[str, Any]]:
    """What the page shows of each task: its first demonstration in small, its groups and its size.

    Of a game without demonstrations it is the first test input. A grid is text: a line for each row, a digit for each
    cell.
    """
    return [_thumbnail(task) for task in tasks_of(source)]


def _thumbnail(task: Task) -> dict[str, Any]:
    first = task.demonstrations[0] if task.demonstrations else Pair(task.tests[0].input, None)
    sides = [grid.shape for grid in task.visible_grids()]
    return {
        "id": task.id,
        "groups": groups(task),
        "height": max(height for height, _ in sides),
        "width": max(width for _, width in sides),
        "demonstrations": len(task.demonstrations),
        "tests": len(task.tests),
        "input": _digits(first.input),
        "output": None if first.output is None else _digits(first.output),
    }


def _digits(grid: Grid) -> str:
    return "\n".join("".join(map(str, row)) for row in grid.tolist())


def find(source: str, name: Any) -> Task:
    """A task of a source.

    Raises:
        RefusedError: there is no such task.
    """
    found = next((task for task in tasks_of(source) if task.id == name), None)
    if found is None:
        raise RefusedError("task", f"there is no task {name!r:.60} in {source}", 404)
    return found


def as_object(task: Task) -> dict[str, Any]:
    """A task with its name, as the page works on it; of the boards of a game, the first ones."""
    content = task_json(task)
    return {"id": task.id, **{part: pairs[:MOST_PAIRS] for part, pairs in content.items()}}


def solved_by(model: Model) -> list[dict[str, Any]]:
    """What is known of the tasks that a model solved: for each set of scores its ``data``, and ``solved`` by task.

    Raises:
        UserError: the files of its scores are damaged.
    """
    if model.kind == "weights":
        scores = read_about(SHIPPED / model.name)["scores"]
        return [_listed(row["data"], row["solved_tasks"], row["tasks"]) for row in scores if "solved_tasks" in row]
    if model.kind == "file":
        return []
    return [_solved(folder) for folder in scored_folders(RunFolder(model.path))]


def _listed(data: str, solved: Sequence[str], tasks: int) -> dict[str, Any]:
    return {"data": data, "solved": dict.fromkeys(solved, True), "complete": True, "tasks": tasks}


def _solved(folder: RunFolder) -> dict[str, Any]:
    by_task = solved_tasks(read_results(folder).rows)
    return {"data": folder.path.name, "solved": by_task, "complete": False, "tasks": len(by_task)}


def scored_folders(run: RunFolder) -> list[RunFolder]:
    """The folders with scores of a run: itself, and one for each other source."""
    others = run.path / "scores"
    found = [run, *(RunFolder(path) for path in sorted(others.iterdir()))] if others.is_dir() else [run]
    return [folder for folder in found if folder.scores_file.is_file()]


def scores_summary(folder: RunFolder) -> dict[str, Any]:
    """The headline scores of a folder, beside the baselines.

    Raises:
        UserError: scores.json is damaged.
    """
    scores = read_scores(folder)
    return {
        "name": folder.path.name,
        "step": scores["step"],
        "solved": scores["solved_pass2"],
        "test_outputs": scores["test_outputs"],
        "votes": scores["votes"],
        "warnings": scores["warnings"],
    }


def check(name: str, text: str) -> dict[str, Any]:
    """The tasks and the problems of the text of a puzzle file, named as ``hrm data check`` names them.

    Args:
        name: of the file; only shown, never opened.
        text: its content.
    """
    path = Path(printable(name).replace("/", "_").replace("\\", "_") or "task.json")
    if path.suffix.lower() != ".json":
        return {"tasks": [], "problems": [_problem("", f"{path.name}: expected a .json file")]}
    found = examine_text(text, path)
    problems = [_problem(problem.place, problem.what) for _, problem in found.problems]
    return {"problems": problems[:MOST_SHOWN], "count": min(len(problems), MOST_PROBLEMS), "tasks": _fitting(found)}


def _fitting(found: Examined) -> list[dict[str, Any]]:
    """The tasks that the editor takes; what it does not take becomes a problem."""
    if len(found.tasks) > MOST_TASKS:
        raise RefusedError("file", f"{len(found.tasks):,} tasks, the studio takes at most {MOST_TASKS:,} of a file")
    for task in found.tasks:
        check_pairs(task)
    return [as_object(task) for task in found.tasks]


def check_pairs(task: Task) -> None:
    """Check that a task has at most :data:`MOST_PAIRS` pairs.

    Raises:
        RefusedError: it has more.
    """
    pairs = len(task.demonstrations) + len(task.tests)
    if pairs > MOST_PAIRS:
        raise RefusedError(task.id, f"{pairs:,} pairs, the studio takes at most {MOST_PAIRS}")


def _problem(place: str, what: str) -> dict[str, str]:
    return {"place": printable(place), "what": printable(what)}


def judge(answer: Any, truth: Any) -> dict[str, Any]:
    """How an answer by hand differs from the truth: a verdict in words, and the wrong cells as [row, column].

    Raises:
        RefusedError: one of them is not a grid.
    """
    for name, grid in (("answer", answer), ("truth", truth)):
        for problem in grid_problems(grid, name) if grid is not None or name == "answer" else ():
            raise RefusedError(problem.place, problem.what)
    return verdict(make_grid(answer), None if truth is None else make_grid(truth))


def verdict(answer: Grid, truth: Grid | None) -> dict[str, Any]:
    """See :func:`judge`; ``right`` is null where the truth is not known."""
    said, wrong = compared(answer, truth)
    cells = [] if wrong is None else [[row, column] for row, column in zip(*wrong.nonzero(), strict=True)]
    return {
        "verdict": said,
        "right": None if truth is None else said == "right",
        "wrong": [[int(row), int(column)] for row, column in cells],
    }


def task_from(data: Any) -> Task:
    """A task that a request holds.

    Raises:
        RefusedError: it is not one; naming its first problem as ``hrm data check`` does.
    """
    if not isinstance(data, dict):
        raise RefusedError("task", "expected an object with id, train and test")
    pairs = sum(len(data[part]) for part in ("train", "test") if isinstance(data.get(part), list))
    if pairs > MOST_PAIRS:
        raise RefusedError("task", f"{pairs:,} pairs, the studio takes at most {MOST_PAIRS}")
    try:
        return parse_task({part: data[part] for part in ("train", "test") if part in data}, data.get("id"), "task")  # type: ignore[arg-type]
    except UserError as error:
        raise RefusedError(error.where, error.what) from None
