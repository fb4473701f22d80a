"""Solve tasks that no run was trained on: two attempts at each test output, with their share of the votes.

  hrm solve my-task.json                       fine-tune the weights that ship on its demonstrations for a minute
  hrm solve my-task.json --model runs/RUN      ... or those of a run
  hrm solve my-task.json --model nothing       train from scratch, two minutes
  hrm solve 0934a4d8 --finetune-seconds 0      use a trained model as it is

The tasks of a folder are learned together. The checkpoint is not changed. Where a file has answers, they are
compared with the attempts at the end, and have no influence on them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.backends import add_runtime, check_runtime, open_model
from hrm_arc.cli.show import add_json, alone, counted, counting, emit, has_blocks, note, result_console
from hrm_arc.deploy.opening import is_exported
from hrm_arc.errors import UserError, printable

if TYPE_CHECKING:
    from hrm_arc.evaluation.prediction import Prediction
    from hrm_arc.puzzles.task import Grid, Task

FROM_SCRATCH_SECONDS, FINETUNE_SECONDS = 120.0, 60.0
# In place of a model: train from scratch.
NOTHING = "nothing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", help="task file, name of a task, or folder of tasks")
    add_model(parser)
    parser.add_argument(
        "--finetune-seconds", type=float, metavar="S", help="seconds of training on the demonstrations (see above)"
    )
    parser.add_argument("--votes", type=int, default=64, metavar="V", help="variants of each input that vote (64)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, variants and votes (default 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the run in this folder")
    add_runtime(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the weights to start from."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="run, checkpoint, exported file or name of weights to start from, or nothing"
        " (default: the first that hrm weights lists)",
    )


def run(options: argparse.Namespace) -> None:
    from hrm_arc.evaluation.evaluate import predict_tasks
    from hrm_arc.evaluation.fairness import warnings
    from hrm_arc.evaluation.prediction import MOST_VOTES, keys
    from hrm_arc.puzzles.sources import load_tasks
    from hrm_arc.puzzles.varied import have_symmetries

    start = start_of(options.model)
    seconds = options.finetune_seconds
    if seconds is None:
        seconds = _default_seconds(start)
    if seconds < 0 or (seconds == 0 and start is None):
        raise UserError("--finetune-seconds", f"{seconds:g}, expected more than 0; 0 needs a trained --model")
    if seconds and start is not None and is_exported(start):
        raise UserError("--finetune-seconds", "an exported file cannot be trained: use 0, or give the run itself")
    if not 1 <= options.votes <= MOST_VOTES:
        raise UserError("--votes", f"{options.votes}, expected 1 to {MOST_VOTES:,}")
    if options.out is not None and not seconds:
        raise UserError("--out", "keeps the run that learns the task, and --finetune-seconds 0 learns nothing")
    check_runtime(start, options)
    alone("hrm solve")
    tasks = load_tasks(options.task)
    given = _given(start, tasks)
    with tempfile.TemporaryDirectory() as scratch:
        path, stopped = start, False
        if seconds:
            boards = have_symmetries(tasks)
            path, stopped = _learn(options, start, seconds, options.out or Path(scratch), boards)
        assert path is not None, "without a model something is learned"
        model = open_model(path, options)
        unfair = warnings(model.card, tasks)
        for line in unfair:
            note(line)
        with counting("answering test inputs", len(keys(tasks))) as progress:
            predictions = predict_tasks(
                model.backend, model.card, tasks, votes=options.votes, seed=options.seed, progress=progress
            )
    result = {**_result(tasks, predictions), "demonstrations_given": given, "warnings": unfair}
    emit(result, options.json, lambda result: _human(tasks, predictions, result))
    if stopped:
        raise KeyboardInterrupt


def start_of(model: str | None) -> Path | None:
    """The weights to start from; None: train from scratch."""
    from hrm_arc.runs.named import shipped_names

    if model is None:
        return Path(names[0]) if (names := shipped_names()) else None
    return None if model == NOTHING else Path(model)


def _given(start: Path | None, tasks: Sequence[Task]) -> list[str]:
    """The tasks whose demonstrations the weights to start from were trained on; says so."""
    if start is None or is_exported(start):
        return []
    from hrm_arc.evaluation.provenance import given_demonstrations
    from hrm_arc.runs.checkpoint import newest_checkpoint, read_card

    given = given_demonstrations(read_card(newest_checkpoint(start)), tasks)
    if given:
        which = "this task" if len(tasks) == 1 else f"{len(given)} of these {len(tasks)} tasks"
        note(f"{start} was given the demonstrations of {which}")
    return given


def _default_seconds(start: Path | None) -> float:
    if start is None:
        return FROM_SCRATCH_SECONDS
    return 0.0 if is_exported(start) else FINETUNE_SECONDS


def _learn(
    options: argparse.Namespace, start: Path | None, seconds: float, root: Path, boards: bool
) -> tuple[Path, bool]:
    """Train on the demonstrations; returns the run, and whether it was stopped early."""
    from hrm_arc.cli.train import train
    from hrm_arc.evaluation.torch_backend import find_device
    from hrm_arc.training.build import Pretrained
    from hrm_arc.training.distributed import accelerator_of
    from hrm_arc.training.recipes import finetuning_recipe

    # The device is checked before a minute of training depends on it.
    device = find_device(options.device)
    pretrained = None if start is None else Pretrained.load(start)
    card = None if pretrained is None else pretrained.card
    accelerator = "auto" if options.device == "auto" else accelerator_of(device)
    recipe = finetuning_recipe(options.task, seconds, options.seed, card, accelerator, options.precision, boards)
    trained = train(recipe, root, pretrained=pretrained, is_kept=options.out is not None)
    assert trained is not None, "hrm solve runs in one process"
    stopped = trained["state"] == "interrupted"
    if stopped:
        note("stopped early: the attempts are those of what was learned so far")
    return Path(trained["folder"]), stopped


def _result(tasks: tuple[Task, ...], predictions: list[Prediction]) -> dict[str, Any]:
    """Attempts for each test input: a list for one task, lists by name for several."""
    by_task: dict[str, list[list[dict[str, Any]]]] = {task.id: [] for task in tasks}
    for prediction in predictions:
        by_task[prediction.task].append([{"grid": g.tolist(), "share": share} for g, share in prediction.shares()])
    known, solved = _solved(tasks, predictions)
    attempts = by_task[tasks[0].id] if len(tasks) == 1 else by_task
    return {"attempts": attempts, "answers_known": known, "solved": solved}


def _solved(tasks: tuple[Task, ...], predictions: list[Prediction]) -> tuple[int, int | None]:
    """The number of test outputs that are known, and of those that two attempts solve; None: none is known."""
    from hrm_arc.evaluation.scores import outcomes

    found = outcomes(tasks, predictions)
    solved = sum(outcome.solved for outcome in found)
    return len(found), solved if found else None


def _human(tasks: tuple[Task, ...], predictions: list[Prediction], result: dict[str, Any]) -> None:
    from hrm_arc.evaluation.prediction import truths
    from hrm_arc.report.grids import terminal_answer

    console = result_console()
    inputs = {(task.id, n): test.input for task in tasks for n, test in enumerate(task.tests)}
    outputs = truths(tasks)
    for prediction in predictions:
        truth = outputs[prediction.key]
        attempts = [(grid, f"{share:.0%} of the votes{_mark(grid, truth)}") for grid, share in prediction.shares()]
        title = f"{printable(prediction.task)}, test {prediction.test + 1}"
        question = inputs[prediction.task, prediction.test]
        console.print(terminal_answer(title, question, attempts, has_blocks(console), console.width))
    if result["answers_known"]:
        known = counted(result["answers_known"], "test outputs")
        print(f"{result['solved']} of {known} with a known answer solved in two attempts")


def _mark(grid: Grid, truth: Grid | None) -> str:
    """Whether an attempt is right, where the answer is known."""
    from hrm_arc.evaluation.scores import same

    if truth is None:
        return ""
    return ", right" if same(grid, truth) else ", wrong"
