"""When to validate, and when the full set is worth it.

A fast validation scores a fixed part of the held-back samples. The full one follows only
when the fast one improves on its best by a relative margin, or every so many steps. The
log's full validation took 50 minutes against 3 for the fast one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hrm_arc.errors import check_at_least

Metric = Literal["exact_accuracy", "token_accuracy"]


@dataclass(frozen=True)
class ValidationConfig:
    """Scoring the held-back test outputs as training goes, without votes.

    It is shown and logged. Nothing is chosen by it unless ``keep_best`` asks for that.

    Attributes:
        every: steps between fast validations; 0 never validates.
        fraction: of the held-back samples in a fast validation, the same ones every time.
        full: when the whole set is scored. ``improved``: when a fast validation is better
            than the best fast one by ``margin``; ``every``: each ``full_every`` steps;
            ``never``.
        full_every: steps between full validations under ``every``.
        margin: relative improvement that opens the gate.
        metric: what is to improve: ``exact_accuracy``, or the log's ``token_accuracy``.
        augment: variants of each held-back pair beside the original.
        keep_best: also keep the checkpoint with the best score, as the log did: a choice
            made by the answers, so its score is no longer a fair one.
    """

    every: int = 0
    fraction: float = 1.0
    full: Literal["never", "improved", "every"] = "never"
    full_every: int = 0
    margin: float = 0.01
    metric: Metric = "exact_accuracy"
    augment: int = 0
    keep_best: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction is {self.fraction}, expected above 0 and at most 1")
        if self.full == "every" and self.full_every < 1:
            raise ValueError("full is 'every', so full_every has to be at least 1")
        check_at_least(self, 0, "every", "full_every", "margin", "augment")


@dataclass
class Gate:
    """Decides, after each fast validation, whether the full one follows.

    Attributes:
        best: the best fast score so far.
        opened: full validations run.
        kept_shut: full validations that the gate saved.
        full_seconds: what the full ones cost together.
    """

    config: ValidationConfig
    best: float | None = None
    opened: int = 0
    kept_shut: int = 0
    full_seconds: float = 0.0

    def fast_is_due(self, step: int) -> bool:
        return self.config.every > 0 and step % self.config.every == 0

    def full_is_due(self, step: int, fast: float | None) -> bool:
        """Whether the full set is to be scored at a step.

        Args:
            step: steps done.
            fast: the fast score of this step, or None where there was none.
        """
        if self.config.full == "never":
            return False
        if self.config.full == "every":
            return step % self.config.full_every == 0
        if fast is None:
            return False
        improved = self.best is None or (fast > self.best and fast >= self.best * (1 + self.config.margin))
        self.best = fast if self.best is None else max(self.best, fast)
        self.kept_shut += not improved
        return improved

    def full_took(self, seconds: float) -> None:
        self.opened += 1
        self.full_seconds += seconds

    @property
    def seconds_saved(self) -> float:
        """An estimate: what the full validations that did not run would have cost."""
        return self.kept_shut * self.full_seconds / self.opened if self.opened else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The gate's state, without its configuration."""
        return {key: value for key, value in asdict(self).items() if key != "config"}
