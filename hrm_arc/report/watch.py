"""The live view of a run, read from the files in its folder."""

from __future__ import annotations

import itertools
import logging
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hrm_arc.errors import UserError, printable
from hrm_arc.reading import open_regular, parse_json
from hrm_arc.report.listing import missing_metrics, state_of
from hrm_arc.report.names import BASELINES
from hrm_arc.report.outlook import outlook
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import SMALL_FILE, Row, check_row, metrics_of_model, read_metrics

log = logging.getLogger(__name__)

BARS, MOST_BARS = "▁▂▃▄▅▆▇█", 40
# A live view keeps this number of rows, and compares so many bytes to notice that a file was written anew. A last
# row without a line break is kept for the next reading if it is shorter than LONGEST_KEPT.
MOST_ROWS, TAIL, LONGEST_KEPT = 10_000, 256, 2**20
# Lines of the live view from metrics.jsonl: title, kind of row, key, format of the last value, logarithmic or not.
CURVES = (
    ("loss", "train", "loss", ".4f", True),
    ("exact, training", "train", "exact_accuracy", ".1%", False),
    ("exact, held-out", "validation", "exact_accuracy", ".1%", False),
    ("gradient norm", "train", "grad_norm", ".3g", True),
    ("learning rate", "train", "lr", ".2e", False),
    ("halting loss", "train", "halt_loss", ".4f", False),
    ("halting accuracy", "train", "halt_accuracy", ".1%", False),
    ("mean segments", "train", "mean_segments", ".2f", False),
)


def sparkline(values: Sequence[float], width: int = MOST_BARS) -> str:
    """Values as bars between the minimum and the maximum; more than ``width`` values are averaged."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(n * len(values) / count) for n in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    return "".join(BARS[int((mean - low) / (high - low) * 7.999) if high > low else 0] for mean in means)


@dataclass(frozen=True)
class _Curve:
    """Values as bars, as many as there is room for, and the last value in figures."""

    heights: Sequence[float]
    last: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = max(1, min(MOST_BARS, options.max_width - len(self.last) - 2))
        yield Text(f"{sparkline(self.heights, room)}  {self.last}")


@dataclass(frozen=True)
class Gpu:
    """Utilization of one GPU in percent, used and total memory in MiB, as nvidia-smi reports them."""

    use: int
    memory: int
    total: int


def gpus() -> list[Gpu]:
    """All NVIDIA GPUs of this machine; none without nvidia-smi."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.splitlines()
        return [Gpu(*(int(value) for value in line.split(","))) for line in lines]
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return []


class MetricsFollower:
    """The rows of a growing metrics.jsonl: the file is read once, and then what is appended.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        self._path = path
        self._rows: list[Row] = []
        # Bytes that have been read, and the last of them, to notice that the file was cut and written again.
        self._end = 0
        self._last = b""
        self._file: tuple[int, int] | None = None

    def rows(self) -> list[Row]:
        """All rows up to now, thinned if they are very many.

        Raises:
            UserError: it is not a regular file.
        """
        try:
            handle = open_regular(self._path, within=self._path.parent)
        except FileNotFoundError:
            self._file, self._rows = None, []
            return self._rows
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            grown = status.st_size - self._end
            if self._file == (status.st_dev, status.st_ino) and 0 <= grown <= SMALL_FILE and self._is_unchanged(file):
                self._append(file.read(grown))
                return self._rows
            self._file = status.st_dev, status.st_ino
            # Up to the last line break: the rest is read again once it is a whole row.
            file.seek(max(0, status.st_size - LONGEST_KEPT))
            tail = file.read(min(status.st_size, LONGEST_KEPT))
            self._end = status.st_size - len(tail) + tail.rfind(b"\n") + 1
            self._last = tail[: tail.rfind(b"\n") + 1][-TAIL:]
        self._rows = read_metrics(self._path)
        return self._rows

    def _is_unchanged(self, file: BinaryIO) -> bool:
        """Whether the file's beginning ends as it did; leaves the file where it was read to."""
        file.seek(self._end - len(self._last))
        return file.read(len(self._last)) == self._last

    def _append(self, content: bytes) -> None:
        content = content[: content.rfind(b"\n") + 1]
        # A full validation has the step of the fast one before it.
        newest: dict[tuple[str, bool], int] = {}
        for known in self._rows:
            newest[_series_of(known)] = max(known["step"], newest.get(_series_of(known), -1))
        for line in content.splitlines():
            try:
                row = check_row(parse_json(line))
            except ValueError as error:
                log.warning("%s: a damaged row is left out: %s", self._path, error)
                continue
            # The first reading may have seen more than was there a moment before.
            if row["step"] > newest.get(_series_of(row), -1):
                self._rows.append(row)
        self._end += len(content)
        self._last = (self._last + content)[-TAIL:]
        half = MOST_ROWS // 2
        while len(self._rows) > MOST_ROWS:
            # Every other row of the older ones; a run that goes on for weeks keeps its beginning.
            self._rows = self._rows[:-half:2] + self._rows[-half:]


def _series_of(row: Mapping[str, Any]) -> tuple[str, bool]:
    """Rows of one series have different steps: those of a training, of fast and of full validations."""
    return row["kind"], bool(row.get("full"))


def live_view(run: RunFolder, metrics: MetricsFollower | None = None) -> RenderableType:
    """A run on one screen: progress, metrics, scores beside the baselines, time and memory.

    Args:
        run: the run.
        metrics: its metrics, if the view is drawn again and again.

    Raises:
        UserError: it is not a run, or its files are not those of a run of this version.
    """
    config, status = run.config(), run.status()
    rows = (metrics or MetricsFollower(run.metrics_file)).rows()
    facts = Table.grid(padding=(0, 2))
    try:
        curves = [*_missing(run, status), *_curves(rows), ("outlook", Text(outlook(rows, config)[0]))]
        for name, value in (*_progress(config, status), *curves, *_scores(status), *_machine(status)):
            facts.add_row(Text(printable(name), style="dim"), value)
        title = f"{config['name']}  {run.run_id}  {config['model']['name']}"
        subtitle = Text(printable(_subtitle(status)))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        what = "config.yaml, status.json or metrics.jsonl is damaged or of an earlier version"
        raise UserError(run.path, what) from None
    # A panel's title is cut at the width of the terminal.
    return Panel(facts, title=Text(printable(title)), subtitle=subtitle, title_align="left", subtitle_align="left")


def _subtitle(status: dict[str, Any]) -> str:
    message = f": {status['message']}" if status.get("message") else ""
    return f"{state_of(status)}{message}  last update {status.get('last_update', 'never')}"


def _progress(config: dict[str, Any], status: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    step, steps = status.get("current_step"), config["training"]["max_steps"]
    bar = Group(ProgressBar(total=1.0, completed=status.get("progress") or 0.0, width=40))
    minutes = config["training"]["max_minutes"]
    limit = f", at most {minutes:g} minutes" if minutes else ""
    # Without a status the step is not known, which is not the same as 0.
    at = "not known" if step is None else f"{step:,} of {steps:,}{limit}, epoch {status.get('current_epoch') or 0:.2f}"
    rows: list[tuple[str, RenderableType]] = [
        ("progress", bar),
        ("step", Text(at)),
    ]
    rate, left = status.get("samples_per_sec"), status.get("estimated_time_remaining")
    if rate is not None and left is not None:
        operations = status.get("model_flops_per_sec")
        flops = "" if operations is None else f", {_with_prefix(operations)}FLOP/s"
        rows.append(("speed", Text(f"{rate:,.1f} samples/s{flops}, {_duration(left)} left")))
    return rows


def _missing(run: RunFolder, status: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    """A line that says why there are no curves, if the metrics of steps that were done are gone."""
    line = missing_metrics(run, status)
    return [] if line is None else [("metrics", Text(line))]


def _curves(rows: Sequence[dict[str, Any]]) -> list[tuple[str, RenderableType]]:
    curves: list[tuple[str, RenderableType]] = []
    own = ((key.replace("_", " "), "train", key, ".4g", False) for key in metrics_of_model(rows))
    for title, kind, key, form, logarithmic in (*CURVES, *own):
        values = [row[key] for row in rows if row["kind"] == kind and row.get(key) is not None]
        if values:
            heights = [math.log(max(value, 1e-9)) for value in values] if logarithmic else values
            curves.append((title, _Curve(heights, f"{values[-1]:{form}}")))
    return curves


def _scores(status: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    rows: list[tuple[str, RenderableType]] = []
    if status.get("pass_at_2") is not None:
        scored = status.get("pass_at_2_step")
        when = f", at step {scored:,}" if scored is not None and scored != status.get("current_step") else ""
        rows.append(("pass@2", Text(f"{status['pass_at_2']:.1%} of the held-out test outputs{when}", style="bold")))
    last = status.get("last_validation")
    if last:
        part = "all samples" if last["full"] else "a fixed part"
        seconds = "" if last["seconds"] is None else f", {last['seconds']:.1f} s"
        rows.append(("validation", Text(f"{_accuracies(last)} (step {last['step']}, {part}{seconds})")))
    if status.get("baselines") == {}:
        rows.append(("scores", Text("not known: no answer of a task to be solved is here", style="dim")))
    for name, values in (status.get("baselines") or {}).items():
        rows.append((BASELINES[name], Text(_accuracies(values), style="dim")))
    return rows


def _accuracies(values: Mapping[str, Any]) -> str:
    exact, tokens = (_share(values[key]) for key in ("exact_accuracy", "token_accuracy"))
    return f"{exact} exact, {tokens} of 900 tokens"


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2%}"


def _machine(status: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    rows: list[tuple[str, RenderableType]] = []
    if status.get("timing"):
        shares = sorted(status["timing"].items(), key=lambda item: -item[1])
        rows.append(
            ("time", Text(", ".join(f"{printable(name)} {share:.0%}" for name, share in shares if share >= 0.005)))
        )
    if status.get("peak_memory_bytes") is not None:
        rows.append(("peak memory", Text(f"{_with_prefix(status['peak_memory_bytes'])}B")))
    for number, gpu in enumerate(gpus()):
        rows.append((f"gpu {number}", Text(f"{gpu.use}% busy, {gpu.memory:,} of {gpu.total:,} MiB")))
    if status.get("last_checkpoint"):
        rows.append(("checkpoint", Text(printable(status["last_checkpoint"]))))
    return rows


def _with_prefix(value: float) -> str:
    """A number with a metric prefix, to be followed by its unit: ``2.5 G``."""
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g} "


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
