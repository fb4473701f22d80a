"""Is an accuracy better than the empty answer?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hrm_arc.evaluation.baselines import Baselines

NAMES = {
    "pad_only": "padding everywhere",
    "position_mode": "the best constant output",
    "copy_input": "copying the input",
}
# Two token accuracies this close are called the same: 0.05 points.
TOLERANCE = 0.0005


@dataclass(frozen=True)
class Audit:
    """What was claimed, what a model scores that has understood nothing, and a verdict."""

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
    """Hold scores against the baselines of the same data.

    Args:
        baselines: from :mod:`hrm_arc.evaluation.baselines`.
        token_accuracy: over all 900 cells, padding included; None if not claimed.
        exact_accuracy: share of test outputs that are exactly right; None if not known.
    """
    return Audit(token_accuracy, exact_accuracy, baselines, _verdict(baselines, token_accuracy, exact_accuracy))


def _verdict(baselines: Baselines, tokens: float | None, exact: float | None) -> str:
    if tokens is None and exact is None:
        best = max(baselines, key=lambda name: baselines[name]["token_accuracy"])
        value = baselines[best]["token_accuracy"]
        return (
            f"nothing claimed: on this data {NAMES[best]} has a token accuracy of {value:.2%}; a model has to pass that"
        )
    said = [] if tokens is None else [_about_tokens(baselines, tokens)]
    if exact is not None:
        said.append(_about_exact(baselines, exact))
    return "; ".join(said)


def _about_tokens(baselines: Baselines, tokens: float) -> str:
    ranked = sorted(baselines.items(), key=lambda item: item[1]["token_accuracy"])
    for name, scores in ranked:
        if abs(scores["token_accuracy"] - tokens) <= TOLERANCE:
            return (
                f"a token accuracy of {tokens:.2%} is the score of {NAMES[name]}: no evidence that anything was learned"
            )
    above = [name for name, scores in ranked if scores["token_accuracy"] > tokens]
    if above:
        best = ranked[-1]
        return f"a token accuracy of {tokens:.2%} is below {NAMES[best[0]]} ({best[1]['token_accuracy']:.2%})"
    return f"a token accuracy of {tokens:.2%} is above every baseline"


def _about_exact(baselines: Baselines, exact: float) -> str:
    copied = baselines["copy_input"]["exact_accuracy"]
    if exact == 0:
        return "not one grid is exactly right"
    if exact <= copied:
        return f"{exact:.2%} of the grids are exactly right, no more than copying the input gets ({copied:.2%})"
    return f"{exact:.2%} of the grids are exactly right, where copying the input gets {copied:.2%}"
