"""Rungs of the record's ladder: settings, study tasks and weights to begin with, at equal minutes or equal updates.

No score of this project uses the tasks, so settings can be chosen by them. By default they are training tasks of
ARC-AGI-1 with canvases of at most 196 cells, evenly by size, without those of the quickstart and the race. Whatever
knows these (study tasks, RE-ARC) is compared on tasks that are new in ARC-AGI-2's training set (--new) and follow on
the thirty of hrm bench transfer; few of those are solved by any rung. The interval of a difference to the first rung is
a paired bootstrap over tasks, with the test outputs of all seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._paired import difference, right_votes, shown
from benchmarks._runs import Scored, add_keep, positive, runs_folder, scored_run, updates
from benchmarks.transfer import SCORED, new_tasks
from hrm_arc.errors import UserError
from hrm_arc.puzzles.canvas import visible_canvas
from hrm_arc.puzzles.re_arc import EXCLUDED
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.training.build import load_corpus
from hrm_arc.training.recipes import load_recipe

# Of the training tasks: the canvases of the record's first stage.
LARGEST = 196
SCORED_RECIPES = ("quickstart", "race/grid-hrm")
AS_IT_IS = "as it is"
# More than the minutes allow.
MOST_STEPS = 1_000_000
RUNGS: dict[str, list[str]] = {
    AS_IT_IS: [],
    "width 128": ["--model.hidden_size", "128", "--model.num_heads", "4"],
    "width 256": ["--model.hidden_size", "256", "--model.num_heads", "8"],
    "two cycles": ["--model.h_cycles", "2"],
    "two segments": ["--model.segments", "2"],
    "learned positions": ["--model.learned_positions", "true"],
    "a convolution in each feed-forward": ["--model.convolution", "3"],
}
# Rungs that know ARC-AGI-1's training tasks.
STUDY_RUNGS: dict[str, list[str]] = {
    "ARC-AGI-1's training tasks to study": ["--data.study", "[arc-agi-1/training]"],
    "RE-ARC to study": ["--data.study", "[re-arc:40]"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", default="cpu-arc1", help="the recipe (default cpu-arc1)")
    parser.add_argument("--tasks", type=int, default=40, help="number of tasks (default 40)")
    parser.add_argument("--new", action="store_true", help="tasks that are new in ARC-AGI-2, with more rungs")
    parser.add_argument("--minutes", type=positive, default=12.0, help="minutes of training for each rung (default 12)")
    parser.add_argument("--steps", type=int, help="optimizer updates of each rung, in place of --minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds to run (default 0)")
    parser.add_argument(
        "--only", nargs="+", metavar="RUNG", help=f"only these: {', '.join(RUNGS)}; with --new {', '.join(STUDY_RUNGS)}"
    )
    parser.add_argument(
        "--begin-with", nargs="+", default=[], metavar="RUN", help="runs or names of weights: more rungs, one for each"
    )
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    rungs_here = RUNGS | STUDY_RUNGS if options.new else RUNGS
    if unknown := [name for name in options.only or () if name not in rungs_here]:
        raise UserError("--only", f"no such rung: {unknown[0]}, expected {', '.join(rungs_here)}")
    data = [
        "--data.solve",
        json.dumps(stand_in_tasks(options.tasks, options.new)),
        "--data.largest",
        "0",
        "--evaluation.votes",
        "8",
    ]
    minutes, steps = (0.0, options.steps) if options.steps is not None else (options.minutes, MOST_STEPS)
    length = ["--training.max_minutes", str(minutes), "--training.max_steps"]
    rungs: list[tuple[str, list[str], Path | None]] = [
        (name, rungs_here[name], None) for name in options.only or rungs_here
    ]
    rungs += [(f"from {Path(start).name}", [], Path(start)) for start in options.begin_with]
    first: list[Scored] = []
    with runs_folder(options.keep) as root:
        for name, flags, start in rungs:
            runs = [
                scored_run(
                    root,
                    f"{name}, seed {seed}",
                    options.recipe,
                    [*data, *length, str(steps // updates(options.recipe, flags)), *flags, "--seed", str(seed)],
                    start=start,
                )
                for seed in options.seeds
            ]
            first = first or runs
            yield _row(name, runs, first)


def stand_in_tasks(count: int, new: bool = False) -> list[str]:
    """The names of tasks to choose by.

    Raises:
        UserError: there are not so many.
    """
    if new:
        return [task.id for task in new_tasks(SCORED + count)[SCORED:]]
    scored = {task.id for recipe in SCORED_RECIPES for task in load_corpus(load_recipe(recipe)).solve}
    known = scored | set(EXCLUDED)
    cells = {task.id: visible_canvas(task).cells for task in load_tasks("arc-agi-1/training") if task.id not in known}
    ranked = sorted((name for name in cells if cells[name] <= LARGEST), key=lambda name: (cells[name], name))
    if count > len(ranked):
        raise UserError("--tasks", f"{count}, expected at most {len(ranked)}")
    return [ranked[place * len(ranked) // count] for place in range(count)]


def _row(name: str, runs: list[Scored], first: list[Scored]) -> dict[str, Any]:
    scores = [run.scores for run in runs]
    return {
        "rung": name,
        "steps": ", ".join(f"{run.trained['steps']:,}" for run in runs),
        "solved, two attempts": ", ".join(str(each["solved_pass2"]) for each in scores)
        + f" of {scores[0]['test_outputs']}",
        "difference of pass@2": "" if runs is first else shown(difference(first, runs)),
        "right in one pass": f"{np.mean([each['exact_accuracy'] for each in scores]):.1%}",
        "over all passes": f"{np.mean([right_votes(run) for run in runs]):.1%}",
        "token accuracy, one pass": f"{np.mean([each['token_accuracy'] for each in scores]):.2%}",
    }
