"""Run a recipe: a YAML file, or the name of one that comes with the package.

Any key of a recipe can be set with a dotted flag: --optimiser.learning_rate 1e-3
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hrm_arc.cli.show import add_json, emit, note, training_progress
from hrm_arc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", help="a recipe file, or a packaged recipe such as log/session-5")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where run folders lie (default: runs)")
    parser.add_argument("-h", "--help", action="store_true", help="show this and every key of a recipe")
    add_json(parser)
    parser.set_defaults(run=run, takes_rest=True)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.training.recipe_files import load_recipe

    if options.help:
        _help()
        return
    if not options.recipe:
        raise UserError("hrm train", "name a recipe: a YAML file, or a packaged one such as quickstart")
    recipe = load_recipe(options.recipe, options.rest)
    emit(train(recipe, options.out), options.json, _human)


def train(recipe: Any, root: Path) -> dict[str, Any]:
    """Train with a progress bar; returns the trainer's summary."""
    from hrm_arc.training.trainer import Trainer

    with training_progress() as onlooker:
        trainer = Trainer(recipe, root, onlooker)
        note(f"run {trainer.folder.path}")
        return trainer.fit()


def _help() -> None:
    from hrm_arc.models import KINDS
    from hrm_arc.training.recipe_files import recipe_parser

    print(__doc__)
    print("usage: hrm train RECIPE [--out DIR] [--json] [--key.subkey value ...]\n")
    print("Keys of a recipe for grid-hrm:\n")
    sys.stdout.write(recipe_parser("grid-hrm").format_help())
    print(f"\nOther models have keys of their own under 'model': {', '.join(KINDS)}.")


def _human(result: dict[str, Any]) -> None:
    print(f"{result['steps']} steps in {result['seconds']:.0f} s of training; run {result['folder']}")
    print(f"score it: hrm eval {result['folder']}")
