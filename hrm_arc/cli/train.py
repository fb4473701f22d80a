"""Train a recipe: a YAML file, or the name of a recipe that comes with the package.

Any key of a recipe can be set with a dotted flag:
  hrm train quickstart --optimizer.lr 2e-3

A recipe can name a model of your own as package.module:Name (see docs/extending.md):
  hrm train my-recipe.yaml --model.name my_model:MyModel

Start from the weights of another run, or of an imported checkpoint; tasks that it does not know get new rows:
  hrm train RECIPE --init-from runs/RUN
An imported checkpoint decides on the model, and the recipe on all else. With the loss, halting, optimizer and schedule
of another recipe, such as hrm and trm, which are as published:
  hrm train RECIPE --init-from runs/imported-X --optimizer-of hrm --optimizer.lr 1e-5

A run that was interrupted or killed goes on from its last checkpoint, on a CPU bit for bit:
  hrm train --resume runs/RUN
A recipe that differs from the run's is refused, or accepted key by key:
  hrm train --resume runs/RUN --training.max_steps 5000 --override training.max_steps

Where the time of a step goes: a short run with --profile; its trace opens in https://ui.perfetto.dev:
  hrm train quickstart --training.max_steps 10 --profile
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import add_json, counted, emit, note, table
from hrm_arc.cli.signals import ending, handling, killing
from hrm_arc.errors import UserError
from hrm_arc.evaluation.sharing import check_torchrun

if TYPE_CHECKING:
    from hrm_arc.runs.folder import RunFolder
    from hrm_arc.training.build import Pretrained
    from hrm_arc.training.config import Recipe

RUNS = Path("runs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", help="recipe file, or a packaged recipe such as log/session-5")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of runs (default: runs)")
    parser.add_argument("--init-from", type=Path, metavar="CHECKPOINT", help="start from the weights of this run")
    parser.add_argument(
        "--optimizer-of", metavar="RECIPE", help="take loss, halting, optimizer and schedule from this recipe"
    )
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with this run")
    parser.add_argument("--override", action="append", default=[], metavar="KEY", help="a key that may differ from it")
    parser.add_argument(
        "--profile", action="store_true", help="record five steps: a table of operations, and RUN/trace.json.gz"
    )
    parser.add_argument(
        "--allow-leak", action="store_true", help="train even if the data gives away an answer that is to be found"
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this and every key of a recipe")
    add_json(parser)
    parser.set_defaults(run=run, takes_rest=True, takes_keys=True)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.runs.folder import RunFolder
    from hrm_arc.training.build import Pretrained
    from hrm_arc.training.recipes import load_init_recipe
    from hrm_arc.training.resuming import restarted_run, resumed_recipe

    if options.help:
        _help()
        return
    check_torchrun()
    if options.allow_leak:
        options.rest += ["--data.allow_leak", "true"]
    pretrained = None
    if options.override and not options.resume:
        raise UserError("--override", "accepts a change of a run that is resumed; a new run takes the key as it is")
    if options.resume:
        if options.init_from:
            raise UserError("--init-from", "starts a new run; --resume goes on with the weights of its own")
        if options.optimizer_of:
            raise UserError("--optimizer-of", "is for a new run; --resume goes on with the recipe of its own")
        if options.out:
            raise UserError("--out", "is for a new run; --resume goes on in the folder of the run")
        folder: RunFolder | None = RunFolder(options.resume)
        recipe = resumed_recipe(RunFolder(options.resume), options.recipe, options.rest, options.override)
    elif options.recipe:
        pretrained = Pretrained.load(options.init_from) if options.init_from else None
        card = pretrained.card if pretrained else None
        recipe = load_init_recipe(options.recipe, options.rest, card, options.optimizer_of)
        folder = restarted_run(recipe, options.out or RUNS)
    else:
        raise UserError("hrm train", "name a recipe: a YAML file, or a packaged one such as quickstart")
    result = train(recipe, options.out or RUNS, folder, pretrained, options.profile, options.override)
    if result is not None:
        emit(result, options.json, _human)
    if result is not None and result["state"] == "interrupted":
        raise KeyboardInterrupt


def train(
    recipe: Recipe,
    root: Path,
    resume: RunFolder | None = None,
    pretrained: Pretrained | None = None,
    profile: bool = False,
    overrides: Sequence[str] = (),
    is_kept: bool = True,
) -> dict[str, Any] | None:
    """Train with a progress bar; returns the trainer's summary in the main process, None in the others.

    Args:
        recipe, root, resume, pretrained, profile, overrides: as of :class:`~hrm_arc.training.trainer.Trainer`.
        is_kept: whether the run's folder is still there afterwards, and is named.
    """
    from hrm_arc.cli.progress import ConsoleProgress
    from hrm_arc.training.trainer import Trainer

    with ConsoleProgress() as progress:
        # While torch waits for other processes it could not call a Python signal handler.
        with killing() if "RANK" in os.environ else contextlib.nullcontext():
            trainer = Trainer(
                recipe,
                callbacks=[progress],
                root=root,
                resume=resume,
                pretrained=pretrained,
                profile=profile,
                overrides=overrides,
            )
        begun = trainer.step
        if trainer.is_main and is_kept:
            note(f"run {trainer.folder.path}")

        def stop() -> None:
            trainer.stop()
            if trainer.is_main:
                note("finishing this step and saving; once more to quit at once, with the last checkpoint")

        with handling(ending(stop, lambda: trainer.stopping)):
            result = trainer.fit()
        if trainer.is_main and resume is not None and result["state"] == "finished" and result["steps"] == begun:
            longer = "--training.max_steps N or --training.max_minutes M, accepted with --override"
            note(f"it was finished at step {begun:,}, and nothing was trained; a longer run takes {longer}")
    return result if trainer.is_main else None


def _help() -> None:
    from hrm_arc.models import MODELS
    from hrm_arc.training.recipes import recipe_parser

    print(__doc__)
    flags = "[--init-from CHECKPOINT] [--optimizer-of RECIPE] [--resume RUN] [--override KEY] [--profile]"
    print(f"usage: hrm train [RECIPE] {flags} [--allow-leak] [--out DIR] [--json] [--key.subkey value ...]\n")
    print("Keys of a recipe with the model grid-hrm:\n")
    sys.stdout.write(recipe_parser("grid-hrm").format_help())
    print(f"\nOther models have other keys under 'model': {', '.join(MODELS)}.")


def _human(result: dict[str, Any]) -> None:
    print(f"{counted(result['steps'], 'steps')} in {result['seconds']:.0f} s of training; run {result['folder']}")
    if "compile_seconds" in result:
        print(f"before that, {result['compile_seconds']:.0f} s of compilation, which do not count")
    if result["seconds_saved"]:
        print(f"the validation gate saved about {result['seconds_saved']:.0f} s of full validations")
    if "profile" in result:
        _show_profile(result["profile"])
    if result["state"] == "interrupted":
        print(f"go on with: hrm train --resume {result['folder']}")
    elif result["held_out"]:
        print(f"score it: hrm eval {result['folder']}")
    else:
        print(f"begin with its weights: hrm train RECIPE --init-from {result['folder']}")


def _show_profile(profile: dict[str, Any] | None) -> None:
    if profile is None:
        print("nothing was recorded: a profile needs eight steps, and the run had fewer")
        return
    steps, milliseconds = counted(profile["steps"], "steps"), 1000 * profile["seconds_per_step"]
    print(f"{steps} recorded, {milliseconds:.0f} ms each with the profiler on")
    table("time by part", ["part", "share"], [[part, f"{share:.1%}"] for part, share in profile["parts"].items()])
    print()
    rows = [[each["name"], f"{each['calls']:.0f}", f"{each['share']:.1%}"] for each in profile["operations"]]
    table("time by operation", ["operation", "calls per step", "share"], rows)
    print(f"wrote {profile['trace']}; open it in https://ui.perfetto.dev or chrome://tracing")
