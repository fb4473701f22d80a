"""The page that compares two scored runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hrm_arc.evaluation.results import Results, read_results
from hrm_arc.report.charts import training_curves, training_details
from hrm_arc.report.gallery import attempts, filters, input_and_truth
from hrm_arc.report.names import BASELINES
from hrm_arc.report.page import environment, write_html
from hrm_arc.runs.folder import RunFolder, differences
from hrm_arc.runs.metrics import read_metrics


def write_versus(
    first: RunFolder,
    second: RunFolder,
    comparison: Mapping[str, Any],
    path: Path,
    results: tuple[Results, Results] | None = None,
) -> Path:
    """Write a page that compares the second run with the first.

    Args:
        first, second: the folders with their scores.
        comparison: from :func:`hrm_arc.evaluation.comparison.compare`.
        path: the file to write.
        results: of the two folders; read if None.

    Raises:
        UserError: a run was not scored yet, or one of its files is damaged.
    """
    folders = (first, second)
    runs = [folder.owner() for folder in folders]
    results = results or (read_results(first), read_results(second))
    scores = [each.scores for each in results]
    rows = [{(row["task"], row["test"]): row for row in each.rows} for each in results]
    names = _names(runs)
    metrics = {name: read_metrics(run.metrics_file) for name, run in zip(names, runs, strict=True)}
    outcomes = ("both", f"only {names[0]}", f"only {names[1]}", "neither")
    page = environment().get_template("versus.html").render(
        title=" and ".join(names),
        names=names,
        comparison=comparison,
        scores=scores,
        metrics=_common_metrics(scores),
        baselines=BASELINES,
        groups=_groups(scores),
        differences=differences(runs[0].config(), runs[1].config()),
        curves=training_curves(metrics),
        details=training_details(metrics),
        answers=[
            _answer(row, rows[1][key], names, outcomes)
            for key, row in rows[0].items()
            if key in rows[1] and row["truth"] is not None and rows[1][key]["truth"] is not None
        ],
        outcomes=outcomes,
    )  # fmt: skip
    write_html(path, page)
    return path


def _common_metrics(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The headline metrics that both runs have."""
    second = {metric["name"] for metric in scores[1]["metrics"]}
    return [metric for metric in scores[0]["metrics"] if metric["headline"] and metric["name"] in second]


def _names(runs: list[RunFolder]) -> list[str]:
    """The names of the two runs on the page: those of their recipes, if they differ."""
    for named in ([str(run.config()["name"]) for run in runs], [run.run_id for run in runs]):
        if named[0] != named[1]:
            return named
    return [f"{runs[0].run_id}, first", f"{runs[1].run_id}, second"]


def _answer(row: dict[str, Any], other: dict[str, Any], names: list[str], outcomes: tuple[str, ...]) -> dict[str, Any]:
    which = {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}[row["solved"], other["solved"]]
    return {
        **filters(row),
        "outcome": outcomes[which],
        "style": ("solved", "unknown", "unknown", "unsolved")[which],
        "pictures": [
            *input_and_truth(row),
            *attempts(row, f"{names[0]}, attempt"),
            *attempts(other, f"{names[1]}, attempt"),
        ],
        "strip": [],
    }


def _groups(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups that both runs have, with the scores of both."""
    second = {row["group"]: row for row in scores[1]["groups"]}
    return [
        {"group": row["group"], "rows": (row, second[row["group"]])}
        for row in scores[0]["groups"]
        if row["group"] in second
    ]
