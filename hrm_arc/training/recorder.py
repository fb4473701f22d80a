"""The files of a run folder: status.json, metrics.jsonl and train.log, written by a callback."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from hrm_arc.errors import ReportedError, unwritable
from hrm_arc.files import open_append
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import Metrics
from hrm_arc.runs.status import RunState, Status
from hrm_arc.runs.trackers import Tracker, open_tracker
from hrm_arc.training.callbacks import Callback, Training
from hrm_arc.training.metrics import StepMetrics, Validation

log = logging.getLogger(__name__)


class RunRecorder(Callback):
    """Writes a run's status.json, metrics.jsonl and train.log, and feeds its trackers.

    What cannot be written does not end a run: it is logged as a warning once. A removed run folder does: nothing of
    the run could be kept, and a folder that is made anew would lack config.yaml.

    Args:
        folder: the run.
    """

    def __init__(self, folder: RunFolder):
        self.status = Status(folder.status_file, folder.run_id)
        self._folder = folder
        self._open = contextlib.ExitStack()
        self._metrics: Metrics | None = None
        self._log: TextIO | None = None
        self._trackers: list[Tracker] = []
        self._log_every = 1
        self._trainer: Training | None = None
        self._unwritten = False
        self._had_recipe = False

    def on_run_start(self, trainer: Training) -> None:
        """Open the files, without rows of later steps, and write that the run is running.

        Raises:
            ReportedError: a file cannot be written, or a tracker is not installed.
        """
        step, recipe = trainer.step, trainer.recipe
        self._trackers = []
        self._log_every, self._trainer = recipe.training.log_every, trainer
        self._had_recipe = self._folder.config_file.is_file()
        self._open.enter_context(self.status)
        try:
            self._metrics = self._open.enter_context(Metrics(self._folder.metrics_file, after=step))
            self._log = self._open.enter_context(open_append(self._folder.log_file))
            for name in recipe.training.trackers:
                tracker = open_tracker(name, self._folder.path, self._folder.run_id, recipe.as_dict(), after=step)
                self._open.callback(tracker.close)
                self._trackers.append(tracker)
        except OSError as error:
            raise unwritable(self._folder.path, error) from None
        handler = _Warnings(self)
        logging.getLogger("hrm_arc").addHandler(handler)
        self._open.callback(logging.getLogger("hrm_arc").removeHandler, handler)
        self._line(f"start at step {step}")
        # A former score stays, with its step.
        self.event(state="running", current_step=step, message=None)
        self.event(baselines=trainer.baselines, **best_fields(trainer.best))

    def on_step(self, metrics: StepMetrics) -> None:
        """Write the metrics of a step.

        Raises:
            ReportedError: the run's folder was removed or moved.
        """
        self._check_folder()
        if metrics.step % self._log_every == 0 or metrics.progress >= 1:
            self._row("train", **metrics.as_row())
        with self._although_full():
            self.status.update(
                current_step=metrics.step,
                current_epoch=metrics.epoch,
                progress=metrics.progress,
                training_loss=metrics.loss,
                training_acc=metrics.token_accuracy,
                token_accuracy=metrics.token_accuracy,
                exact_accuracy=metrics.exact_accuracy,
                halt_accuracy=metrics.halt_accuracy,
                mean_segments=metrics.mean_segments,
                grad_norm=metrics.grad_norm,
                lr=metrics.lr,
                samples_per_sec=metrics.samples_per_sec,
                model_flops_per_sec=metrics.model_flops_per_sec,
                peak_memory_bytes=metrics.peak_memory_bytes,
                estimated_time_remaining=metrics.remaining,
                timing=metrics.timing,
            )

    def on_validation_start(self, step: int) -> None:
        self._check_folder()
        self.event(state="validating")

    def on_validation(self, step: int, result: Validation) -> None:
        self._row("validation", step=step, **result.as_row())
        self.event(state="running", last_validation={"step": step, **result.as_row()})

    def on_best(self, best: dict[str, Any]) -> None:
        """A validation had the best score so far."""
        self.event(**best_fields(best))

    def on_checkpoint(self, path: Path) -> None:
        self._line(f"wrote checkpoints/{path.name}")
        self.event(last_checkpoint=f"checkpoints/{path.name}", current_step=self._step)

    def on_run_end(self, state: RunState) -> None:
        if not self._is_removed():
            self._line(f"{state} at step {self._step}")
            self.event(state=state, current_step=self._step)
        with contextlib.suppress(OSError):  # What a full disk did not take before.
            self._open.close()

    @property
    def _step(self) -> int:
        """Steps done: of the run itself, because metrics come every few steps only."""
        return self._trainer.step if self._trainer is not None else 0

    def accept(self, changes: dict[str, tuple[Any, Any]]) -> bool:
        """Keep keys of the recipe that were changed by a resume, so that they are also those of the next one.

        Args:
            changes: dotted keys, with the value before and the one from here on.

        Returns:
            whether they are kept; a full disk may take them later.
        """
        if not changes:
            return True
        if self._is_removed():
            return False
        try:
            self._folder.accept({key: now for key, (_, now) in changes.items()})
        except ReportedError as error:
            log.warning("%s; until it is, a resume needs --override for %s again", error, ", ".join(changes))
            return False
        for key, (before, now) in changes.items():
            self._line(f"{key}: {before} before, {now} from here on")
        return True

    def event(self, **fields: Any) -> None:
        """Write fields of the status now."""
        if self._is_removed():
            return
        with self._although_full():
            self.status.update(event=True, **fields)

    def warn(self, message: str) -> None:
        """Put a warning into train.log and the status."""
        self._line(message)
        self.event(message=message)

    def _is_removed(self) -> bool:
        """Whether the folder of the run is not there any more. A file system that does not answer is not that."""
        try:
            os.stat(self._folder.config_file)
        except (FileNotFoundError, NotADirectoryError):
            return self._had_recipe
        except OSError:
            return False
        return False

    def _check_folder(self) -> None:
        if self._is_removed():
            what = "its config.yaml or the whole folder was removed or moved while the run was on, so the run has ended"
            raise ReportedError(self._folder.path, f"{what} at step {self._step}")

    def _row(self, kind: str, **figures: Any) -> None:
        assert self._metrics is not None, "on_run_start comes first"
        row = {"kind": kind, **figures}
        with self._although_full():
            self._metrics.log(**row)
        shown = (f"{name} {value:.5g}" for name, value in figures.items() if isinstance(value, int | float))
        self._line(f"{kind} {', '.join(shown)}")
        for tracker in self._trackers:
            with self._although_full():
                tracker.log(row)

    def _line(self, text: str) -> None:
        """A line of train.log."""
        if self._log is not None:
            with self._although_full():
                self._log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}\n")
                self._log.flush()

    @contextlib.contextmanager
    def _although_full(self) -> Iterator[None]:
        """Training goes on where a file cannot be written."""
        try:
            yield
        except (OSError, ReportedError) as error:
            if not self._unwritten:
                self._unwritten = True
                log.warning("metrics of %s are lost: %s; training goes on", self._folder.path, error)


class _Warnings(logging.Handler):
    """Hands warnings of the package to a recorder while its run is on."""

    def __init__(self, recorder: RunRecorder):
        super().__init__(logging.WARNING)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        self._recorder.warn(f"warning: {record.getMessage()}")


def best_fields(best: dict[str, Any] | None) -> dict[str, Any]:
    """Fields of the status about the best validation; the log's ``best_val_acc`` is its token accuracy."""
    if best is None:
        return {}
    log_keys = {"best_val_loss": best["loss"], "best_val_acc": best["token_accuracy"], "best_step": best["step"]}
    return {"best": best, **log_keys}
