"""Score a checkpoint on a source and leave the result as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hrm_arc.errors import ReportedError, UserError, and_more
from hrm_arc.evaluation.breakdown import breakdown, error_kind, groups
from hrm_arc.evaluation.journal import Journal
from hrm_arc.evaluation.predict import Backend, Key, Prediction, keys, predict
from hrm_arc.evaluation.refinement import refinement
from hrm_arc.evaluation.scores import same, score
from hrm_arc.evaluation.submission import submission, submission_problems
from hrm_arc.files import write_json, write_lines
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.checkpoint import Card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.status import amend_status
from hrm_arc.runs.versions import versions


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
        raise UserError(", ".join(card.solve), f"no longer holds task {missing[0]}{and_more(missing)}")
    if not wanted:
        raise UserError("--data", "this checkpoint had nothing held back from it: name a source to score it on")
    return tuple(found[name] for name in wanted)


def answers_seen(card: Card, tasks: Sequence[Task]) -> list[str]:
    """Tasks whose answers the checkpoint is known to have been trained on: scores on them prove nothing."""
    if card.imported:
        return []
    given = set(card.tasks[card.held_back :])
    return [task.id for task in tasks if task.id in given]


def unseen_tasks(card: Card, tasks: Sequence[Task]) -> list[str]:
    """Tasks that are not in the checkpoint's table: the model is not told which they are."""
    known = card.rows()
    return [task.id for task in tasks if task.id not in known]


def predict_tasks(
    backend: Backend,
    card: Card,
    tasks: Sequence[Task],
    *,
    votes: int,
    seed: int = 0,
    rows: Mapping[str, int] | None = None,
    refine: bool = False,
    only: Sequence[Key] | None = None,
    journal: Journal | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Prediction]:
    """Predictions of a checkpoint, on the canvas it was trained on.

    Args:
        backend: what runs its model.
        card: the checkpoint's.
        tasks: what to answer.
        votes, seed, refine: see :func:`hrm_arc.evaluation.predict.predict`.
        rows: which row of its task table stands for which task; the checkpoint's own if None.
        only: the test inputs to answer; all of them if None.
        journal: predictions that it has are taken from there, others are written to it; memory then
            does not grow with tasks.
        progress: called with how many of the test inputs have an answer.

    Raises:
        ReportedError: a prediction that was written to the journal is no longer there.
    """
    asked = keys(tasks) if only is None else only
    left = set(asked).difference(() if journal is None else journal.read())
    answered = predict(
        backend,
        tasks,
        card.rows() if rows is None else rows,
        votes=votes,
        canvas=card.canvas,
        ignores_padding=card.ignores_padding,
        variants=card.variants,
        variants_seed=card.seed,
        seed=seed,
        refine=refine,
        only=left,
        progress=lambda done: progress(len(asked) - len(left) + done),
    )
    if journal is None:
        return list(answered)
    for prediction in answered:
        # Kept on disk alone: small arrays between the large ones of each pass leave the heap full of holes.
        journal.add(prediction)
    found = journal.read()
    if missing := [key for key in asked if key not in found]:
        what = f"the answer to {missing[0][0]}{and_more(missing)} is gone from there; the same command goes on"
        raise ReportedError(journal.folder, what)
    return [found[key] for key in asked]


def score_predictions(
    card: Card,
    tasks: Sequence[Task],
    predictions: Sequence[Prediction],
    folder: RunFolder,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Score predictions and write predictions.jsonl, scores.json and submission.json.

    Args:
        card: the card of the checkpoint that made them.
        tasks: what they answer.
        predictions: in any order.
        folder: where to write; nothing that lies there is read.
        settings: how they were made, such as ``votes``; they stand among the scores.

    Returns:
        the scores (see :func:`hrm_arc.evaluation.scores.score`), with the settings,
        ``unseen_tasks`` (not in the model's task table), ``answers_seen_in_training``, the
        ``leaks`` that its training was allowed, ``warnings`` (what keeps the scores from being
        fair), ``groups`` and ``errors`` (see :mod:`hrm_arc.evaluation.breakdown`), ``refinement``
        (see :mod:`hrm_arc.evaluation.refinement`) and the software's ``versions``.
    """
    place = {task.id: n for n, task in enumerate(tasks)}
    predictions = sorted(predictions, key=lambda p: (place[p.task], p.test))
    scores = {
        **score(tasks, predictions),
        **breakdown(tasks, predictions),
        "refinement": refinement(tasks, predictions),
        **settings,
        "run_id": card.run_id,
        "step": card.step,
        "unseen_tasks": len(unseen_tasks(card, tasks)),
        "answers_seen_in_training": len(answers_seen(card, tasks)),
        "leaks": card.leaks,
        "warnings": warnings(card, tasks),
        "versions": versions(),
    }
    answers = submission(tasks, predictions)
    assert not list(submission_problems(answers, tasks)), "what is handed in fits what was asked"
    write_lines(folder.predictions_file, _rows(tasks, predictions))
    write_json(folder.submission_file, answers)
    write_json(folder.scores_file, scores)
    if [task.id for task in tasks] == card.tasks[: card.held_back]:
        amend_status(folder.status_file, pass_at_2=scores["pass@2"] if scores["test_outputs"] else None)
    return scores


def warnings(card: Card, tasks: Sequence[Task]) -> list[str]:
    """What keeps a checkpoint's scores on some tasks from being fair ones, in words."""
    said = []
    unseen, seen, leaks = len(unseen_tasks(card, tasks)), len(answers_seen(card, tasks)), card.leaks
    if card.imported:
        said.append("an imported checkpoint: which answers its training was given is not known here")
    if seen:
        said.append(f"{seen} of these tasks were given away in training: no fair score")
    if leaks:
        said.append(f"its training was allowed {len(leaks)} leaks, such as: {leaks[0]}; no fair score")
    if unseen:
        said.append(f"{unseen} of these tasks were no part of its training: it was not told which they are")
    return said


def _rows(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    by_name = {task.id: task for task in tasks}
    kinds = {task.id: groups(task) for task in tasks}
    return [_row(by_name[p.task], p, kinds[p.task]) for p in predictions]


def _row(task: Task, prediction: Prediction, kinds: list[str]) -> dict[str, Any]:
    """A prediction with what it answers and how it came out, so that it can be drawn by itself."""
    test = task.tests[prediction.test]
    told = {"input": test.input.tolist(), "truth": None, "groups": kinds, "error": None, "solved": False}
    # A game's boards stand each for themselves.
    row = {**prediction.as_row(), **told, "board": bool(task.boards)}
    if test.output is None:
        return row
    attempts = prediction.attempts()
    kind = error_kind(attempts[0] if attempts else None, test.output, test.input)
    return {**row, "truth": test.output.tolist(), "error": kind, "solved": any(same(a, test.output) for a in attempts)}
