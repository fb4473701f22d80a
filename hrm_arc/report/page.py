"""One self-contained HTML page about a run: curve, scores with baselines, every answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader

from hrm_arc.errors import UserError
from hrm_arc.files import read_lines, write_text
from hrm_arc.puzzles.task import make_grid
from hrm_arc.report.charts import training_curve
from hrm_arc.report.grids import svg
from hrm_arc.runs.folder import RunFolder

BASELINE_NAMES = {
    "pad_only": "padding everywhere",
    "position_mode": "best constant output",
    "copy_input": "copy of the input",
}


def write_page(folder: RunFolder) -> Path:
    """Write ``report.html`` into a scored run's folder, from what lies there.

    Raises:
        UserError: the run was not scored yet, or a file of it is damaged.
    """
    scores, config = read_scores(folder), folder.config()
    page = (
        _environment()
        .get_template("page.html")
        .render(
            title=f"{config['name']} {folder.run_id}",
            config=config,
            status=folder.status(),
            scores=scores,
            averages=_averages(scores),
            baselines=[(BASELINE_NAMES[name], values) for name, values in scores["baselines"].items()],
            curve=training_curve(read_lines(folder.metrics_file)),
            answers=[_answer(row) for row in read_lines(folder.predictions_file)],
        )
    )
    write_text(folder.report_file, page)
    return folder.report_file


def read_scores(folder: RunFolder) -> dict[str, Any]:
    """The scores that lie in a run's folder.

    Raises:
        UserError: the run was not scored yet, or by a version that knew no groups.
    """
    try:
        scores = json.loads(folder.scores_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        scores = None
    if not isinstance(scores, dict) or "groups" not in scores:
        raise UserError(folder.path, "not scored yet: run hrm eval on it first")
    return scores


def _averages(scores: dict[str, Any]) -> list[tuple[str, str, float, list[float]]]:
    """Name, meaning, value and interval of each exact score."""
    meanings = {
        "pass@2": "test outputs solved in two attempts (Kaggle)",
        "pass@1": "test outputs solved in one attempt",
        "pass@2_tasks_mean": "mean over tasks of the share solved (HRM, TRM)",
        "pass@2_tasks_strict": "tasks with every output solved (ARC-AGI-2)",
        "exact_accuracy": "test outputs right in one pass, without votes",
    }
    return [(name, what, scores[name], scores["intervals"].get(name, [])) for name, what in meanings.items()]


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    """One test output for the page: pictures of input, truth and attempts."""
    truth = None if row["truth"] is None else make_grid(row["truth"])
    total = sum(candidate["votes"] for candidate in row["candidates"])
    attempts = []
    for candidate in row["candidates"][:2]:
        grid = make_grid(candidate["grid"])
        attempts.append(
            {
                "picture": svg(grid, _wrong(grid, truth)),
                "share": candidate["votes"] / total,
                "right": truth is not None and np.array_equal(grid, truth),
                "note": _note(grid, truth),
            }
        )
    return {
        "task": row["task"],
        "test": row["test"] + 1,
        "input": svg(make_grid(row["input"])),
        "truth": None if truth is None else svg(truth),
        "attempts": attempts,
        "solved": any(attempt["right"] for attempt in attempts),
    }


def _wrong(grid: np.ndarray, truth: np.ndarray | None) -> np.ndarray | None:
    """Which cells differ, where the sizes agree."""
    return grid != truth if truth is not None and grid.shape == truth.shape else None


def _note(grid: np.ndarray, truth: np.ndarray | None) -> str:
    if truth is None:
        return "answer not known"
    if grid.shape != truth.shape:
        return f"size {grid.shape[0]} x {grid.shape[1]}, should be {truth.shape[0]} x {truth.shape[1]}"
    off = int((grid != truth).sum())
    return f"{off} of {truth.size} cells wrong" if off else "right"


def _environment() -> Environment:
    environment = Environment(loader=PackageLoader("hrm_arc.report"), autoescape=True)
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    return environment
