"""What the page shows of runs: rows of the list, a run with what differs from others, and the report page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence, Set
from functools import lru_cache
from typing import Any

from hrm_arc.errors import ReportedError, UserError, printable
from hrm_arc.report.charts import has_details, training_curves, training_details
from hrm_arc.report.listing import missing_metrics, signature_of, state_of
from hrm_arc.report.outlook import outlook
from hrm_arc.report.page import page_of
from hrm_arc.runs.folder import RunFolder, differences
from hrm_arc.runs.metrics import read_between, read_metrics
from hrm_arc.studio.curves import LAST_STEP, ROWS, Curves, baseline_lines, charts_between
from hrm_arc.studio.live import problem
from hrm_arc.studio.tasks import scored_folders, scores_summary

__all__ = ["Followers", "charts_between", "facts", "list_row", "report_page", "report_picture"]

STATUS = (
    *("current_step", "current_epoch", "progress", "samples_per_sec", "estimated_time_remaining", "timing", "message"),
    *("exact_accuracy", "token_accuracy", "training_loss", "peak_memory_bytes", "best", "last_validation"),
    *("last_checkpoint", "last_update", "start_time", "pass_at_2", "pass_at_2_step", "model_flops_per_sec"),
)


def list_row(row: dict[str, Any], here: Set[str]) -> dict[str, Any]:
    """A row of the list, without control characters; ``ours``: whether the run was started here."""
    shown = {key: printable(value) if isinstance(value, str) else value for key, value in row.items()}
    return {**shown, "baselines": baseline_lines(row), "ours": row["run_id"] in here}


class Followers:
    """Runs as they go, shown together.

    Args:
        runs: the runs.
        here: the names of the runs that train here now.
    """

    def __init__(self, runs: Sequence[RunFolder], here: Callable[[], Collection[str]]):
        self._followers = [_Follower(run, here) for run in runs]

    def read(self) -> list[dict[str, Any]]:
        """Of each run what is shown of it, or its :func:`~hrm_arc.studio.live.problem`."""
        return [_read(follower) for follower in self._followers]


def _read(follower: _Follower) -> dict[str, Any]:
    try:
        return follower.read()
    except ReportedError as error:
        return problem(error)


class _Follower:
    """A run as it goes: its status and its curves."""

    def __init__(self, run: RunFolder, here: Callable[[], Collection[str]]):
        self._run = run
        self._here = here
        self._curves = Curves(run)

    def read(self) -> dict[str, Any]:
        """``status``: the fields of status.json that are shown, and ``ours``: whether this studio can stop it,
        and ``has_weights``: whether a model of it can think; and the charts, see :mod:`hrm_arc.studio.curves`.

        Raises:
            UserError: the run is gone, or one of its files is not a regular file.
        """
        if not self._run.path.is_dir():
            raise UserError(printable(self._run.run_id), "is gone: its folder was deleted or moved")
        status = self._run.status()
        shown = {key: status.get(key) for key in STATUS if status.get("state") != "damaged"}
        return {
            "status": {
                **shown,
                "state": state_of(status),
                "message": status.get("message"),
                "baselines": baseline_lines(status),
                "missing": missing_metrics(self._run, status),
                "ours": self._run.run_id in self._here(),
                "has_weights": self._run.checkpoints.is_dir(),
            },
            **self._curves.read(),
        }


def facts(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """What does not change while a run trains, of runs that are shown together.

    Returns:
        ``runs``: of each its ``run_id``, ``name``, ``recipe`` as plain data, ``scores`` and ``outlook``, and
        ``problem``: what is damaged; ``differences``: the keys of their recipes that differ, with the value of each.
    """
    found = [_facts(run) for run in runs]
    recipes = [each["recipe"] or {} for each in found]
    keys = sorted({key for other in recipes[1:] for key in differences(recipes[0], other)})
    rows = [{"key": key, "values": [_value_of(recipe, key) for recipe in recipes]} for key in keys]
    return {"runs": found, "differences": rows}


def _facts(run: RunFolder) -> dict[str, Any]:
    recipe, problem = None, None
    said: list[str] = []
    try:
        recipe = run.config()
        # Rows of the whole run, thinned: the sentence does not depend on every row.
        said = outlook(read_between(run.metrics_file, 0, LAST_STEP, ROWS), recipe)
    except UserError as error:
        problem = printable(error)
    scores = []
    for folder in scored_folders(run):
        try:
            scores.append({**scores_summary(folder), "own": folder.path == run.path})
        except UserError as error:
            problem = problem or printable(error)
    return {
        "run_id": printable(run.run_id),
        "folder": printable(run.path),
        "name": None if recipe is None else printable(recipe["name"]),
        "recipe": recipe,
        "problem": problem,
        "scores": scores,
        "outlook": said,
    }


def _value_of(recipe: Any, key: str) -> Any:
    """The value under a dotted key; None: there is none."""
    for part in key.split("."):
        recipe = recipe.get(part) if isinstance(recipe, dict) else None
    return recipe


def report_page(folder: RunFolder, address: str) -> str:
    """The report page of a scored run, with scripts, styles and curves as files of the server.

    Raises:
        UserError: the run was not scored yet, or one of its files is damaged.
    """
    run = folder.owner()
    files = (folder.scores_file, folder.predictions_file, run.status_file, run.metrics_file)
    return _report_page(folder, address, tuple(map(signature_of, files)))


@lru_cache(2)
def _report_page(folder: RunFolder, address: str, signatures: tuple[Any, ...]) -> str:
    run = folder.owner()
    is_detailed = has_details({run.run_id: read_metrics(run.metrics_file)})
    names = [name for name in _PICTURES if name != "details" or is_detailed]
    return page_of(folder, run, tuple(f"/report/{name}.svg?{address}" for name in names))


_PICTURES = {"curves": training_curves, "details": training_details}
# The settings of matplotlib that a picture is drawn with are those of all threads.
_DRAWING = threading.Lock()


def report_picture(run: RunFolder, name: str) -> str | None:
    """A picture of the report page as SVG; None: it has none of that name, or nothing to draw in it."""
    draw = _PICTURES.get(name.removesuffix(".svg"))
    if draw is None:
        return None
    rows = read_metrics(run.metrics_file)
    with _DRAWING:
        drawn = draw({run.run_id: rows})
    if not drawn:
        return None
    return drawn.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) if "xmlns=" not in drawn else drawn
