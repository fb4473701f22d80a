"""The report page of a scored run: one HTML file with scores, baselines, training curves and every answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from hrm_arc.errors import UserError
from hrm_arc.files import write_text
from hrm_arc.reading import read_lines
from hrm_arc.report.charts import training_curves, training_details
from hrm_arc.report.gallery import NAMES, answer
from hrm_arc.report.names import BASELINES, metric_value
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import read_metrics


def write_page(folder: RunFolder, run: RunFolder | None = None) -> Path:
    """Write ``report.html`` into a folder of scores.

    Args:
        folder: the folder with scores.json and predictions.jsonl.
        run: the run that was scored; by default the folder itself or the run that it lies in.

    Raises:
        UserError: the run was not scored yet, or one of its files is damaged.
    """
    run = run or folder.owner()
    scores, config = read_scores(folder), run.config()
    rows = {run.run_id: read_metrics(run.metrics_file)}
    page = environment().get_template("page.html").render(
        title=f"{config['name']} {run.run_id}",
        config=config,
        status=run.status(),
        source=None if folder.path == run.path else folder.path.name,
        scores=scores,
        baselines=[(BASELINES[name], values) for name, values in scores["baselines"].items()],
        curves=training_curves(rows),
        details=training_details(rows),
        answers=[answer(row) for row in read_lines(folder.predictions_file)],
        outcomes=NAMES,
    )  # fmt: skip
    write_text(folder.report_file, page)
    return folder.report_file


def read_scores(folder: RunFolder) -> dict[str, Any]:
    """The scores.json of a folder.

    Raises:
        UserError: there is none, or an earlier version wrote it.
    """
    try:
        scores = json.loads(folder.scores_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        scores = None
    if not isinstance(scores, dict) or "step" not in scores:
        raise UserError(folder.path, "not scored yet: run hrm eval on it first")
    if "metrics" not in scores:
        raise UserError(folder.scores_file, "written by an earlier version: run hrm eval again")
    return scores


def environment() -> Environment:
    """The environment of the page templates, with their filters."""
    found = Environment(
        loader=PackageLoader("hrm_arc.report"), autoescape=lambda name: name != "gallery.js", trim_blocks=True
    )
    found.filters["percent"] = lambda share: "not known" if share is None else f"{share:.1%}"
    found.filters["value_of"] = lambda metric, value: metric_value(metric, value)
    return found
