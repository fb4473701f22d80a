"""Score a checkpoint on a source and leave the result as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hrm_arc.errors import UserError
from hrm_arc.evaluation.breakdown import breakdown
from hrm_arc.evaluation.predict import Backend, Prediction, predict
from hrm_arc.evaluation.scores import score
from hrm_arc.evaluation.submission import submission, submission_problems
from hrm_arc.files import write_json, write_lines
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.checkpoint import Card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.status import amend_status


def tasks_to_score(card: Card, data: str | None) -> tuple[Task, ...]:
    """The tasks of a source, or those whose answers were held back from the checkpoint.

    Raises:
        UserError: a source is not to be had, or no longer holds the tasks.
    """
    if data is not None:
        return load_tasks(data)
    found = {task.id: task for source in card.solve for task in load_tasks(source)}
    wanted = card.tasks[: card.held_back]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(", ".join(card.solve), f"no longer holds task {missing[0]} (and {len(missing) - 1} more)")
    return tuple(found[name] for name in wanted)


def answers_seen(card: Card, tasks: Sequence[Task]) -> list[str]:
    """Tasks whose answers the checkpoint was trained on: scores on them prove nothing."""
    given = set(card.tasks[card.held_back :])
    return [task.id for task in tasks if task.id in given]


def predict_tasks(
    backend: Backend,
    card: Card,
    tasks: Sequence[Task],
    *,
    votes: int,
    seed: int = 0,
    rows: Mapping[str, int] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Prediction]:
    """Predictions of a checkpoint, on the canvas it was trained on.

    ``rows`` says which row of its task table stands for which task; the checkpoint's own otherwise.
    """
    return list(
        predict(
            backend,
            tasks,
            card.rows() if rows is None else rows,
            votes=votes,
            canvas=card.canvas,
            ignores_padding=card.ignores_padding,
            variants=card.variants,
            variants_seed=card.seed,
            seed=seed,
            progress=progress,
        )
    )


def score_predictions(
    card: Card, tasks: Sequence[Task], predictions: Sequence[Prediction], folder: RunFolder
) -> dict[str, Any]:
    """Score predictions and write predictions.jsonl, scores.json and submission.json.

    Args:
        card: the card of the checkpoint that made them.
        tasks: what they answer.
        predictions: in any order.
        folder: where to write; nothing that lies there is read.

    Returns:
        the scores (see :func:`hrm_arc.evaluation.scores.score`), with ``unseen_tasks`` (not
        in the model's task table), ``answers_seen_in_training``, the ``leaks`` that its training
        was allowed, and ``groups`` and ``errors`` (see :mod:`hrm_arc.evaluation.breakdown`).
    """
    place = {task.id: n for n, task in enumerate(tasks)}
    predictions = sorted(predictions, key=lambda p: (place[p.task], p.test))
    rows = card.rows()
    scores = {
        **score(tasks, predictions),
        **breakdown(tasks, predictions),
        "unseen_tasks": sum(task.id not in rows for task in tasks),
        "answers_seen_in_training": len(answers_seen(card, tasks)),
        "leaks": card.leaks,
    }
    answers = submission(tasks, predictions)
    assert not list(submission_problems(answers, tasks)), "what is handed in fits what was asked"
    write_lines(folder.predictions_file, [_row(tasks, p) for p in predictions])
    write_json(folder.submission_file, answers)
    write_json(folder.scores_file, scores)
    if [task.id for task in tasks] == card.tasks[: card.held_back]:
        amend_status(folder.status_file, pass_at_2=scores["pass@2"])
    return scores


def _row(tasks: Sequence[Task], prediction: Prediction) -> dict[str, Any]:
    """A prediction with what it answers, so that it can be drawn and scored by itself."""
    test = next(task for task in tasks if task.id == prediction.task).tests[prediction.test]
    truth = None if test.output is None else test.output.tolist()
    return {**prediction.as_row(), "input": test.input.tolist(), "truth": truth}
