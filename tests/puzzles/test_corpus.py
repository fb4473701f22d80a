from __future__ import annotations

from dataclasses import replace

import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task

TASKS = load_tasks("arc-agi-1/training")[:4]


def test_a_corpus_takes_any_sequence_and_keeps_tuples() -> None:
    corpus = Corpus(solve=list(TASKS[:2]), study=list(TASKS[2:]))
    assert corpus == Corpus(TASKS[:2], TASKS[2:])
    assert hash(corpus) == hash(Corpus(TASKS[:2], TASKS[2:]))
    assert corpus.tasks == TASKS
    assert replace(corpus, study=[]).study == ()
    assert Corpus().tasks == ()


def test_what_is_not_a_task_is_refused() -> None:
    with pytest.raises(TypeError, match="made of Task objects, got str; load_tasks gives the tasks of a source"):
        Corpus(solve=["arc-agi-1"])  # type: ignore[list-item]


def test_ids_differ_on_each_side() -> None:
    again = Task.from_lists(TASKS[0].id, train=[([[1]], [[2]])], test=[([[1]], None)])
    with pytest.raises(UserError, match=rf"Corpus.study: has task {TASKS[0].id} more than once"):
        Corpus(study=[*TASKS, again])
    # This is a leak, which is found elsewhere: a run can be trained with it if the user accepts it.
    assert len(Corpus(solve=TASKS, study=TASKS).tasks) == 8
