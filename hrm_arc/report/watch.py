"""The live view of a run and the list of runs, read from their folders."""

from __future__ import annotations

import itertools
import math
import subprocess
from collections.abc import Sequence
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
# A live run writes its status at every heartbeat; after so many that did not come it is taken for dead.
MISSED_HEARTBEATS = 4


def find_runs(root: Path) -> list[RunFolder]:
    """Every run under ``root``, oldest first."""
    return [RunFolder(path.parent) for path in sorted(root.glob("*/config.yaml"))]


def newest_run(root: Path) -> RunFolder:
    """The newest run under ``root``.

    Raises:
        UserError: there is none.
    """
    runs = find_runs(root)
    if not runs:
        raise UserError(root, "no runs here")
    return runs[-1]


def run_rows(root: Path) -> list[dict[str, Any]]:
    """One row for each run: what it is, where it stands, how it scored.

    A folder whose configuration is none of ours is in state ``damaged``.
    """
    return [_run_row(run) for run in find_runs(root)]


def _run_row(run: RunFolder) -> dict[str, Any]:
    status = run.status()
    try:
        config = run.config()
        what = {"name": config["name"], "model": config["model"]["name"], "steps": config["training"]["steps"]}
        state = state_of(status)
    except (UserError, KeyError, TypeError):
        what, state = {"name": None, "model": None, "steps": None}, "damaged"
    return {
        "run_id": run.run_id,
        **what,
        "state": state,
        "step": status.get("current_step", 0),
        "training_exact": status.get("training_exact"),
        "best": (status.get("best") or {}).get("score"),
        "pass_at_2": status.get("pass_at_2"),
        "started": status.get("start_time"),
        "folder": str(run.path),
    }


def state_of(status: dict[str, Any], now: datetime | None = None) -> str:
    """The state that a run gives itself, or ``lost`` if it should have spoken long ago."""
    state = status.get("state", "unknown")
    if state not in ("running", "validating"):
        return state
    silence = (now or datetime.now().astimezone()) - datetime.fromisoformat(status["last_update"])
    return "lost" if silence.total_seconds() > MISSED_HEARTBEATS * HEARTBEAT_SECONDS else state


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Values as bars between their least and greatest, thinned to ``width`` by means."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(n * len(values) / count) for n in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    return "".join(BARS[int((mean - low) / (high - low) * 7.999) if high > low else 0] for mean in means)


@dataclass(frozen=True)
class Gpu:
    """What nvidia-smi says of one GPU: use in percent, memory in MiB."""

    use: int
    memory: int
    total: int


def gpus() -> list[Gpu]:
    """Every NVIDIA GPU here; none where there is no nvidia-smi."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.splitlines()
        return [Gpu(*(int(value) for value in line.split(","))) for line in lines]
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return []


def live_view(run: RunFolder) -> RenderableType:
    """Everything about a run on one screen: progress, curves, scores beside baselines."""
    config, status, rows = run.config(), run.status(), read_metrics(run.metrics_file)
    facts = Table.grid(padding=(0, 2))
    for name, value in (*_progress(config, status), *_curves(rows), *_scores(status), *_machine(status)):
        facts.add_row(Text(name, style="dim"), value)
    title = f"{config['name']}  {run.run_id}  {config['model']['name']}"
    subtitle = Text(_subtitle(status))
    return Panel(facts, title=Text(title), subtitle=subtitle, title_align="left", subtitle_align="left")


def _subtitle(status: dict[str, Any]) -> str:
    message = f": {status['message']}" if status.get("message") else ""
    return f"{state_of(status)}{message}  last update {status.get('last_update', 'never')}"


def _progress(config: dict[str, Any], status: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    step, steps = status.get("current_step", 0), config["training"]["steps"]
    rate, left = status.get("samples_per_sec"), status.get("estimated_time_remaining")
    bar = Group(ProgressBar(total=1.0, completed=status.get("progress", 0.0), width=40))
    limit = f", at most {config['training']['minutes']:g} minutes" if config["training"]["minutes"] else ""
    rows: list[tuple[str, RenderableType]] = [
        ("progress", bar),
        ("step", Text(f"{step:,} of {steps:,}{limit}, epoch {status.get('current_epoch', 0):.2f}")),
    ]
    if rate is not None and left is not None:
        rows.append(("speed", Text(f"{rate:,.1f} samples/s, {_duration(left)} left")))
    return rows


def _curves(rows: Sequence[dict[str, Any]]) -> list[tuple[str, RenderableType]]:
    train = [row for row in rows if row["kind"] == "train"]
    scored = [row for row in rows if row["kind"] == "validation"]
    curves: list[tuple[str, RenderableType]] = []
    if train:
        # By its logarithm: a loss falls by the same factor, not by the same amount.
        losses = [row["loss"] for row in train]
        bars = sparkline([math.log(max(loss, 1e-9)) for loss in losses])
        curves.append(("loss", Text(f"{bars}  {losses[-1]:.4f}")))
        curves.append(("exact in training", _curve([row["exact"] for row in train])))
    if scored:
        curves.append(("exact, held back", _curve([row["exact_accuracy"] for row in scored])))
    return curves


def _curve(shares: Sequence[float]) -> Text:
    return Text(f"{sparkline(shares)}  {shares[-1]:.1%}")


def _scores(status: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    rows: list[tuple[str, RenderableType]] = []
    if status.get("pass_at_2") is not None:
        rows.append(("pass@2", Text(f"{status['pass_at_2']:.1%} of the held-back test outputs", style="bold")))
    last = status.get("last_validation")
    if last:
        what = f"{last['exact_accuracy']:.2%} exact, {last['token_accuracy']:.2%} of 900 tokens"
        part = "all" if last["full"] else "a fixed part"
        rows.append(("validation", Text(f"{what} (step {last['step']}, {part}, {last['seconds']:.1f} s)")))
    for name, values in (status.get("baselines") or {}).items():
        text = f"{values['exact_accuracy']:.2%} exact, {values['token_accuracy']:.2%} of 900 tokens"
        rows.append((BASELINES[name], Text(text, style="dim")))
    return rows


def _machine(status: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    rows: list[tuple[str, RenderableType]] = []
    if status.get("timing"):
        shares = sorted(status["timing"].items(), key=lambda item: -item[1])
        rows.append(
            ("time goes to", Text(", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.005)))
        )
    for number, gpu in enumerate(gpus()):
        rows.append((f"gpu {number}", Text(f"{gpu.use}% busy, {gpu.memory:,} of {gpu.total:,} MiB")))
    if status.get("last_checkpoint"):
        rows.append(("checkpoint", Text(status["last_checkpoint"])))
    return rows


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
