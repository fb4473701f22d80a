"""hrm solve from scratch: two minutes on each of ten small tasks of ARC-AGI-1's evaluation set.

A rule selects the tasks: the smallest canvases among those whose demonstrations keep the input's
size, ties by name. Each is learned from its own demonstrations only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from benchmarks._processes import hrm
from benchmarks._runs import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", type=int, default=10, help="number of tasks (default 10)")
    parser.add_argument(
        "--seconds", type=positive, default=120.0, help="seconds of training for each task (default 120)"
    )
    parser.add_argument("--model", default="nothing", help="weights to begin with, as for hrm solve (default: nothing)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every run (default 0)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from hrm_arc.puzzles.selection import smallest
    from hrm_arc.puzzles.sources import load_tasks

    solved = outputs = 0
    for task in smallest(load_tasks("arc-agi-1/evaluation"), options.tasks):
        seconds = ["--finetune-seconds", str(options.seconds), "--model", options.model]
        result = hrm("solve", task.id, *seconds, "--seed", str(options.seed))
        solved, outputs = solved + result["solved"], outputs + result["answers_known"]
        height, width = max((grid.shape for grid in task.visible_grids()), key=lambda shape: shape[0] * shape[1])
        yield {
            "task": task.id,
            "largest grid": f"{height} x {width}",
            "demonstrations": len(task.demonstrations),
            "votes for the attempts": "; ".join(
                ", ".join(f"{attempt['share']:.0%}" for attempt in attempts) for attempts in result["attempts"]
            ),
            "solved": f"{result['solved']} of {result['answers_known']}",
            "so far": f"{solved} of {outputs}",
        }
