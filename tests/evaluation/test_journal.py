from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.journal import Journal, fingerprint
from hrm_arc.evaluation.prediction import Prediction, keys
from hrm_arc.files import sealed_row
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Pair, make_grid
from hrm_arc.reading import MIB
from hrm_arc.runs.card import Card

TASKS = load_tasks("arc-agi-1/training")[:6]
CARD = Card("grid-hrm", {}, [], "cropped", True, [], [], 0, 1, 0, [], 1, "run", {})


class Copies:
    """A backend that copies the input, and is interrupted after some batches."""

    def __init__(self, batches: int | None = None):
        self.batches = batches
        self.answered = 0

    def answer(self, samples: Samples) -> Answers:
        self.answered += 1
        if self.batches is not None and self.answered > self.batches:
            raise KeyboardInterrupt
        return Answers(samples.inputs, np.full(len(samples), 0.25), np.ones(len(samples)))

    def refine(self, samples: Samples) -> np.ndarray:
        return np.stack([samples.inputs] * 3)


def answered(backend: Copies, journal: Journal | None) -> list[dict[str, object]]:
    predictions = predict_tasks(backend, CARD, TASKS, votes=4, refine=True, journal=journal)
    return [p.as_row() for p in sorted(predictions, key=lambda p: (p.task, p.test))]


def test_a_stopped_evaluation_resumes_with_the_same_predictions(tmp_path: Path) -> None:
    whole = answered(Copies(), None)
    for batches in (5, 4):
        with pytest.raises(KeyboardInterrupt):
            answered(Copies(batches), Journal(tmp_path, "same"))
    # A line that a kill cut short is ignored.
    (file,) = tmp_path.glob(".answering-same/*.jsonl")
    with file.open("ab") as cut:
        cut.write(b'{"task": "caf')
    known = len(Journal(tmp_path, "same").read())
    assert 0 < known < len(whole)
    last, all_of_it = Copies(), Copies()
    assert answered(last, Journal(tmp_path, "same")) == whole
    answered(all_of_it, None)
    assert last.answered < all_of_it.answered
    assert answered(Copies(0), Journal(tmp_path, "same")) == whole, "no batch is answered again"


def test_progress_counts_earlier_predictions(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        answered(Copies(5), Journal(tmp_path, "one"))
    known, counted = len(Journal(tmp_path, "one").read()), []
    predict_tasks(Copies(), CARD, TASKS, votes=4, journal=Journal(tmp_path, "one"), progress=counted.append)
    assert known > 0
    assert counted == list(range(known + 1, len(keys(TASKS)) + 1))


def test_predictions_on_disk_are_not_kept_in_memory(tmp_path: Path) -> None:
    held = []
    predict_tasks(
        Copies(), CARD, TASKS, votes=4, journal=Journal(tmp_path, "one"), progress=lambda done: held.append(alive())
    )
    assert max(held) <= 1, "the last one only"


def test_a_second_process_with_the_same_evaluation_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, "one").lock():
        with (
            pytest.raises(UserError, match="another process is making the evaluation"),
            Journal(tmp_path, "one").lock(),
        ):
            pass
        with Journal(tmp_path, "other").lock():
            pass
    assert list(tmp_path.iterdir()) == [], "an empty journal is removed"


def test_a_removed_prediction_is_an_error_and_not_a_wrong_answer(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "one")
    with pytest.raises(ReportedError, match=r"the answer to .* \(and \d more\) was removed"):
        predict_tasks(
            *(Copies(), CARD, TASKS),
            votes=1,
            journal=journal,
            progress=lambda done: journal.remove() if done == 3 else None,
        )


def alive() -> int:
    # Not isinstance: lazy objects of other packages warn when asked for their class.
    return sum(type(thing) is Prediction for thing in gc.get_objects())


def test_another_evaluation_begins_anew(tmp_path: Path) -> None:
    answered(Copies(), Journal(tmp_path, "one"))
    assert Journal(tmp_path, "other").read() == {}
    Journal(tmp_path, "one").remove()
    assert Journal(tmp_path, "one").read() == {}
    assert list(tmp_path.iterdir()) == []


def test_processes_read_the_predictions_of_others(tmp_path: Path) -> None:
    (one, two, *_) = predict_tasks(Copies(), CARD, TASKS, votes=1)
    Journal(tmp_path, "shared", 0).add(one)
    Journal(tmp_path, "shared", 1).add(two)
    assert set(Journal(tmp_path, "shared", 2).read()) == {(one.task, one.test), (two.task, two.test)}


def test_the_fingerprint_depends_on_everything_but_test_outputs() -> None:
    mark = fingerprint("card", TASKS, {"votes": 8})
    assert fingerprint("other", TASKS, {"votes": 8}) != mark
    assert fingerprint("card", TASKS[1:], {"votes": 8}) != mark
    assert fingerprint("card", TASKS, {"votes": 9}) != mark
    (pair,) = TASKS[0].tests
    other_answer = replace(TASKS[0], tests=(Pair(pair.input, make_grid([[5]])),))
    other_input = replace(TASKS[0], tests=(Pair(make_grid([[5]]), pair.output),))
    assert fingerprint("card", [other_answer, *TASKS[1:]], {"votes": 8}) == mark
    assert fingerprint("card", [other_input, *TASKS[1:]], {"votes": 8}) != mark


def test_a_row_of_many_megabytes_comes_back(tmp_path: Path) -> None:
    (made, *_) = predict_tasks(Copies(), CARD, TASKS[:1], votes=1)
    journal = Journal(tmp_path, "large")
    journal.add(made)
    (file,) = tmp_path.glob(".answering-large/*.jsonl")
    # As long as a prediction with thousands of candidates.
    file.write_text(sealed_row({**made.as_row(), "note": "x" * 32 * MIB}))
    assert [each.as_row() for each in journal.read().values()] == [made.as_row()]
