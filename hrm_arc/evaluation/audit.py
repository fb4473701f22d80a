"""Audit: is an accuracy better than that of baselines which have learned nothing?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hrm_arc.evaluation.baselines import Baselines

NAMES = {
    "pad_only": "padding everywhere",
    "position_mode": "the best constant output",
    "copy_input": "copying the input",
}
# Token accuracies that differ by no more than 0.05 percentage points are called the same.
TOLERANCE = 0.0005


@dataclass(frozen=True)
class Audit:
    """Scores beside the baselines of the same data, and a verdict in words.

    Attributes:
        token_accuracy, exact_accuracy: the scores that were audited; None if not known.
        baselines: see :mod:`hrm_arc.evaluation.baselines`.
        verdict: one sentence.
    """

    token_accuracy: float | None
    exact_accuracy: float | None
    baselines: Baselines
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "token_accuracy": self.token_accuracy,
            "exact_accuracy": self.exact_accuracy,
            "baselines": self.baselines,
            "verdict": self.verdict,
        }


def audit(baselines: Baselines, token_accuracy: float | None = None, exact_accuracy: float | None = None) -> Audit:
    """Compare scores with the baselines of the same data.

    Args:
        baselines: from :mod:`hrm_arc.evaluation.baselines`.
        token_accuracy: over all 900 cells, padding included; None if there is no such claim.
        exact_accuracy: share of test outputs that are exactly right; None if not known.
    """
    return Audit(token_accuracy, exact_accuracy, baselines, _verdict(baselines, token_accuracy, exact_accuracy))


def _verdict(baselines: Baselines, tokens: float | None, exact: float | None) -> str:
    if tokens is None and exact is None:
        best = max(baselines, key=lambda name: baselines[name]["token_accuracy"])
        value = baselines[best]["token_accuracy"]
        return f"no claim: on this data {NAMES[best]} has a token accuracy of {value:.2%}; a model has to exceed that"
    parts = [] if tokens is None else [_about_tokens(baselines, tokens)]
    if exact is not None:
        parts.append(_about_exact(baselines, exact))
    return "; ".join(parts)


def _about_tokens(baselines: Baselines, tokens: float) -> str:
    ranked = sorted(baselines.items(), key=lambda item: item[1]["token_accuracy"])
    for name, scores in ranked:
        if abs(scores["token_accuracy"] - tokens) <= TOLERANCE:
            return f"a token accuracy of {tokens:.2%} is the score of {NAMES[name]}: no evidence of learning"
    above = [name for name, scores in ranked if scores["token_accuracy"] > tokens]
    if above:
        best = ranked[-1]
        return f"a token accuracy of {tokens:.2%} is below {NAMES[best[0]]} ({best[1]['token_accuracy']:.2%})"
    return f"a token accuracy of {tokens:.2%} is above every baseline"


def _about_exact(baselines: Baselines, exact: float) -> str:
    copied = baselines["copy_input"]["exact_accuracy"]
    if exact == 0:
        return "no grid is exactly right"
    if exact <= copied:
        return f"{exact:.2%} of the grids are exactly right, not more than copying the input ({copied:.2%})"
    return f"{exact:.2%} of the grids are exactly right, copying the input: {copied:.2%}"
