"""The list of runs in a folder, and which of them is the newest.

A damaged run is shown as a row; the others are still listed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Mapping
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


def find_runs(root: Path) -> list[RunFolder]:
    """All runs in the folder ``root``, oldest first by the time in UTC at which each started.

    A folder that has lost its recipe but has other files of a run is one, too.
    """
    try:
        folders = [RunFolder(path) for path in root.iterdir()]
    except OSError as error:
        raise UserError(root, f"cannot be read: {error.strerror}") from None
    runs = [(_started(run), run.run_id, run) for run in folders if _is_run(run)]
    return [run for _, _, run in sorted(runs, key=lambda found: found[:2])]


def _is_run(run: RunFolder) -> bool:
    """Whether a folder has a file that makes it a run; the file may be damaged or a dangling link."""
    try:
        return any(os.path.lexists(file) for file in (run.config_file, run.status_file, run.checkpoints))
    except (OSError, ValueError):
        return False


def _started(run: RunFolder) -> tuple[float, int]:
    """When a run started: seconds since 1970 as its status or else its ID says, and when its recipe was written.

    Both are independent of time zones. The second orders runs that started within the same second.
    """
    try:
        written = run.config_file.lstat().st_mtime_ns
    except OSError:
        written = 0
    try:
        started = datetime.fromisoformat(run.status()["start_time"])
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
        raise UserError(root, "no runs here")
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
    return [_run_row(run) for run in find_runs(root)]


def _run_row(run: RunFolder) -> dict[str, Any]:
    status, problem = run.status(), _problem(run)
    what: dict[str, Any] = {"name": None, "model": None, "steps": None}
    # A recipe that is damaged has been reported as the problem.
    with contextlib.suppress(UserError):
        config = run.config()
        what = {"name": config["name"], "model": config["model"]["name"], "steps": config["training"]["max_steps"]}
    try:
        best = (status.get("best") or {}).get("score")
        if best is not None and not (isinstance(best, int | float) and abs(best) <= sys.float_info.max):
            raise ValueError("status.json: best.score is not a number")
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
        "started": status.get("start_time"),
        "folder": str(run.path),
    }


def state_of(status: dict[str, Any], now: datetime | None = None) -> str:
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
