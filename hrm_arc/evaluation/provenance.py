"""What a model was trained on, compared with the tasks that it is to be scored on: by content, not by name."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from hrm_arc.errors import UserError, and_more
from hrm_arc.files import existing
from hrm_arc.puzzles.fingerprint import pair_fingerprint, task_changes, task_fingerprint, test_digests
from hrm_arc.puzzles.paths import without_numbers
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import MAX_SIDE, Task
from hrm_arc.runs.card import Card
from hrm_arc.runs.folder import RunFolder

# Tasks on which an imported checkpoint is compared, unless a source is named.
CHOSEN = 10


def tasks_to_score(card: Card, data: str | None, run: RunFolder | None = None) -> tuple[Task, ...]:
    """The tasks of a source; without one, the tasks whose test outputs were held out from the checkpoint.

    A source that is a path is looked for where it was, and at the same place relative to the run.

    Args:
        card: of the checkpoint.
        data: a source, or None.
        run: the run that the checkpoint belongs to, as far as known.

    Raises:
        UserError: a source cannot be loaded, or it no longer has the tasks.
    """
    if data is not None:
        return load_tasks(data)
    wanted = card.tasks[: card.held_out]
    if not wanted:
        raise UserError("--data", "this checkpoint had nothing held out from it: name a source to score it on")
    if not card.solve:
        raise UserError("--data", "this checkpoint was trained on tasks in memory: name the source that holds them")
    found = {task.id: task for source in card.solve for task in load_tasks(located(source, card, run))}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(", ".join(card.solve), f"no longer has the task {missing[0]}{and_more(missing)}")
    return tuple(found[name] for name in wanted)


def own_choice(card: Card) -> str:
    """The source that stands in for the tasks of an imported checkpoint, which does not say what it was to solve.

    Answers on these tasks are compared, and not scored: any input of the right form will do.
    """
    vocabulary = card.options.get("vocabulary")
    if vocabulary == "sudoku":
        return "sudoku-9x9:10"
    if vocabulary == "maze":
        # Where the canvas is fixed the configuration has its cells; else that of the published set.
        side = math.isqrt(card.options["cells"]) if "cells" in card.options else MAX_SIDE
        return f"maze-{side}x{side}:10"
    return "arc-agi-1/evaluation"


def tasks_to_compare(card: Card, data: str | None, run: RunFolder | None = None) -> tuple[tuple[Task, ...], str]:
    """As :func:`tasks_to_score`, for tasks on which two programs are compared, and the source in words.

    For an imported checkpoint without a source these are ten of :func:`own_choice`, those with a row first.

    Raises:
        UserError: see :func:`tasks_to_score`.
    """
    if data is not None or not card.imported:
        solve = ", ".join(card.solve) or "tasks in memory"
        return tasks_to_score(card, data, run), data or f"the tasks to solve of its training ({solve})"
    source, known = own_choice(card), set(card.tasks)
    tasks = sorted(load_tasks(source), key=lambda task: task.id not in known)[:CHOSEN]
    names = "" if tasks[0].boards else f" ({', '.join(task.id for task in tasks)})"
    chosen = "generated boards" if tasks[0].boards else f"{len(tasks)} tasks"
    return tuple(tasks), f"{source}: {chosen}{names}, chosen because the checkpoint was imported"


def located(source: str, card: Card, run: RunFolder | None) -> str:
    """A source as it can be loaded here: as it is, or a path moved together with its run.

    Raises:
        UserError: it was a path, and is neither where it was nor beside the run; naming ``--data``.
    """
    place = card.places.get(source)
    path, numbers = without_numbers(source)
    if place is None or existing(path) is not None:
        return source
    if run is not None and existing(os.path.normpath(run.path.resolve() / place)) is not None:
        return os.path.normpath(run.path.resolve() / place) + numbers
    raise UserError(source, "is no longer there, nor moved together with the run; name the tasks with --data")


def given_demonstrations(card: Card, tasks: Sequence[Task]) -> list[str]:
    """Tasks whose demonstrations were all given to the checkpoint's training, or to one before it, under any name."""
    given = card.given_answers().pairs
    shown = [task for task in tasks if task.demonstrations]
    return [task.id for task in shown if all(pair_fingerprint(pair) in given for pair in task.demonstrations)]


def answers_seen(card: Card, tasks: Sequence[Task]) -> list[str]:
    """Tasks whose test outputs the checkpoint was trained on, under any name: its scores on them prove nothing."""
    given = card.given_answers()
    return [task.id for task in tasks if given.include(task)]


def was_chosen_by(card: Card, tasks: Sequence[Task]) -> bool:
    """Whether the checkpoint, or weights that it goes back to, was chosen by its score on test outputs of these."""
    chosen_by = card.chosen_by()
    return bool(chosen_by) and any(not chosen_by.isdisjoint(test_digests(task_fingerprint(task))) for task in tasks)


def rules_seen(card: Card, tasks: Sequence[Task]) -> list[str]:
    """The tasks by whose rule a checkpoint, or weights that it goes back to, was trained on generated pairs.

    RE-ARC's tasks are named ``re-ID``. Such pairs are no answers to a task, so this is no leak, but scores say it.
    """
    given = card.given_answers().names | set(card.tasks)
    return [task.id for task in tasks if f"re-{task.id}" in given]


def boards_not_held_out(card: Card, tasks: Sequence[Task]) -> list[str]:
    """Games with other boards than those that trainings on fresh boards left out: one may have had these."""
    kept = card.kept_out()
    known = [each for each in tasks if each.boards and each.id in kept]
    return [each.id for each in known if not {*test_digests(task_fingerprint(each))} <= {*kept[each.id]}]


def changed_tasks(card: Card, tasks: Sequence[Task], *, games: bool = False) -> dict[str, list[str]]:
    """Tasks that differ from those of the same name that the checkpoint was trained on, with what differs.

    Args:
        card: of the checkpoint.
        tasks: the tasks now.
        games: compare games, too. Other boards of a game are other puzzles to score, but not the same data to go on
            with.
    """
    compared = [task for task in tasks if games or not task.boards]
    changes = {task.id: task_changes(task, card.fingerprints.get(task.id)) for task in compared}
    return {name: said for name, said in changes.items() if said}


def places_of(sources: Sequence[str], run: Path) -> dict[str, str]:
    """For each source that is a path, the path relative to a run's folder, without numbers of boards."""
    paths = {source: without_numbers(source)[0] for source in sources}
    return {
        source: os.path.relpath(Path(path).expanduser().resolve(), run.resolve())
        for source, path in paths.items()
        if ":" not in path and existing(path) is not None
    }
