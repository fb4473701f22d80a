"""What has to be said beside the scores of a checkpoint: why they are not fair, or not those of its own tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hrm_arc.evaluation.provenance import answers_seen, boards_not_held_out, changed_tasks, rules_seen, was_chosen_by
from hrm_arc.evaluation.scores import unknown_answers
from hrm_arc.puzzles.task import Task
from hrm_arc.runs.card import Card


def unseen_tasks(card: Card, tasks: Sequence[Task]) -> list[str]:
    """Tasks that are not in the checkpoint's task table; the model answers them with the row of unseen tasks.

    A published model of a game has no other row: all boards were trained with that one.
    """
    known, one_row = card.rows(), card.options.get("vocabulary", "arc") != "arc" and not card.tasks
    return [task.id for task in tasks if task.id not in known and not (task.boards and one_row)]


def warnings(card: Card, tasks: Sequence[Task]) -> list[str]:
    """The reasons why a checkpoint's scores on some tasks are not fair."""
    found = []
    unseen, seen, leaks = len(unseen_tasks(card, tasks)), len(answers_seen(card, tasks)), card.leaks
    if card.goes_back_to_import:
        what = "an imported checkpoint" if card.imported else "it began with an imported checkpoint"
        found.append(f"{what}: which answers its training was given is not known here")
    if was_chosen_by(card, tasks):
        own = bool(card.training.get("chosen"))
        chosen = "the checkpoint was chosen by its" if own else "weights that it goes back to were chosen by their"
        found.append(f"{chosen} score on test outputs of these tasks: its scores are biased")
    if seen:
        found.append(f"the checkpoint was trained on the test outputs of {seen} of these tasks: not a fair score")
    if rules := rules_seen(card, tasks):
        found.append(f"the checkpoint was trained on other pairs by the rules of {len(rules)} of these tasks (RE-ARC)")
    for name in boards_not_held_out(card, tasks):
        found.append(f"{name}: its training had fresh boards, and these are not those that were kept out of them")
    if leaks:
        found.append(f"its training allowed {len(leaks)} leaks, such as: {leaks[0]}; not a fair score")
    if unseen:
        found.append(f"not in the model's task table, so answered as unseen tasks: {unseen} of these tasks")
    return found


def since_training(changes: Mapping[str, Sequence[str]]) -> list[str]:
    """What has changed since training, one sentence a task; see :func:`hrm_arc.evaluation.provenance.changed_tasks`."""
    return [f"{name}: {', '.join(said)} since training" for name, said in changes.items()]


def all_warnings(card: Card, tasks: Sequence[Task]) -> list[str]:
    """Warnings about a score of all these tasks: what is not fair, not known, or has changed."""
    return [*warnings(card, tasks), *unknown_answers(tasks), *since_training(changed_tasks(card, tasks))]
