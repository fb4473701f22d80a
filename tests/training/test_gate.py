from __future__ import annotations

import pytest

from hrm_arc.training.config import ValidationConfig
from hrm_arc.training.validation import Gate


@pytest.mark.parametrize(
    ("margin", "curve", "opens"),
    [
        (0.01, [0.10, 0.10, 0.1005, 0.102, 0.101, 0.2], [1, 0, 0, 1, 0, 1]),
        (0.01, [0.0, 0.0, 0.01, 0.01], [1, 0, 1, 0]),
        (0.0, [0.5, 0.5, 0.50001], [1, 0, 1]),
        # Its best is the best ever: small gains do not add up to an opening.
        (0.01, [0.5, 0.504, 0.508, 0.514], [1, 0, 0, 1]),
    ],
)
def test_the_gate_opens_when_the_rule_says(margin: float, curve: list[float], opens: list[int]) -> None:
    gate = Gate(ValidationConfig(every=10, full_when="improved", min_improvement=margin))
    assert [int(gate.decide(10 * n, fast)) for n, fast in enumerate(curve, start=1)] == opens
    assert gate.kept_shut == opens.count(0)


def test_the_gate_tells_what_it_saved() -> None:
    gate = Gate(ValidationConfig(every=1, full_when="improved"))
    for fast in (0.5, 0.5, 0.5, 0.6):
        if gate.decide(1, fast):
            gate.full_took(30.0)
    assert (gate.opened, gate.kept_shut, gate.seconds_saved) == (2, 2, 60.0)


def test_other_rules_for_full_validations() -> None:
    every = Gate(ValidationConfig(every=10, full_when="every", full_every=30))
    assert [step for step in range(1, 91) if every.decide(step, None)] == [30, 60, 90]
    never = Gate(ValidationConfig(every=10))
    assert not any(never.decide(step, 1.0) for step in range(100))
    assert [step for step in range(1, 31) if never.fast_is_due(step)] == [10, 20, 30]
