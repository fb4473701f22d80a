"""The progress of a training run on the console: a callback of the trainer."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

from hrm_arc.cli.show import note
from hrm_arc.training.callbacks import Callback, Training
from hrm_arc.training.metrics import StepMetrics

if TYPE_CHECKING:
    from rich.progress import Progress


# Without a terminal a line is printed for each such share of the run.
LINE_SHARE = 0.05


class ConsoleProgress(Callback):
    """A progress bar on standard error, or a line for every twentieth of the run if it is not a terminal.

    A context manager: messages that are logged inside it are printed above the bar. An error of the terminal
    does not end the run.
    """

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._progress: Progress | None = None
        self._shown = -1.0

    def __enter__(self) -> ConsoleProgress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(stderr=True)
        if console.is_terminal:
            # A narrow terminal cuts the line, and nothing before it.
            name = TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=len("training")))
            columns = (name, BarColumn(bar_width=20), TextColumn("{task.fields[line]}"))
            self._progress = self._open.enter_context(Progress(*columns, console=console))
            self._progress.add_task("training", total=1.0, line="")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._open.close()
        self._progress = None

    def on_run_start(self, trainer: Training) -> None:
        """Begin anew: one command may train more than once."""
        self._shown = -1.0

    def on_step(self, metrics: StepMetrics) -> None:
        """Show the metrics of a step."""
        line = progress_line(metrics)
        if self._progress is not None:
            with contextlib.suppress(OSError):
                self._progress.update(self._progress.task_ids[0], completed=metrics.progress, line=line)
        elif metrics.progress >= self._shown + LINE_SHARE or metrics.progress >= 1 > self._shown:
            self._shown = metrics.progress
            note(f"training  {line}")


def progress_line(metrics: StepMetrics) -> str:
    """A step in one line: share of the run and time left first, because a narrow terminal cuts the end."""
    norm = "-" if metrics.grad_norm is None else f"{metrics.grad_norm:.2f}"
    left = int(metrics.remaining)
    hours, minutes, seconds = left // 3600, left // 60 % 60, left % 60
    clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    return (
        f"{metrics.progress:4.0%}  {clock} left  step {metrics.step}  loss {metrics.loss:.3f}"
        f"  exact {metrics.exact_accuracy:.1%}  grad norm {norm}  lr {metrics.lr:.1e}"
        f"  {metrics.samples_per_sec:.0f} samples/s"
    )
