"""A part of ``hrm bench corruption``: damaged files end in a message, never in a traceback or in another number."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import _corrupt
from benchmarks._corrupt_runner import Bench, Ended, Outcome, judge

# Nothing is timed here; but a command that waits for a FIFO would wait for ever.
LONGEST_WAIT = 300.0

pytestmark = pytest.mark.skipif(not Path("/dev/zero").exists(), reason="has no /dev/zero")


def test_damaged_files_of_every_kind_cost_a_message(tmp_path: Path) -> None:
    cases = _corrupt.sample(40)
    assert {case.file for case in cases} == {*_corrupt.RUN_FILES, *_corrupt.EXPORT_FILES}
    assert {case.mutation for case in cases} == set(_corrupt.MUTATIONS)
    assert {case.command for case in cases} == {*_corrupt.RUN_COMMANDS, *_corrupt.EXPORT_COMMANDS}
    outcome = Outcome()
    Bench(tmp_path, LONGEST_WAIT, jobs=1).run(cases, outcome)
    assert outcome.cases == len(cases)
    assert (outcome.tracebacks, outcome.hangs, outcome.outside, outcome.silent) == ([], [], [], [])


USUAL = Ended('{"solved": 3, "seconds": 1.0}', "step 1 of 3\n", 0, 0.5)


@pytest.mark.parametrize(
    ("ended", "touched", "wrong"),
    [
        (USUAL, False, ""),
        (Ended('{"solved": 3, "seconds": 2.0}', "step 2 of 4\n", 0, 0.5), False, ""),
        (Ended('{"solved": 2, "seconds": 1.0}', "step 1 of 3\n", 0, 0.5), False, "silent"),
        (Ended('{"solved": 2, "seconds": 1.0}', "warning: one is damaged\n", 0, 0.5), False, ""),
        (Ended("", "error: scores.json: damaged\n", 2, 0.5), False, ""),
        (Ended("", "", 2, 0.5), False, "silent"),
        (Ended("", "Traceback (most recent call last):\nKeyError\n", 70, 0.5), False, "tracebacks"),
        (Ended("", "", -11, 0.5), False, "tracebacks"),
        (USUAL, True, "outside"),
    ],
)
def test_what_counts_as_wrong(ended: Ended, touched: bool, wrong: str) -> None:
    outcome = Outcome()
    judge(_corrupt.cases_of("scores.json")[0], ended, USUAL, touched, outcome)
    kinds = {"tracebacks": outcome.tracebacks, "outside": outcome.outside, "silent": outcome.silent}
    assert [kind for kind, cases in kinds.items() if cases] == ([wrong] if wrong else [])
