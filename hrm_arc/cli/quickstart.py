"""Train a small recursive model on twelve real ARC-AGI-1 tasks on this machine, score it on their held-out
test outputs, and write a report page. Then score the weights that ship with the program on twenty tasks of
ARC-AGI-1's evaluation set, whose test outputs they have not learned. It needs neither a GPU nor a network.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from hrm_arc.cli.evaluate import score_model
from hrm_arc.cli.show import add_json, alone, counting, emit, note, print_scores
from hrm_arc.cli.train import train
from hrm_arc.deploy.opening import open_run
from hrm_arc.errors import UserError

# The tasks that the weights which ship are scored on: those with the smallest canvases.
EVALUATION, EVALUATION_TASKS, EVALUATION_VOTES = "arc-agi-1/evaluation", 20, 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, metavar="M", help="limit of the training time (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, variants and samples (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of runs (default: runs)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.training.recipes import load_recipe

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
        note(f"go on with: hrm train --resume {trained['folder']}, and then hrm eval {trained['folder']}")
        raise KeyboardInterrupt
    folder = Path(trained["folder"])
    model = open_run(folder)
    settings = {
        "votes": recipe.evaluation.votes,
        "seed": recipe.seed,
        "early_exit": True,
        "precision": model.precision,
    }
    scores = score_model(model, None, folder, settings, f"hrm eval {folder} scores what was trained")
    if scores is None:
        return
    shipped = _score_shipped()
    seconds = {"seconds": round(time.monotonic() - started, 1), "training_seconds": trained["seconds"]}
    emit({**scores, **seconds, "run_id": trained["run_id"], "shipped": shipped}, options.json, _human)


def _score_shipped() -> dict[str, Any] | None:
    """Score the weights that ship on the smallest evaluation tasks; None where none ship."""
    from hrm_arc.evaluation.evaluate import predict_tasks, scores_of
    from hrm_arc.puzzles.selection import smallest
    from hrm_arc.puzzles.sources import load_tasks
    from hrm_arc.runs.named import shipped_names

    names = shipped_names()
    if not names:
        return None
    started = time.monotonic()
    model = open_run(Path(names[0]))
    tasks = smallest(load_tasks(EVALUATION), EVALUATION_TASKS)
    with counting("answering evaluation tasks", sum(len(task.tests) for task in tasks)) as progress:
        predictions = predict_tasks(model.backend, model.card, tasks, votes=EVALUATION_VOTES, progress=progress)
    scores = scores_of(model.card, tasks, predictions, {"votes": EVALUATION_VOTES})
    kept = ("tasks", "test_outputs", "solved_pass2", "answers_seen_in_training", "votes")
    return {"weights": names[0], **{k: scores[k] for k in kept}, "seconds": round(time.monotonic() - started, 1)}


def _human(result: dict[str, Any]) -> None:
    print()
    print_scores(result)
    print(f"\n{result['seconds']:.0f} s in total, of which {result['training_seconds']:.0f} s training")
    print(f"open {result['report']} to see every answer")
    if shipped := result["shipped"]:
        print(
            f"\n{shipped['weights']}, the weights that ship: {shipped['solved_pass2']} of {shipped['test_outputs']}"
            f" test outputs of the {shipped['tasks']} smallest evaluation tasks solved in two attempts"
            f" ({shipped['seconds']:.0f} s)"
        )
        print("hrm weights tells what they learned from and what they score on all 400")
