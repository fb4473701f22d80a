"""Run a recipe: a YAML file, or the name of one that comes with the package.

Any key of a recipe can be set with a dotted flag:
  hrm train quickstart --optimiser.learning_rate 2e-3

A run that was interrupted or killed goes on where its last checkpoint is, on a CPU bit for bit:
  hrm train --resume runs/RUN
A recipe that differs from the run's is refused, or accepted key by key:
  hrm train --resume runs/RUN --training.steps 5000 --override training.steps

Where does a step go? A short run tells; its trace opens in https://ui.perfetto.dev:
  hrm train quickstart --training.steps 10 --profile
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import add_json, emit, note, table, training_progress
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.runs.folder import RunFolder
    from hrm_arc.training.recipe import Recipe
    from hrm_arc.training.solving import Beginning
    from hrm_arc.training.trainer import Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", help="a recipe file, or a packaged recipe such as log/session-5")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where run folders lie (default: runs)")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with this run")
    parser.add_argument("--override", action="append", default=[], metavar="KEY", help="a key that may differ from it")
    parser.add_argument(
        "--profile", action="store_true", help="record five steps: a table of where they go, and RUN/trace.json.gz"
    )
    parser.add_argument(
        "--allow-leak", action="store_true", help="train even if some of the data answers what is to be solved"
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this and every key of a recipe")
    add_json(parser)
    parser.set_defaults(run=run, takes_rest=True, takes_keys=True)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.runs.folder import RunFolder
    from hrm_arc.training.recipe_files import load_recipe
    from hrm_arc.training.resume import restarted_run, resumed_recipe

    if options.help:
        _help()
        return
    if options.allow_leak:
        options.rest += ["--data.allow_leak", "true"]
    if options.resume:
        folder: RunFolder | None = RunFolder(options.resume)
        recipe = resumed_recipe(RunFolder(options.resume), options.recipe, options.rest, options.override)
    elif options.recipe:
        recipe = load_recipe(options.recipe, options.rest)
        folder = restarted_run(recipe, options.out)
    else:
        raise UserError("hrm train", "name a recipe: a YAML file, or a packaged one such as quickstart")
    result = train(recipe, options.out, folder, profile=options.profile)
    if result is not None:
        emit(result, options.json, _human)
    if result is not None and result["state"] == "interrupted":
        raise KeyboardInterrupt


def train(
    recipe: Recipe,
    root: Path,
    resume: RunFolder | None = None,
    beginning: Beginning | None = None,
    profile: bool = False,
) -> dict[str, Any] | None:
    """Train with a progress bar; returns the trainer's summary, on the process that leads."""
    from hrm_arc.training.trainer import Trainer

    with training_progress() as onlooker:
        # While it waits for other processes, inside of torch, it could not hear a handler of ours.
        heard = signal.signal(signal.SIGTERM, signal.SIG_DFL) if "RANK" in os.environ else None
        trainer = Trainer(recipe, root, resume, onlooker, note, beginning, profile)
        if heard is not None:
            signal.signal(signal.SIGTERM, heard)
        if trainer.leads:
            note(f"run {trainer.folder.path}")
        with _signals(trainer):
            result = trainer.fit()
    return result if trainer.leads else None


@contextlib.contextmanager
def _signals(trainer: Trainer) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after its step; a second one ends it at once."""

    def handle(signum: int, frame: FrameType | None) -> None:
        if trainer.stopping:
            raise KeyboardInterrupt
        trainer.stop()
        if trainer.leads:
            note("finishing this step and saving; once more to leave at once, with the last checkpoint")

    kept = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _help() -> None:
    from hrm_arc.models import KINDS
    from hrm_arc.training.recipe_files import recipe_parser

    print(__doc__)
    flags = "[--resume RUN] [--override KEY] [--profile] [--allow-leak] [--out DIR] [--json] [--key.subkey value ...]"
    print(f"usage: hrm train [RECIPE] {flags}\n")
    print("Keys of a recipe for grid-hrm:\n")
    sys.stdout.write(recipe_parser("grid-hrm").format_help())
    print(f"\nOther models have keys of their own under 'model': {', '.join(KINDS)}.")


def _human(result: dict[str, Any]) -> None:
    print(f"{result['steps']} steps in {result['seconds']:.0f} s of training; run {result['folder']}")
    if result["seconds_saved"]:
        print(f"the gate saved about {result['seconds_saved']:.0f} s of full validations")
    if "profile" in result:
        _show_profile(result["profile"])
    if result["state"] == "interrupted":
        print(f"go on with: hrm train --resume {result['folder']}")
    else:
        print(f"score it: hrm eval {result['folder']}")


def _show_profile(profile: dict[str, Any] | None) -> None:
    if profile is None:
        print("nothing was recorded: a profile takes eight steps, and the run had fewer")
        return
    print(f"{profile['steps']} steps recorded, {1000 * profile['seconds_per_step']:.0f} ms each with the profiler on")
    table("where they went", ["part", "share"], [[part, f"{share:.1%}"] for part, share in profile["parts"].items()])
    rows = [[each["name"], f"{each['calls']:.0f}", f"{each['share']:.1%}"] for each in profile["operations"]]
    table("in which operations", ["operation", "calls a step", "share"], rows)
    print(f"wrote {profile['trace']}; open it in https://ui.perfetto.dev or chrome://tracing")
