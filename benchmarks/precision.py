"""Do models learn as much in the precision that ``training.precision: auto`` stands for here as in single precision?

Both get equally many steps of the same samples; the same seed starts both. The interval of the difference is a paired
bootstrap over tasks, with the test outputs of all seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._paired import difference, shown, solved
from benchmarks._runs import Scored, add_keep, runs_folder, scored_run
from hrm_arc.errors import UserError

# Optimizer updates of each recipe.
STEPS = {"quickstart": 1200, "race/grid-hrm": 1000}
SINGLE = "32-true"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), help="train only these recipes")
    parser.add_argument(
        "--steps", type=int, help="optimizer updates (default 1200 of the quickstart, 1000 of the race)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds to run (default 0 1 2)")
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from hrm_arc.hardware import chosen_precision

    auto = chosen_precision("auto", "cpu")
    if auto == SINGLE:
        raise UserError("hrm bench precision", f"on this processor auto stands for {SINGLE}: nothing to compare")
    with runs_folder(options.keep) as root:
        for recipe in options.only:
            steps = options.steps or STEPS[recipe]
            runs = {name: _runs(root, recipe, name, steps, options.seeds) for name in (SINGLE, auto)}
            yield _row(recipe, steps, runs)


def _runs(root: Path, recipe: str, precision: str, steps: int, seeds: Sequence[int]) -> list[Scored]:
    flags = ["--training.precision", precision, "--training.max_minutes", "0", "--training.max_steps", str(steps)]
    flags += ["--training.accelerator", "cpu"]
    return [
        scored_run(
            root,
            f"{recipe.replace('/', '-')}-{precision}-{seed}",
            recipe,
            [*flags, "--seed", str(seed)],
            ["--precision", precision],
        )
        for seed in seeds
    ]


def _row(recipe: str, steps: int, runs: dict[str, list[Scored]]) -> dict[str, Any]:
    single, auto = runs.values()
    return {
        "recipe": recipe,
        "steps": f"{steps:,}",
        **{
            f"solved in {name}": ", ".join(str(run.scores["solved_pass2"]) for run in found)
            for name, found in runs.items()
        },
        "test outputs": len(solved(single[0].folder)),
        "difference of pass@2": shown(difference(single, auto)),
        **{
            f"one pass in {name}": f"{np.mean([run.scores['exact_accuracy'] for run in found]):.1%}"
            for name, found in runs.items()
        },
    }
