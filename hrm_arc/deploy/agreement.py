"""Compare the results of two validations, possibly of two machines: are they comparable, and do they agree?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.deploy.progress import read_file
from hrm_arc.errors import UserError
from hrm_arc.evaluation import journal
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.task import Task


@dataclass(frozen=True)
class Fingerprint:
    """The identity of a validation, as hexadecimal digits.

    Attributes:
        data: of the samples and their answers.
        checkpoint: of the checkpoint that the model is or was made from.
        whole: of both, of the file that runs, and of what it runs on.
    """

    data: str
    checkpoint: str
    whole: str


def validation_fingerprint(
    tasks: Sequence[Task], held_out: AugmentedSet, indices: np.ndarray, model: tuple[str, str], runs_on: Sequence[Any]
) -> Fingerprint:
    """The fingerprint of a validation.

    Args:
        tasks: the tasks of the source.
        held_out: the samples.
        indices: the indices of those that are validated on, ``[n]``.
        model: the checksums of the file that runs and of the checkpoint that it was made from.
        runs_on: what else may change an answer, such as the provider and the memory limit.
    """
    # journal.fingerprint covers what a solver may see; a corrected answer makes another validation, too.
    answers = hashlib.sha256()
    for puzzle in held_out.puzzles:
        for pair in puzzle.drawn:
            assert pair.output is not None
            answers.update(repr(pair.output.shape).encode() + pair.output.tobytes())
    chosen = [len(indices), int(indices.sum()), held_out.seed, int(held_out.variants.sum())]
    data = journal.fingerprint("", tasks, {"answers": answers.hexdigest(), "chosen": chosen})
    runs, checkpoint = model
    return Fingerprint(data, checkpoint, journal.fingerprint(runs, tasks, {"data": data, "runs_on": list(runs_on)}))


def read_result(file: Path) -> dict[str, Any]:
    """The result of a finished validation, of this or of another machine.

    Args:
        file: its progress file.

    Raises:
        UserError: the file cannot be read, or the validation is not finished.
    """
    try:
        result = read_file(file)[1]
    except FileNotFoundError:
        raise UserError(file, "cannot be read: there is no such file") from None
    except UserError as error:
        raise UserError(file, f"{error.what}; expected the file of a finished validation") from None
    if result is None:
        raise UserError(file, "is not finished; expected the file of a finished validation")
    return result


def check_comparable(theirs: Mapping[str, Any], fingerprint: Fingerprint, file: Path) -> None:
    """Check that another result is of the same checkpoint and samples.

    Args:
        theirs: the other result.
        fingerprint: of this validation.
        file: the file of the other result, for the error.

    Raises:
        UserError: it is not; the error names what differs.
    """
    if theirs["data"] != fingerprint.data:
        raise UserError(file, "is of other samples, expected the same --data, --augment and --fraction")
    if theirs["checkpoint"] != fingerprint.checkpoint:
        raise UserError(file, "is of another checkpoint")


@dataclass(frozen=True)
class Agreement:
    """The comparison of two results of the same validation.

    Attributes:
        agree: whether both differences are within the tolerance.
        token_difference: token accuracy of this result minus the other one.
        exact_difference: exact match of this result minus the other one.
        verdict: the comparison in one line.
    """

    agree: bool
    token_difference: float
    exact_difference: float
    verdict: str


def agreement(ours: Mapping[str, Any], theirs: Mapping[str, Any], points: float = 0.1) -> Agreement:
    """Compare two results of the same validation; machines may round differently.

    Args:
        ours, theirs: comparable results of :func:`~hrm_arc.deploy.validating.validate`.
        points: the tolerance, in percentage points.
    """
    tokens = ours["token_accuracy"] - theirs["token_accuracy"]
    exact = ours["exact_accuracy"] - theirs["exact_accuracy"]
    agree = max(abs(tokens), abs(exact)) <= points / 100
    same_figures = "the same figures" if tokens == exact == 0 else f"within {points:g} percentage points"
    differ = f"the machines differ by more than {points:g} percentage points"
    return Agreement(agree, tokens, exact, f"the machines agree: {same_figures}" if agree else differ)
