"""Solve tasks that nobody trained on: two attempts at each test output, with their share of votes.

  hrm solve my-task.json                          learn its demonstrations from nothing, for two minutes
  hrm solve my-task.json --from runs/RUN          ... or go on from a trained model, for a minute
  hrm solve 0d3d703e --from runs/RUN --adapt 0    ask a trained model as it is

A folder of tasks is learned together. The checkpoint is not changed. Answers, where a file has
them, are held against the attempts at the end and looked at by nothing before.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.backends import add_runtime, is_exported, open_model
from hrm_arc.cli.show import add_json, alone, counting, emit, note
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.evaluation.predict import Prediction
    from hrm_arc.puzzles.task import Task

FROM_NOTHING, FROM_CHECKPOINT = 120.0, 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", help="a task file, a task's name, or a folder of tasks")
    parser.add_argument(
        "--from", dest="checkpoint", type=Path, metavar="CHECKPOINT", help="a run, a checkpoint, or an exported file"
    )
    parser.add_argument("--adapt", type=float, metavar="SECONDS", help="how long to learn (default: see above)")
    parser.add_argument("--votes", type=int, default=64, metavar="V", help="variants put to the vote (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, variants and votes")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the run here, as a checkpoint to go on from")
    add_runtime(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.evaluation.evaluate import predict_tasks, warnings
    from hrm_arc.evaluation.predict import keys
    from hrm_arc.puzzles.sources import load_tasks

    seconds = options.adapt
    if seconds is None:
        seconds = _usual_seconds(options.checkpoint)
    if seconds < 0 or (seconds == 0 and not options.checkpoint):
        raise UserError("--adapt", f"{seconds:g}, expected seconds to learn; 0 goes with --from alone")
    if seconds and options.checkpoint and is_exported(options.checkpoint):
        raise UserError("--adapt", "an exported file cannot learn: ask it as it is, or give the run itself")
    if options.votes < 1:
        raise UserError("--votes", f"{options.votes}, expected at least 1")
    alone("hrm solve")
    tasks = load_tasks(options.task)
    with tempfile.TemporaryDirectory() as scratch:
        path = _learn(options, tasks, seconds, options.out or Path(scratch)) if seconds else options.checkpoint
        model = open_model(path, options)
        card = model.card
        unfair = warnings(card, tasks)
        for line in unfair:
            note(line)
        with counting("answering test inputs", len(keys(tasks))) as progress:
            predictions = predict_tasks(
                model.backend, card, tasks, votes=options.votes, seed=options.seed, progress=progress
            )
    result = {**_result(tasks, predictions), "warnings": unfair}
    emit(result, options.json, lambda result: _human(tasks, predictions, result))


def _usual_seconds(checkpoint: Path | None) -> float:
    if checkpoint is None:
        return FROM_NOTHING
    return 0.0 if is_exported(checkpoint) else FROM_CHECKPOINT


def _learn(options: argparse.Namespace, tasks: tuple[Task, ...], seconds: float, root: Path) -> Path:
    """Train on the demonstrations; returns the run."""
    from hrm_arc.cli.train import train
    from hrm_arc.evaluation.evaluate import answers_seen
    from hrm_arc.runs.checkpoint import WEIGHTS, newest_checkpoint, read_card, read_tensors
    from hrm_arc.training.solving import Beginning, solving_recipe

    card = beginning = None
    if options.checkpoint:
        folder = newest_checkpoint(options.checkpoint, note)
        card = read_card(folder)
        seen = [f"{name}, given away in the training that it began with" for name in answers_seen(card, tasks)]
        rows = card.rows() if card.variants == 1 else {}
        beginning = Beginning(read_tensors(folder, WEIGHTS), rows, [*card.leaks, *seen])
    recipe = solving_recipe(options.task, seconds, options.seed, card)
    trained = train(recipe, root, beginning=beginning)
    assert trained is not None, "one process learns a task"
    if trained["state"] == "interrupted":
        note("stopped early: the attempts are those of what was learned so far")
    return Path(trained["folder"])


def _result(tasks: tuple[Task, ...], predictions: list[Prediction]) -> dict[str, Any]:
    """Attempts for each test input: of one task a list, of several lists by name."""
    by_task: dict[str, list[list[dict[str, Any]]]] = {task.id: [] for task in tasks}
    for prediction in predictions:
        by_task[prediction.task].append([{"grid": g.tolist(), "share": share} for g, share in prediction.shares()])
    answered, solved = _solved(tasks, predictions)
    attempts = by_task[tasks[0].id] if len(tasks) == 1 else by_task
    return {"attempts": attempts, "answers_known": answered, "solved": solved}


def _solved(tasks: tuple[Task, ...], predictions: list[Prediction]) -> tuple[int, int]:
    """How many test outputs are known, and how many of those the attempts hold."""
    from hrm_arc.evaluation.scores import outcomes
    from hrm_arc.puzzles.task import ATTEMPTS

    found = outcomes(tasks, predictions)
    return len(found), sum(outcome.rank is not None and outcome.rank <= ATTEMPTS for outcome in found)


def _human(tasks: tuple[Task, ...], predictions: list[Prediction], result: dict[str, Any]) -> None:
    from rich.console import Console

    from hrm_arc.report.grids import terminal_answer

    console = Console()
    inputs = {(task.id, n): test.input for task in tasks for n, test in enumerate(task.tests)}
    for prediction in predictions:
        attempts = [(grid, f"{share:.0%} of the votes") for grid, share in prediction.shares()]
        title = f"{prediction.task}, test {prediction.test + 1}"
        colour = console.color_system is not None
        console.print(terminal_answer(title, inputs[prediction.task, prediction.test], attempts, colour))
    if result["answers_known"]:
        print(f"{result['solved']} of {result['answers_known']} test outputs with known answers solved in two attempts")
