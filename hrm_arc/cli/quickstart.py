"""Train a small recursive model on twelve real ARC-AGI-1 tasks on this machine, score it on their held-out
test outputs, and write a report page. It needs neither a GPU nor a network.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from hrm_arc.cli.backends import open_run
from hrm_arc.cli.evaluate import score_model
from hrm_arc.cli.show import add_json, alone, emit, print_scores
from hrm_arc.cli.train import train
from hrm_arc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, metavar="M", help="limit of the training time (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, variants and samples (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of runs (default: runs)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.training.build import load_recipe

    if options.minutes is not None and not options.minutes > 0:
        raise UserError("--minutes", f"{options.minutes:g}, expected more than 0")
    alone("hrm quickstart")
    started = time.monotonic()
    overrides = ["--seed", str(options.seed)]
    if options.minutes is not None:
        overrides += ["--training.max_minutes", str(options.minutes)]
    recipe = load_recipe("quickstart", overrides)
    trained = train(recipe, options.out)
    if trained is None:
        return
    if trained["state"] == "interrupted":
        raise KeyboardInterrupt
    folder = Path(trained["folder"])
    model = open_run(folder)
    settings = {
        "votes": recipe.evaluation.votes,
        "seed": recipe.seed,
        "early_exit": True,
        "precision": model.precision,
    }
    scores = score_model(model, None, folder, settings)
    if scores is None:
        return
    seconds = {"seconds": round(time.monotonic() - started, 1), "training_seconds": trained["seconds"]}
    emit({**scores, **seconds, "run_id": trained["run_id"]}, options.json, _human)


def _human(result: dict[str, Any]) -> None:
    print()
    print_scores(result)
    print(f"\n{result['seconds']:.0f} s in total, of which {result['training_seconds']:.0f} s training")
    print(f"open {result['report']} to see every answer")
