"""The live view of a run and the list of runs, read from the files in their folders."""

from __future__ import annotations

import itertools
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hrm_arc.errors import UserError
from hrm_arc.report.names import BASELINES
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import read_metrics
from hrm_arc.runs.status import HEARTBEAT_SECONDS

BARS = "▁▂▃▄▅▆▇█"
# A running process writes its status at every heartbeat; after this number of missed ones the run counts as lost.
MISSED_HEARTBEATS = 4
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


def find_runs(root: Path) -> list[RunFolder]:
    """All runs in the folder ``root``, oldest first."""
    return [RunFolder(path.parent) for path in sorted(root.glob("*/config.yaml"))]


def newest_run(root: Path) -> RunFolder:
    """The newest run in the folder ``root``.

    Raises:
        UserError: there is none.
    """
    runs = find_runs(root)
    if not runs:
        raise UserError(root, "no runs here")
    return runs[-1]


def run_rows(root: Path) -> list[dict[str, Any]]:
    """One row for each run: recipe, model, state, step and scores; None is not known.

    A run whose config.yaml is not a recipe has the state ``damaged``.
    """
    return [_run_row(run) for run in find_runs(root)]


def _run_row(run: RunFolder) -> dict[str, Any]:
    status = run.status()
    try:
        config = run.config()
        what = {"name": config["name"], "model": config["model"]["name"], "steps": config["training"]["max_steps"]}
        state = state_of(status)
    except (UserError, KeyError, TypeError):
        what, state = {"name": None, "model": None, "steps": None}, "damaged"
    return {
        "run_id": run.run_id,
        **what,
        "state": state,
        "step": status.get("current_step", 0),
        "exact_accuracy": status.get("exact_accuracy"),
        "best": (status.get("best") or {}).get("score"),
        "pass_at_2": status.get("pass_at_2"),
        "started": status.get("start_time"),
        "folder": str(run.path),
    }


def state_of(status: dict[str, Any], now: datetime | None = None) -> str:
    """The state in a status, or ``lost`` if the run is on and has missed its heartbeats."""
    state = status.get("state", "unknown")
    if state not in ("running", "validating"):
        return state
    try:
        silence = (now or datetime.now().astimezone()) - datetime.fromisoformat(status["last_update"])
    except (KeyError, TypeError, ValueError):
        return "unknown"
    return "lost" if silence.total_seconds() > MISSED_HEARTBEATS * HEARTBEAT_SECONDS else state


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Values as bars between the minimum and the maximum; more than ``width`` values are averaged."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(n * len(values) / count) for n in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    return "".join(BARS[int((mean - low) / (high - low) * 7.999) if high > low else 0] for mean in means)


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


def live_view(run: RunFolder) -> RenderableType:
    """A run on one screen: progress, metrics, scores beside the baselines, time and memory.

    Raises:
        UserError: it is not a run, or its files are not those of a run of this version.
    """
    config, status, rows = run.config(), run.status(), read_metrics(run.metrics_file)
    facts = Table.grid(padding=(0, 2))
    try:
        for name, value in (*_progress(config, status), *_curves(rows), *_scores(status), *_machine(status)):
            facts.add_row(Text(name, style="dim"), value)
        title = f"{config['name']}  {run.run_id}  {config['model']['name']}"
        subtitle = Text(_subtitle(status))
    except (AttributeError, KeyError, TypeError, ValueError):
        what = "config.yaml, status.json or metrics.jsonl is damaged or of an earlier version"
        raise UserError(run.path, what) from None
    return Panel(facts, title=Text(title), subtitle=subtitle, title_align="left", subtitle_align="left")


def _subtitle(status: dict[str, Any]) -> str:
    message = f": {status['message']}" if status.get("message") else ""
    return f"{state_of(status)}{message}  last update {status.get('last_update', 'never')}"


def _progress(config: dict[str, Any], status: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    step, steps = status.get("current_step") or 0, config["training"]["max_steps"]
    bar = Group(ProgressBar(total=1.0, completed=status.get("progress") or 0.0, width=40))
    minutes = config["training"]["max_minutes"]
    limit = f", at most {minutes:g} minutes" if minutes else ""
    rows: list[tuple[str, RenderableType]] = [
        ("progress", bar),
        ("step", Text(f"{step:,} of {steps:,}{limit}, epoch {status.get('current_epoch') or 0:.2f}")),
    ]
    rate, left = status.get("samples_per_sec"), status.get("estimated_time_remaining")
    if rate is not None and left is not None:
        operations = status.get("model_flops_per_sec")
        flops = "" if operations is None else f", {_with_prefix(operations)}FLOP/s"
        rows.append(("speed", Text(f"{rate:,.1f} samples/s{flops}, {_duration(left)} left")))
    return rows


def _curves(rows: Sequence[dict[str, Any]]) -> list[tuple[str, RenderableType]]:
    curves: list[tuple[str, RenderableType]] = []
    for title, kind, key, form, logarithmic in CURVES:
        values = [row[key] for row in rows if row["kind"] == kind and row.get(key) is not None]
        if values:
            heights = [math.log(max(value, 1e-9)) for value in values] if logarithmic else values
            curves.append((title, Text(f"{sparkline(heights)}  {values[-1]:{form}}")))
    return curves


def _scores(status: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    rows: list[tuple[str, RenderableType]] = []
    if status.get("pass_at_2") is not None:
        rows.append(("pass@2", Text(f"{status['pass_at_2']:.1%} of the held-out test outputs", style="bold")))
    last = status.get("last_validation")
    if last:
        part = "all samples" if last["full"] else "a fixed part"
        seconds = "" if last["seconds"] is None else f", {last['seconds']:.1f} s"
        rows.append(("validation", Text(f"{_accuracies(last)} (step {last['step']}, {part}{seconds})")))
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
        rows.append(("time", Text(", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.005))))
    if status.get("peak_memory_bytes") is not None:
        rows.append(("peak memory", Text(f"{_with_prefix(status['peak_memory_bytes'])}B")))
    for number, gpu in enumerate(gpus()):
        rows.append((f"gpu {number}", Text(f"{gpu.use}% busy, {gpu.memory:,} of {gpu.total:,} MiB")))
    if status.get("last_checkpoint"):
        rows.append(("checkpoint", Text(status["last_checkpoint"])))
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
