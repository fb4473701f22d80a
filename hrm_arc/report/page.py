"""The report page of a scored run: one HTML file with scores, baselines, training curves and every answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader

from hrm_arc.evaluation.results import read_results
from hrm_arc.files import check_target, write_text
from hrm_arc.report.charts import training_curves, training_details
from hrm_arc.report.gallery import NAMES, answer
from hrm_arc.report.listing import missing_metrics
from hrm_arc.report.names import BASELINES, metric_value
from hrm_arc.report.outlook import outlook
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import read_metrics


def prepare_page(folder: RunFolder, run: RunFolder) -> None:
    """Check what a page will need before hours of work depend on it: the run's files, the folder, the packages.

    Args:
        folder: the folder that the scores will be written to.
        run: the run that is scored.

    Raises:
        UserError: a file of the run cannot be read, or a file of the folder cannot be written.
    """
    import matplotlib  # noqa: F401  A missing package is named now.

    run.config(), run.status(), read_metrics(run.metrics_file)
    check_target(folder.report_file)


def write_page(folder: RunFolder, run: RunFolder | None = None) -> Path:
    """Write ``report.html`` into a folder of scores.

    Args:
        folder: the folder with scores.json and predictions.jsonl.
        run: the run that was scored; by default the folder itself or the run that it lies in.

    Raises:
        UserError: the run was not scored yet, or one of its files is damaged.
    """
    write_html(folder.report_file, page_of(folder, run or folder.owner()))
    return folder.report_file


def page_of(folder: RunFolder, run: RunFolder, pictures: Sequence[str] = ()) -> str:
    """The report page of a folder of scores.

    Args:
        folder: the folder with scores.json and predictions.jsonl.
        run: the run that was scored.
        pictures: addresses of the curves, for a page of a server that forbids scripts and styles in pages: then also
            these are linked, as ``/static/report.css`` and ``/static/gallery.js``. Otherwise the page is one file.

    Raises:
        UserError: the run was not scored yet, or one of its files is damaged.
    """
    (scores, answered), config = read_results(folder), run.config()
    rows = {run.run_id: read_metrics(run.metrics_file)}
    return environment().get_template("page.html").render(
        title=f"{config['name']} {run.run_id}",
        config=config,
        status=run.status(),
        source=None if folder.path == run.path else folder.path.name,
        scores=scores,
        baselines=[(BASELINES[name], values) for name, values in scores["baselines"].items()],
        curves="" if pictures else training_curves(rows),
        details="" if pictures else training_details(rows),
        pictures=pictures,
        missing=missing_metrics(run, run.status()),
        outlook=outlook(rows[run.run_id], config),
        answers=[answer(row) for row in answered],
        outcomes=NAMES,
    )  # fmt: skip


def write_html(path: Path, page: str) -> None:
    """Write a page. Half of a surrogate pair, which a task's name may have and UTF-8 has not, becomes ``?``.

    Raises:
        ReportedError: it cannot be written.
    """
    write_text(path, page.encode("utf-8", "replace").decode())


def environment() -> Environment:
    """The environment of the page templates, with their filters."""
    found = Environment(
        loader=PackageLoader("hrm_arc.report"),
        autoescape=lambda name: name not in ("gallery.js", "report.css"),
        trim_blocks=True,
    )
    found.filters["percent"] = lambda share: "not known" if share is None else f"{share:.1%}"
    found.filters["value_of"] = lambda metric, value: metric_value(metric, value)
    return found
