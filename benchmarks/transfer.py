"""Whether trained weights help on tasks that they were not given: hrm solve from them, and from nothing for longer.

The tasks are new in ARC-AGI-2's training set: none is in ARC-AGI-1, under its own or another name, in other colors or
turned. A rule selects those with the smallest visible canvases. Each is learned alone by both, from its demonstrations;
the same seed starts both. Thirty tasks and three seeds take four and a half hours; ``--keep`` goes on where it stopped.
The smallest of these tasks are those of hrm bench settings, by which the settings of training from nothing were chosen:
that can make the score from nothing a little high.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._processes import hrm
from benchmarks._runs import positive, runs_folder
from hrm_arc.errors import UserError
from hrm_arc.files import write_json
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.checkpoint import newest_checkpoint, read_card

# The number of tasks that are scored here; others may be used to choose settings.
SCORED = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", type=int, default=SCORED, help=f"number of tasks (default {SCORED})")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds to run (default 0 1 2)")
    parser.add_argument("--model", default="arc1-cpu", help="weights to begin with (default arc1-cpu)")
    parser.add_argument("--seconds", type=positive, default=60.0, help="training from the weights (default 60)")
    parser.add_argument("--from-nothing", type=positive, default=120.0, help="seconds from nothing (default 120)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep results in this folder, and go on from them")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    tasks = new_tasks(options.tasks)
    sides = {options.model: options.seconds, "nothing": options.from_nothing}
    # Solved outputs: [task, seed] for each side.
    counts = {model: np.zeros((len(tasks), len(options.seeds)), dtype=int) for model in sides}
    outputs = sum(len(task.tests) for task in tasks)
    with runs_folder(options.keep) as root:
        root.mkdir(parents=True, exist_ok=True)
        for number, task in enumerate(tasks):
            for place, seed in enumerate(options.seeds):
                for model, seconds in sides.items():
                    counts[model][number, place] = _solved(root, task.id, model, seconds, seed)
            yield {
                "task": task.id,
                "test outputs": len(task.tests),
                **{
                    f"from {model}, {seconds:g} s": ", ".join(map(str, counts[model][number]))
                    for model, seconds in sides.items()
                },
            }
    ours, theirs = counts[options.model], counts["nothing"]
    low, high = _interval(ours, theirs)
    totals = {
        f"from {model}, {seconds:g} s": ", ".join(map(str, counts[model].sum(0))) for model, seconds in sides.items()
    }
    # Over all seeds, so that a task is on one side only.
    better, worse = int((ours.sum(1) > theirs.sum(1)).sum()), int((ours.sum(1) < theirs.sum(1)).sum())
    yield {"task": "all, for each seed", "test outputs": outputs, **totals}
    yield {
        "task": f"difference of the sums over seeds {ours.sum() - theirs.sum()} (95% interval {low:g} to {high:g});"
        f" more solved on {better} tasks, fewer on {worse}",
        "test outputs": "",
        **dict.fromkeys(totals, ""),
    }


def new_tasks(count: int) -> list[Task]:
    """The smallest tasks, by visible canvas, of ARC-AGI-2's training set that ARC-AGI-1 does not have in any form.

    Raises:
        UserError: there are not so many.
    """
    from hrm_arc.puzzles.canvas import visible_canvas
    from hrm_arc.puzzles.leaks import shared
    from hrm_arc.puzzles.sources import load_tasks

    known = load_tasks("arc-agi-1")
    names = {task.id for task in known}
    new = sorted(
        (task for task in load_tasks("arc-agi-2/training") if task.id not in names),
        key=lambda task: (visible_canvas(task).cells, task.id),
    )
    chosen: list[Task] = []
    for task in new:
        if len(chosen) == count:
            break
        if not shared([task], known):
            chosen.append(task)
    if len(chosen) < count:
        raise UserError("--tasks", f"there are only {len(chosen)} new tasks, and {count} are needed")
    return chosen


def _solved(root: Path, task: str, model: str, seconds: float, seed: int) -> int:
    """Test outputs that ``hrm solve`` solves; kept in ``root``.

    Raises:
        UserError: the result there is that of other weights of this name.
    """
    weights = None if model == "nothing" else read_card(newest_checkpoint(Path(model))).run_id
    record = root / f"{task}-{Path(model).name}-{seconds:g}-{seed}.json"
    if not record.is_file():
        flags = ["--model", model, "--finetune-seconds", str(seconds), "--seed", str(seed)]
        result = hrm("solve", task, *flags)
        write_json(record, {"solved": result["solved"], "weights": weights})
    known = json.loads(record.read_text(encoding="utf-8"))
    if known["weights"] != weights:
        raise UserError(record, "was made with other weights of this name; keep these results in another folder")
    return int(known["solved"])


def _interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the difference of solved outputs, summed over seeds, by a bootstrap over tasks."""
    difference = (ours - theirs).sum(1)
    random = np.random.default_rng(0)
    drawn = difference[random.integers(len(difference), size=(10_000, len(difference)))].sum(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
