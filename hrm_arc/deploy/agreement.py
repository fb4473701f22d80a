"""Whether two validations, of two machines perhaps, are of the same thing, and say the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.evaluation.journal import fingerprint
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.task import Task


@dataclass(frozen=True)
class Marks:
    """What tells validations apart, as hexadecimal digits.

    Attributes:
        data: the samples and their answers.
        checkpoint: that the model is or was made from.
        whole: both, the file that runs, and what it runs on.
    """

    data: str
    checkpoint: str
    whole: str


def marks(
    tasks: Sequence[Task], held_back: AugmentedSet, indices: np.ndarray, model: tuple[str, str], runs_on: Sequence[Any]
) -> Marks:
    """The marks of a validation.

    Args:
        tasks: of the source.
        held_back: the samples.
        indices: which of them.
        model: the checksums of what runs and of the checkpoint that it was made from.
        runs_on: what else may decide an answer: the provider, how many samples go at once.
    """
    # A corrected answer makes another validation; only the answers are missing in a fingerprint.
    answers = hashlib.sha256()
    for puzzle in held_back.puzzles:
        for pair in puzzle.drawn:
            assert pair.output is not None
            answers.update(repr(pair.output.shape).encode() + pair.output.tobytes())
    chosen = [len(indices), int(indices.sum()), held_back.seed, int(held_back.variants.sum())]
    data = fingerprint("", tasks, {"answers": answers.hexdigest(), "chosen": chosen})
    runs, checkpoint = model
    return Marks(data, checkpoint, fingerprint(runs, tasks, {"data": data, "runs_on": list(runs_on)}))


def read_result(file: Path) -> dict[str, Any]:
    """The result in the progress file of a validation that came to its end, here or elsewhere.

    Raises:
        UserError: it cannot be read, or holds none.
    """
    try:
        result = json.loads(file.read_text(encoding="utf-8"))["result"]
        figures = {name: float(result[name]) for name in ("token_accuracy", "exact_accuracy")}
        return {**result, **figures, **{name: str(result[name]) for name in ("data", "checkpoint")}}
    except OSError as error:
        raise UserError(file, f"cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise UserError(file, "not the file of a validation that came to its end") from None


def check_comparable(theirs: Mapping[str, Any], known: Marks, file: Path) -> None:
    """Whether another machine's result is of the same checkpoint and samples.

    Raises:
        UserError: it is not, naming what differs.
    """
    if theirs["data"] != known.data:
        raise UserError(file, "is of other samples: the same --data, --augment and --fraction are needed")
    if theirs["checkpoint"] != known.checkpoint:
        raise UserError(file, "is of another checkpoint")


@dataclass(frozen=True)
class Agreement:
    """Two machines' figures of the same validation."""

    agree: bool
    token_difference: float
    exact_difference: float
    verdict: str


def agreement(ours: Mapping[str, Any], theirs: Mapping[str, Any], points: float = 0.1) -> Agreement:
    """Whether two results are the same but for rounding.

    Args:
        ours, theirs: results of :func:`~hrm_arc.deploy.validating.validate`, comparable ones.
        points: the largest difference, in hundredths, that is put down to rounding.
    """
    tokens = ours["token_accuracy"] - theirs["token_accuracy"]
    exact = ours["exact_accuracy"] - theirs["exact_accuracy"]
    agree = max(abs(tokens), abs(exact)) <= points / 100
    same_figures = "the same figures" if tokens == exact == 0 else f"within {points:g} points"
    verdict = f"the machines agree: {same_figures}" if agree else f"the machines differ by more than {points:g} points"
    return Agreement(agree, tokens, exact, verdict)
