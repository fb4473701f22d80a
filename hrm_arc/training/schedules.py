"""The learning rate as a function of where a run stands; no state to save."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate's course.

    Attributes:
        warmup: steps of linear rise at the start. A step is one draw of samples, with an update of the
            weights after each segment of thought.
        kind: ``constant``; ``cosine`` down to the floor at the end of the run;
            ``decay``: constant, then in a straight line down to the floor over the last
            ``tail`` of the run; or ``restarts``: a cosine that starts again every
            ``period`` steps, as in the log's session 5.
        period: steps between restarts.
        tail: share of the run that ``decay`` falls over.
        floor: the lowest factor.
    """

    warmup: int = 100
    kind: Literal["constant", "cosine", "decay", "restarts"] = "cosine"
    period: int = 20_000
    tail: float = 0.2
    floor: float = 0.02

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.period < 1 or not 0 <= self.floor <= 1 or not 0 < self.tail <= 1:
            raise ValueError("warmup is at least 0, period at least 1, floor and tail between 0 and 1")


def factor(config: ScheduleConfig, step: int, progress: float) -> float:
    """What to multiply the peak learning rate with.

    Args:
        config: the schedule.
        step: steps done so far.
        progress: share of the run that is done, 0 to 1.
    """
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.kind == "constant":
        return rise
    if config.kind == "decay":
        return rise * max(config.floor, min(1.0, (1 - progress) / config.tail))
    turn = progress if config.kind == "cosine" else (step % config.period) / config.period
    return rise * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * min(turn, 1.0))))
