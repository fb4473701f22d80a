"""Seconds and peak memory of `hrm eval` by number of tasks and of votes.

A grid-hrm of 5.9M parameters, trained for a moment only, answers ARC-AGI-1's evaluation tasks. Each measurement
is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks._processes import hrm, run
from benchmarks.edge import MODEL
from hrm_arc.errors import UserError
from hrm_arc.puzzles.formats import task_json

# From an eighth of the work to all of it, once by tasks and once by votes.
TASKS = (50, 100, 200, 400)
VOTES = (1, 2, 4, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hidden-size", type=int, default=352, help="hidden size of the model (default 352: 5.9M parameters)"
    )
    parser.add_argument(
        "--tasks", type=int, nargs="+", default=list(TASKS), help="numbers of tasks, measured with the most votes"
    )
    parser.add_argument(
        "--votes", type=int, nargs="+", default=list(VOTES), help="numbers of votes, measured on the most tasks"
    )


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from hrm_arc.puzzles.sources import load_tasks

    tasks = load_tasks("arc-agi-1/evaluation")
    if not 1 <= min(options.tasks) <= max(options.tasks) <= len(tasks):
        raise UserError("--tasks", f"expected 1 to {len(tasks)}")
    most_tasks, most_votes = max(options.tasks), max(options.votes)
    sizes = [(count, most_votes) for count in sorted(options.tasks)]
    sizes += [(most_tasks, votes) for votes in sorted(options.votes) if votes != most_votes]
    with tempfile.TemporaryDirectory() as folder:
        shape = ["--model.hidden_size", str(options.hidden_size), "--model.num_heads", "8", "--validation.every", "0"]
        trained = hrm("train", "race/grid-hrm", *MODEL, *shape, "--out", folder)["folder"]
        for count, votes in sizes:
            # Evenly spaced tasks, so that a part is as mixed as the whole.
            part = [tasks[n * len(tasks) // count] for n in range(count)]
            yield _evaluation(trained, Path(folder) / f"tasks-{count}", part, votes)


def _evaluation(model: str, folder: Path, tasks: Sequence[Any], votes: int) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    for task in tasks:
        (folder / f"{task.id}.json").write_text(json.dumps(task_json(task)))
    command = [sys.executable, "-m", "hrm_arc", "eval", model, "--data", str(folder), "--votes", str(votes)]
    ran = run([*command, "--device", "cpu", "--json"], watch=True)
    seconds, outputs = json.loads(ran.output)["seconds"], json.loads(ran.output)["test_outputs"]
    return {
        "tasks": len(tasks),
        "votes": votes,
        "test outputs": outputs,
        "seconds": f"{seconds:.0f}",
        # One more pass for each test output records its answer after each segment.
        "ms a pass": f"{1000 * seconds / (outputs * (votes + 1)):.0f}",
        "peak memory": f"{ran.peak_bytes / 1e6:.0f} MB",
        "_seconds": seconds,
        "_megabytes": ran.peak_bytes / 1e6,
    }


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw seconds and peak memory over the number of passes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for column, color in (("tasks", "C0"), ("votes", "C1")):
        other = "votes" if column == "tasks" else "tasks"
        fixed = max(row[other] for row in rows)
        line = [(row["test outputs"] * (row["votes"] + 1), row) for row in rows if row[other] == fixed]
        line.sort(key=lambda point: point[0])
        answers = [count for count, _ in line]
        time.plot(answers, [row["_seconds"] for _, row in line], "o-", color=color, label=f"more {column}")
        memory.plot(answers, [row["_megabytes"] for _, row in line], "o-", color=color)
    time.set_ylabel("seconds on two cores")
    memory.set_ylabel("peak memory, MB")
    for axes in (time, memory):
        axes.set_xlabel("passes over a test input")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    time.legend(frameon=False)
    figure.savefig(path, dpi=150)
