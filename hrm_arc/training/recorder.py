"""What a trainer tells the world: status.json, metrics.jsonl, train.log, trackers, an onlooker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, TextIO

from hrm_arc.errors import ReportedError, unwritable
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import Metrics
from hrm_arc.runs.status import State, Status
from hrm_arc.runs.trackers import Tracker, TrackerName, open_tracker


@dataclass(frozen=True)
class Tick:
    """Where a run stands.

    Attributes:
        step: steps done.
        epoch: times the training set was gone through.
        progress: share of the run that is done, 0 to 1.
        seconds: training time so far; validation and checkpoints stop the clock.
        loss: answer loss of the last segment, in nats per counted cell.
        tokens: share of counted cells that were right.
        exact: share of samples exactly right, in training.
        rate: samples per second.
        learning_rate: of the first group of parameters.
    """

    step: int
    epoch: float
    progress: float
    seconds: float
    loss: float
    tokens: float
    exact: float
    rate: float
    learning_rate: float

    @property
    def remaining(self) -> float:
        """Estimated seconds to the end."""
        return self.seconds * (1 - self.progress) / max(self.progress, 1e-9)


class Recorder:
    """Writes for the one process that leads; the others' recorders are silent.

    Args:
        folder: the run.
        leads: whether this process is the one that writes.
        onlooker: called with each :class:`Tick`.
        say: called with each line that a person should read.
    """

    def __init__(
        self,
        folder: RunFolder,
        leads: bool,
        onlooker: Callable[[Tick], None] = lambda tick: None,
        say: Callable[[str], None] = lambda text: None,
    ):
        self.status = Status(folder.status_file, folder.run_id)
        self._folder = folder
        self._leads = leads
        self._onlooker = onlooker
        self._say = say
        self._open = contextlib.ExitStack()
        self._metrics: Metrics | None = None
        self._log: TextIO | None = None
        self._trackers: list[Tracker] = []
        self._unwritten = False

    def begin(self, step: int, trackers: list[TrackerName], config: dict[str, Any], **fields: Any) -> None:
        """Open the files, without rows of steps after ``step``, and say that the run is on.

        Raises:
            ReportedError: a file cannot be written, or a tracker is not installed.
        """
        if not self._leads:
            return
        self._open.enter_context(self.status)
        try:
            self._metrics = self._open.enter_context(Metrics(self._folder.metrics_file, after=step))
            self._log = self._open.enter_context(self._folder.log_file.open("a", encoding="utf-8"))
            for name in trackers:
                tracker = open_tracker(name, self._folder.path, self._folder.run_id, config, after=step)
                self._open.callback(tracker.close)
                self._trackers.append(tracker)
        except OSError as error:
            raise unwritable(self._folder.path, error) from None
        self._line(f"start at step {step}")
        # A score that it had is one of an earlier step.
        self.event(state="running", current_step=step, message=None, pass_at_2=None, **fields)

    def tick(self, tick: Tick, timing: dict[str, float], as_row: bool) -> None:
        """Pass on where the run stands; as a row of the metrics if it is due."""
        if not self._leads:
            return
        self._onlooker(tick)
        if as_row:
            figures = {name: getattr(tick, name) for name in ("epoch", "loss", "tokens", "exact", "learning_rate")}
            self._row("train", tick.step, **figures, seconds=tick.seconds, rate=tick.rate, timing=timing)
        with self._although_full():
            self.status.update(
                current_step=tick.step,
                current_epoch=tick.epoch,
                progress=tick.progress,
                training_loss=tick.loss,
                training_acc=tick.tokens,
                training_exact=tick.exact,
                samples_per_sec=tick.rate,
                estimated_time_remaining=tick.remaining,
                timing=timing,
            )

    def validation(self, step: int, **result: Any) -> None:
        """A row for a validation."""
        if self._leads:
            self._row("validation", step, **result)
            self.event(last_validation={"step": step, **result})

    def checkpoint(self, name: str) -> None:
        """A checkpoint was written."""
        if self._leads:
            self._line(f"wrote checkpoints/{name}")
            self.event(last_checkpoint=f"checkpoints/{name}")

    def end(self, state: State, step: int) -> None:
        """The run ends."""
        if self._leads:
            self._line(f"{state} at step {step}")
            self.event(state=state, current_step=step)

    def event(self, **fields: Any) -> None:
        """Something happened: write the status now."""
        if self._leads:
            with self._although_full():
                self.status.update(event=True, **fields)

    def warn(self, message: str) -> None:
        """Tell a person, here and in the status."""
        if self._leads:
            self._say(message)
            self._line(message)
            self.event(message=message)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # What a full disk did not take before.
            self._open.close()

    def _row(self, kind: str, step: int, **figures: Any) -> None:
        assert self._metrics is not None, "begin comes first"
        row = {"kind": kind, "step": step, **figures}
        with self._although_full():
            self._metrics.log(**row)
        shown = (f"{name} {value:.5g}" for name, value in figures.items() if isinstance(value, int | float))
        self._line(f"{kind} step {step}: {', '.join(shown)}")
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
        """What cannot be written is no reason to end a run; a person hears of it once."""
        try:
            yield
        except (OSError, ReportedError) as error:
            if not self._unwritten:
                self._unwritten = True
                self._say(f"warning: figures of {self._folder.path} are lost: {error}; training goes on")
