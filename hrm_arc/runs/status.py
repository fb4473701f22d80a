"""status.json: the state of a run, rewritten atomically at every event and at least twice a minute."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.files import write_sealed_json
from hrm_arc.reading import MIB, kind_of, read_sealed_json

log = logging.getLogger(__name__)

RunState = Literal["running", "validating", "finished", "interrupted", "failed"]
WRITE_SECONDS = 5.0
HEARTBEAT_SECONDS = 30.0
LARGEST_STATUS = 8 * MIB
# What others write with amend_status.
SCORES = ("pass_at_2", "pass_at_2_step")


class Status:
    """The status of a run, with the log's keys and this project's own.

    As a context manager it also runs a heartbeat: a thread rewrites the file while the trainer is busy with one
    long step, so that ``last_update`` distinguishes a live run from a dead one.

    Args:
        path: the file to write.
        run_id: the run's ID.
    """

    def __init__(self, path: Path, run_id: str):
        self._path = path
        self._written = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._fields: dict[str, Any] = {
            "run_id": run_id,
            "state": "running",
            "start_time": _now(),
            "current_step": 0,
            "current_epoch": 0.0,
            "progress": 0.0,
            "best_val_loss": None,
            "best_val_acc": None,
            "best_step": None,
            "best": None,
            "last_checkpoint": None,
            "last_validation": None,
            "training_loss": None,
            "training_acc": None,
            "token_accuracy": None,
            "exact_accuracy": None,
            "halt_accuracy": None,
            "mean_segments": None,
            "grad_norm": None,
            "lr": None,
            "samples_per_sec": None,
            "model_flops_per_sec": None,
            "peak_memory_bytes": None,
            "estimated_time_remaining": None,
            "last_update": None,
            "pass_at_2": None,
            "pass_at_2_step": None,
            "baselines": None,
            "timing": None,
            "message": None,
        }
        # A resumed run keeps its former fields, such as its start time.
        earlier = read_status(path)
        if earlier.get("state") == "damaged":
            log.warning("%s; it is written anew", earlier["message"])
            return
        self._fields |= {key: value for key, value in earlier.items() if key in self._fields}

    def update(self, *, event: bool = False, **fields: Any) -> None:
        """Change fields; write the file if this is an event or if the last write is some seconds old.

        Raises:
            KeyError: status.json has no such field.
        """
        with self._lock:
            for key in fields:
                self._fields[key]
            self._fields.update(fields)
            if event or time.monotonic() - self._written > WRITE_SECONDS:
                self._write()

    def __enter__(self) -> Status:
        self._ended.clear()
        threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with self._lock, contextlib.suppress(ReportedError):
                if self._path.parent.is_dir():  # Else somebody has removed the run, which must not come back.
                    self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        self._fields["last_update"] = _now()
        # hrm eval may have written these fields since our last write.
        scores = read_status(self._path)
        self._fields |= {key: scores[key] for key in SCORES if key in scores}
        write_sealed_json(self._path, self._fields)


def amend_status(path: Path, **fields: Any) -> None:
    """Change fields of the status.json of a run that has ended, where there is one."""
    status = read_status(path)
    if status and status.get("state") != "damaged":
        write_sealed_json(path, {**status, **fields})


def read_status(path: Path) -> dict[str, Any]:
    """The fields of a status.json, or nothing where there is none.

    Of a file that is damaged or has a field of a wrong type, ``state`` is ``damaged`` and ``message`` says why.
    """
    try:
        fields = read_sealed_json(path, LARGEST_STATUS, within=path.parent)
    except FileNotFoundError:
        return {}
    except UserError as error:
        return {"state": "damaged", "message": f"{path.name} {error.what}"}
    wrong = [name for name, kinds in KINDS_OF_FIELDS.items() if not _fits(fields.get(name), kinds)]
    if wrong:
        return {"state": "damaged", "message": f"{path.name}: {wrong[0]} is {kind_of(fields[wrong[0]])}"}
    return fields


NUMBER, TEXT, OBJECT = (int, float), (str,), (dict,)
KINDS_OF_FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("run_id", "state", "start_time", "last_checkpoint", "last_update", "message"), TEXT),
    **dict.fromkeys(("best", "last_validation", "baselines", "timing"), OBJECT),
    **dict.fromkeys(("current_step", "best_step", "pass_at_2_step"), (int,)),
    **dict.fromkeys(("current_epoch", "progress", "best_val_loss", "best_val_acc", "training_loss"), NUMBER),
    **dict.fromkeys(("training_acc", "token_accuracy", "exact_accuracy", "halt_accuracy", "mean_segments"), NUMBER),
    **dict.fromkeys(("grad_norm", "lr", "samples_per_sec", "model_flops_per_sec", "peak_memory_bytes"), NUMBER),
    **dict.fromkeys(("estimated_time_remaining", "pass_at_2"), NUMBER),
}


def _fits(value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a field is of its type; null is what is not known."""
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        return False
    return value is None or (isinstance(value, kinds) and not isinstance(value, bool))


def _now() -> str:
    # With the zone, so that runs of several zones can be ordered.
    return datetime.now().astimezone().isoformat(timespec="seconds")
