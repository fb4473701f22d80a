"""One self-contained HTML page about a scored run: scores beside baselines, curves, every answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from hrm_arc.errors import UserError
from hrm_arc.files import read_lines, write_text
from hrm_arc.report.charts import training_curves
from hrm_arc.report.gallery import NAMES, answer
from hrm_arc.report.names import BASELINES, SCORES
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import read_metrics


def write_page(folder: RunFolder, run: RunFolder | None = None) -> Path:
    """Write ``report.html`` into a folder of scores, from what lies there.

    Args:
        folder: where the scores lie.
        run: the run that was scored, if the folder neither is it nor lies within it.

    Raises:
        UserError: it was not scored yet, or a file of it is damaged.
    """
    run = run or folder.owner()
    scores, config = read_scores(folder), run.config()
    page = environment().get_template("page.html").render(
        title=f"{config['name']} {run.run_id}",
        config=config,
        status=run.status(),
        source=None if folder.path == run.path else folder.path.name,
        scores=scores,
        averages=[(name, what, scores[name], scores["intervals"].get(name, [])) for name, what in SCORES.items()],
        baselines=[(BASELINES[name], values) for name, values in scores["baselines"].items()],
        curve=training_curves({run.run_id: read_metrics(run.metrics_file)}),
        answers=[answer(row) for row in read_lines(folder.predictions_file)],
        outcomes=NAMES,
        attempts=sorted(int(name[5:]) for name in scores if name.startswith("pass@") and name[5:].isdigit()),
    )  # fmt: skip
    write_text(folder.report_file, page)
    return folder.report_file


def read_scores(folder: RunFolder) -> dict[str, Any]:
    """The scores that lie in a folder.

    Raises:
        UserError: there are none, or they were made by a version that knew less.
    """
    try:
        scores = json.loads(folder.scores_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        scores = None
    if not isinstance(scores, dict) or "step" not in scores:
        raise UserError(folder.path, "not scored yet: run hrm eval on it first")
    return scores


def environment() -> Environment:
    """Where the templates are found."""
    found = Environment(
        loader=PackageLoader("hrm_arc.report"), autoescape=lambda name: name != "gallery.js", trim_blocks=True
    )
    found.filters["percent"] = lambda share: f"{share:.1%}"
    return found
