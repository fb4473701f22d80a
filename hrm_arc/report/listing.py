"""The list of runs in a folder, and which of them is the newest.

A damaged run is shown as a row; the others are still listed.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hrm_arc.errors import UserError
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.status import HEARTBEAT_SECONDS

log = logging.getLogger(__name__)

# A running process writes its status at every heartbeat; after this number of missed ones the run counts as lost.
MISSED_HEARTBEATS = 4
# The beginning of a run's ID: when it started, in UTC.
RUN_ID = re.compile(r"[0-9]{8}_[0-9]{6}(?=_[0-9a-f]{8}$)")


class RunList:
    """The runs of a folder, read again and again: of a run whose files have not changed nothing is read twice.

    Args:
        root: the folder of the runs.
    """

    def __init__(self, root: Path):
        self._root = root
        # By file: what identifies its content, and what was read of it.
        self._recipes: dict[Path, tuple[Any, dict[str, Any]]] = {}
        self._statuses: dict[Path, tuple[Any, dict[str, Any]]] = {}

    def rows(self, seconds: float = math.inf) -> list[dict[str, Any]]:
        """One row for each run; see :func:`run_rows`.

        Args:
            seconds: after this time recipes that were not read before are left for the next call, those of the oldest
                runs last to be read. In the row of such a run ``state`` is ``reading``.

        Raises:
            UserError: the folder cannot be read.
        """
        runs = find_runs(self._root, self._status)
        end = time.monotonic() + seconds
        rows = [self._row(run, end) for run in reversed(runs)]
        here = {run.path for run in runs}
        for known in (self._recipes, self._statuses):
            for path in known.keys() - here:
                del known[path]
        return rows[::-1]

    def _row(self, run: RunFolder, end: float) -> dict[str, Any]:
        signature = signature_of(run.config_file), signature_of(run.accepted_file)
        known = self._recipes.get(run.path)
        if known is None or known[0] != signature:
            if time.monotonic() > end:
                unread = {"name": None, "model": None, "steps": None, "problem": None}
                return {**_run_row(run, unread, self._status(run)), "state": "reading"}
            known = self._recipes[run.path] = signature, _recipe_of(run)
        return _run_row(run, known[1], self._status(run))

    def _status(self, run: RunFolder) -> dict[str, Any]:
        signature = signature_of(run.status_file)
        known = self._statuses.get(run.path)
        if known is None or known[0] != signature:
            known = self._statuses[run.path] = signature, run.status()
        return known[1]


def signature_of(file: Path) -> tuple[int, ...] | None:
    """What changes whenever a file is written or replaced; None where there is none."""
    try:
        status = file.lstat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def find_runs(root: Path, status_of: Callable[[RunFolder], dict[str, Any]] = RunFolder.status) -> list[RunFolder]:
    """All runs in the folder ``root``, oldest first by the time in UTC at which each started.

    A folder that has lost its recipe but has other files of a run is one, too.

    Args:
        root: the folder.
        status_of: reads the status of a run.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        folders = [RunFolder(path) for path in root.iterdir()]
    except OSError as error:
        raise UserError(root, f"cannot be read: {error.strerror}") from None
    runs = [(_started(run, status_of), run.run_id, run) for run in folders if _is_run(run)]
    return [run for _, _, run in sorted(runs, key=lambda found: found[:2])]


def _is_run(run: RunFolder) -> bool:
    """Whether a folder has a file that makes it a run; the file may be damaged or a dangling link."""
    try:
        return any(os.path.lexists(file) for file in (run.config_file, run.status_file, run.checkpoints))
    except (OSError, ValueError):
        return False


def _started(run: RunFolder, status_of: Callable[[RunFolder], dict[str, Any]]) -> tuple[float, int]:
    """When a run started: seconds since 1970 as its status or else its ID says, and when its recipe was written.

    Both are independent of time zones. The second orders runs that started within the same second.
    """
    try:
        written = run.config_file.lstat().st_mtime_ns
    except OSError:
        written = 0
    try:
        started = datetime.fromisoformat(status_of(run)["start_time"])
    except (KeyError, TypeError, ValueError):
        match = RUN_ID.match(run.run_id)
        try:
            started = datetime.strptime(match[0] if match else "", "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return 0.0, written
    try:
        return started.timestamp(), written
    except (OverflowError, OSError, ValueError):
        return 0.0, written


def newest_run(root: Path) -> RunFolder:
    """The newest run in the folder ``root``; a damaged one is passed over with a warning.

    Raises:
        UserError: there is none, or all are damaged.
    """
    runs = find_runs(root) if root.is_dir() else []
    if not runs:
        raise UserError(root, "no runs here; expected the folder given to hrm train --out (default: runs)")
    for run in reversed(runs):
        problem = _problem(run)
        if problem is None:
            return run
        log.warning("%s is passed over: damaged: %s", run.path, problem)
    raise UserError(root, f"{len(runs)} of {len(runs)} runs here are damaged")


def _problem(run: RunFolder) -> str | None:
    """What is damaged of a run's recipe or status, if anything is."""
    status = run.status()
    try:
        run.config()
    except UserError as error:
        return str(error)
    return str(status.get("message")) if status.get("state") == "damaged" else None


def run_rows(root: Path) -> list[dict[str, Any]]:
    """One row for each run: recipe, model, state, step and scores; None is not known.

    A run whose config.yaml is not a recipe, or whose status.json is damaged, has the state ``damaged``, and the key
    ``problem`` says why.
    """
    return RunList(root).rows()


def _recipe_of(run: RunFolder) -> dict[str, Any]:
    """What the list shows of a recipe, and what is damaged of it."""
    try:
        config = run.config()
    except UserError as error:
        return {"name": None, "model": None, "steps": None, "problem": str(error)}
    what = {"name": config["name"], "model": config["model"]["name"], "steps": config["training"]["max_steps"]}
    return {**what, "problem": None}


def _run_row(run: RunFolder, recipe: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the list, of what was read of the recipe and of the status."""
    what = {key: value for key, value in recipe.items() if key != "problem"}
    problem = recipe["problem"]
    if problem is None and status.get("state") == "damaged":
        problem = str(status.get("message"))
    try:
        # Exact match, whatever the recipe's validation.metric has chosen by.
        best = (status.get("best") or {}).get("exact_accuracy")
        if best is not None and not (isinstance(best, int | float) and abs(best) <= sys.float_info.max):
            raise ValueError("status.json: best.exact_accuracy is not a number")
    except (AttributeError, ValueError) as error:
        best, problem = None, problem or str(error)
    is_known = status.get("state") != "damaged"
    return {
        "run_id": run.run_id,
        **what,
        "state": state_of(status) if problem is None else "damaged",
        "problem": problem,
        "step": status.get("current_step") if is_known else None,
        "exact_accuracy": status.get("exact_accuracy"),
        "best": best,
        "pass_at_2": status.get("pass_at_2"),
        "pass_at_2_step": status.get("pass_at_2_step"),
        "baselines": status.get("baselines") if is_known else None,
        "progress": status.get("progress"),
        "samples_per_sec": status.get("samples_per_sec"),
        "estimated_time_remaining": status.get("estimated_time_remaining"),
        "started": status.get("start_time"),
        "folder": str(run.path),
    }


def state_of(status: Mapping[str, Any], now: datetime | None = None) -> str:
    """The state in a status, or ``lost`` if the run is on and has missed its heartbeats."""
    state = status.get("state", "unknown")
    if state not in ("running", "validating"):
        return state
    try:
        last = datetime.fromisoformat(status["last_update"]).astimezone(UTC)
        silence = (now or datetime.now(UTC)) - last
    except (KeyError, TypeError, ValueError, OverflowError):
        return "unknown"
    return "lost" if silence.total_seconds() > MISSED_HEARTBEATS * HEARTBEAT_SECONDS else state


def missing_metrics(run: RunFolder, status: Mapping[str, Any]) -> str | None:
    """Why a run has no curves, if the metrics of steps that were done are gone; otherwise None."""
    if not status.get("current_step") or run.metrics_file.exists():
        return None
    return f"{run.metrics_file.name} is missing, so nothing is known of the steps that were done"
