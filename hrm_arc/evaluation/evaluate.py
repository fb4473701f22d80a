"""Predict the test outputs of tasks with a checkpoint, score them, and write the result as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hrm_arc.errors import ReportedError, UserError, and_more
from hrm_arc.evaluation.backend import Backend, PreparedBackend
from hrm_arc.evaluation.breakdown import breakdown, groups
from hrm_arc.evaluation.fairness import since_training, unseen_tasks, warnings
from hrm_arc.evaluation.games import game_scores
from hrm_arc.evaluation.journal import Journal
from hrm_arc.evaluation.metrics import Metric
from hrm_arc.evaluation.predict import Variants, Voted, predict
from hrm_arc.evaluation.prediction import MOST_VOTES, Key, Prediction, keys
from hrm_arc.evaluation.provenance import answers_seen, changed_tasks
from hrm_arc.evaluation.refinement import refinement
from hrm_arc.evaluation.results import result_row, write_results
from hrm_arc.evaluation.scores import outcomes, score, unknown_answers
from hrm_arc.evaluation.submission import submission, submission_problems
from hrm_arc.files import write_json
from hrm_arc.puzzles.canvas import placed, visible_canvas
from hrm_arc.puzzles.symmetry import DIHEDRALS
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.status import amend_status
from hrm_arc.runs.versions import versions


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
    voted: Voted | None = None,
) -> list[Prediction]:
    """Predictions of a checkpoint, on the canvas that it was trained on.

    Args:
        backend: runs the checkpoint's model.
        card: the checkpoint's card.
        tasks: the tasks to answer.
        votes, seed, refine: see :func:`hrm_arc.evaluation.predict.predict`. A model without all colors has no more
            variants than orientations.
        rows: the row of each task in the model's task table; the checkpoint's own rows if None.
        only: the test inputs to answer; all of them if None.
        journal: predictions in it are not made again, and new ones are written to it, so that memory does not
            grow with the number of tasks.
        progress: called with the number of test inputs that have an answer.
        voted: see :func:`hrm_arc.evaluation.predict.predict`.

    Raises:
        UserError: ``votes`` is out of its range.
        ReportedError: a prediction that was written to the journal is no longer in it.
    """
    if not 1 <= votes <= MOST_VOTES:
        raise UserError("votes", f"{votes}, expected 1 to {MOST_VOTES:,}")
    votes = limited_votes(card, votes)
    wanted = keys(tasks) if only is None else only
    left = set(wanted).difference(() if journal is None else journal.read())
    if left and isinstance(backend, PreparedBackend):
        # The work of all tasks, not of those left here, so that a resumed or shared evaluation rounds as any other.
        backend.prepare(
            votes * sum(placed(visible_canvas(task), card.canvas).cells * len(task.tests) for task in tasks)
        )
    predictions = predict(
        backend,
        tasks,
        card.rows() if rows is None else rows,
        votes=votes,
        canvas=card.canvas,
        ignores_padding=card.ignores_padding,
        variants=Variants(card.variants, card.seed, card.symmetries),
        seed=seed,
        refine=refine,
        only=left,
        progress=lambda done: progress(len(wanted) - len(left) + done),
        voted=voted,
    )
    if journal is None:
        return list(predictions)
    for prediction in predictions:
        # Kept on disk only: small arrays that live between the large arrays of each pass fragment the heap.
        journal.add(prediction)
    found = journal.read()
    if missing := [key for key in wanted if key not in found]:
        what = f"the answer to {missing[0][0]}{and_more(missing)} was removed; the same command makes it again"
        raise ReportedError(journal.folder, what)
    return [found[key] for key in wanted]


def limited_votes(card: Card, votes: int) -> int:
    """As many votes as a model can give: one without all colors has no more variants than orientations."""
    return votes if card.permutes_colors else min(votes, DIHEDRALS)


def scores_of(
    card: Card,
    tasks: Sequence[Task],
    predictions: Sequence[Prediction],
    settings: Mapping[str, Any],
    metrics: Sequence[Metric] = (),
) -> dict[str, Any]:
    """All scores of a checkpoint's predictions, as they stand in scores.json.

    Args:
        card: the card of the checkpoint.
        tasks: the tasks that the predictions answer.
        predictions: in any order.
        settings: how they were made, such as ``votes``; part of the result.
        metrics: computed beside those of every evaluation.

    Returns:
        the scores (see :func:`hrm_arc.evaluation.scores.score`); the settings; ``unseen_tasks``: the number of
        tasks that are not in the model's task table; ``changed_tasks``: tasks whose grids differ from those of
        training, with what differs, and ``scored_apart``: the score of their test outputs, which the other scores
        leave out; ``answers_seen_in_training``; the ``leaks`` that its
        training allowed; ``warnings``: reasons why the scores are not fair; ``groups`` and ``errors`` (see
        :mod:`hrm_arc.evaluation.breakdown`); ``games`` (see :mod:`hrm_arc.evaluation.games`); ``refinement`` (see
        :mod:`hrm_arc.evaluation.refinement`);
        ``versions`` of the software.

    Raises:
        UserError: a metric failed.
    """
    if taken := [metric.name for metric in metrics if metric.name in settings]:
        raise UserError("evaluation.metrics", f"{taken[0]} is the name of a setting in scores.json")
    changes = changed_tasks(card, tasks)
    # If all of them have changed there is nothing to count them apart from; the warnings say so.
    apart = [task for task in tasks if task.id in changes] if len(changes) < len(tasks) else []
    scored_apart = _scored_apart(apart, predictions)
    tasks = [task for task in tasks if not apart or task.id not in changes]
    predictions = _of(tasks, predictions)
    counted = "its test outputs are counted apart" if apart else "the scores are those of changed tasks"
    return {
        "changed_tasks": changes,
        "scored_apart": scored_apart,
        **score(tasks, predictions, metrics=metrics),
        **breakdown(tasks, predictions),
        "games": game_scores(tasks, predictions),
        "refinement": refinement(tasks, predictions),
        **settings,
        "run_id": card.run_id,
        "step": card.step,
        "unseen_tasks": len(unseen_tasks(card, tasks)),
        "answers_seen_in_training": len(answers_seen(card, tasks)),
        "leaks": card.leaks,
        "warnings": [
            *warnings(card, tasks),
            *unknown_answers(tasks),
            *(f"{said}; {counted}" for said in since_training(changes)),
        ],
        "versions": versions(),
    }


def _of(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> list[Prediction]:
    """The predictions of some tasks."""
    names = {task.id for task in tasks}
    return [prediction for prediction in predictions if prediction.task in names]


def _scored_apart(tasks: Sequence[Task], predictions: Sequence[Prediction]) -> dict[str, int]:
    """The number of known test outputs of some tasks, and of those that two attempts solve."""
    found = outcomes(tasks, _of(tasks, predictions))
    return {
        "test_outputs": len(found),
        "solved_pass2": sum(each.solved for each in found),
    }


def write_evaluation(
    card: Card,
    tasks: Sequence[Task],
    predictions: Sequence[Prediction],
    folder: RunFolder,
    settings: Mapping[str, Any],
    metrics: Sequence[Metric] = (),
) -> dict[str, Any]:
    """Write what an evaluation leaves: predictions.jsonl, scores.json and submission.json.

    Args:
        card, tasks, predictions, settings, metrics: see :func:`scores_of`.
        folder: where to write; its files are not read.

    Returns:
        the scores, see :func:`scores_of`, and ``predictions``: the rows and the checksum of predictions.jsonl.

    Raises:
        ReportedError: a metric failed, or a file cannot be written.
    """
    place = {task.id: n for n, task in enumerate(tasks)}
    predictions = sorted(predictions, key=lambda p: (place[p.task], p.test))
    scores = scores_of(card, tasks, predictions, settings, metrics)
    answers = submission(tasks, predictions)
    assert not list(submission_problems(answers, tasks)), "a submission answers the tasks that it was made for"
    write_json(folder.submission_file, answers)
    kinds = {task.id: groups(task) for task in tasks}
    rows = [result_row(tasks[place[p.task]], p, kinds[p.task]) for p in predictions]
    scores = write_results(folder, rows, scores)
    if [task.id for task in tasks] == card.tasks[: card.held_out]:
        amend_status(folder.status_file, pass_at_2=scores["pass@2"], pass_at_2_step=card.step)
    return scores
