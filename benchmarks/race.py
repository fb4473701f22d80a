"""Four models on the same 40 tasks for the same minutes: exact pass@2 on held-out test outputs.

The tasks are the 40 smallest canvases of ARC-AGI-1's training set among those that keep the
input's size. Models are smaller than published, because the time is minutes of two CPU cores; see recipes/race/.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._runs import Scored, add_keep, positive, runs_folder, scored_run

MODELS = ("dual-loop", "hrm", "trm", "grid-hrm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=positive, default=9.0, help="minutes of training for each run (default 9)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds to run (default 0 1 2)")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="run only these models")
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with runs_folder(options.keep) as root:
        for model in options.only:
            yield _race(root, model, options.minutes, options.seeds)


def _race(root: Path, model: str, minutes: float, seeds: Sequence[int]) -> dict[str, Any]:
    runs = [race_run(root, model, minutes, seed) for seed in seeds]
    by_task = [_outcomes(run.folder) for run in runs]
    outputs = np.array([[solved for task in outcomes.values() for solved in task] for outcomes in by_task])
    low, high = _interval(by_task)
    return {
        "model": model,
        "parameters, table included": f"{_parameters(runs[0].folder):,}",
        "steps": ", ".join(f"{run.trained['steps']:,}" for run in runs),
        "solved, two attempts": ", ".join(str(int(row.sum())) for row in outputs) + f" of {outputs.shape[1]}",
        "pass@2": f"{outputs.mean():.1%} ({low:.1%} to {high:.1%})",
        "one pass, no votes": f"{np.mean([run.scores['exact_accuracy'] for run in runs]):.1%}",
        "copy of the input": f"{runs[0].scores['baselines']['copy_input']['exact_accuracy']:.1%}",
        "_curves": [_curve(run.folder) for run in runs],
        "_pass@2": float(outputs.mean()),
        "_minutes": minutes,
    }


def race_run(root: Path, model: str, minutes: float, seed: int) -> Scored:
    """One model's run of the race, reused if ``root`` holds it."""
    flags = ["--seed", str(seed), "--training.max_minutes", str(minutes)]
    return scored_run(root, f"{model}-{seed}", f"race/{model}", flags)


def _outcomes(run: Path) -> dict[str, list[bool]]:
    """For each task, whether each of its test outputs is among the two attempts."""
    from hrm_arc.reading import read_lines

    found: dict[str, list[bool]] = {}
    for row in read_lines(run / "predictions.jsonl"):
        found.setdefault(row["task"], []).append(row["solved"])
    return found


def _curve(run: Path) -> list[tuple[float, float]]:
    """Minutes of training, and the share of test outputs solved in one pass without votes, for each validation."""
    from hrm_arc.runs.metrics import read_metrics

    rows = read_metrics(run / "metrics.jsonl")
    clock = {row["step"]: row["seconds"] / 60 for row in rows if row["kind"] == "train"}
    return [
        (clock[row["step"]], row["exact_accuracy"])
        for row in rows
        if row["kind"] == "validation" and row["step"] in clock
    ]


def _parameters(run: Path) -> int:
    from safetensors import safe_open

    from hrm_arc.runs.checkpoint import WEIGHTS, find_checkpoint

    checkpoint, _ = find_checkpoint(run)
    with safe_open(checkpoint / WEIGHTS, framework="numpy") as file:
        return int(sum(np.prod(file.get_slice(name).get_shape()) for name in file.keys()))  # noqa: SIM118


def _interval(by_task: Sequence[Mapping[str, Sequence[bool]]]) -> tuple[float, float]:
    """95% bootstrap over tasks, because the outputs of one task are not independent, and over seeds."""
    draw = np.random.default_rng(0)
    names = sorted(by_task[0])
    solved = np.array([[sum(outcomes[name]) for name in names] for outcomes in by_task])
    outputs = np.array([len(by_task[0][name]) for name in names])
    shares = []
    for _ in range(2000):
        seeds = draw.integers(len(solved), size=len(solved))
        tasks = draw.integers(len(names), size=len(names))
        shares.append(solved[seeds][:, tasks].sum() / (len(seeds) * outputs[tasks].sum()))
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw solved outputs in one pass against minutes, a line for each seed, and the score with votes as a dot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(rows):
        color = f"C{number}"
        for curve in row["_curves"]:
            axes.plot(*zip(*curve, strict=True), color=color, alpha=0.5, linewidth=1)
        # Side by side, because several models may have the same score.
        place = row["_minutes"] * (1.01 + 0.025 * number)
        axes.plot([place], [row["_pass@2"]], "o", color=color, label=f"{row['model']}: {row['_pass@2']:.0%} with votes")
    axes.set_xlabel("minutes of training on two cores")
    axes.set_ylabel("test outputs solved, one pass")
    axes.set_xlim(left=0)
    axes.set_ylim(-0.02, 1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=150)
