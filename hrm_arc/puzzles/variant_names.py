"""The names of variants in published sets, and lists of symmetries as text.

HRM's builder names a variant ``TASK_t3_0481963275``: the number of its dihedral transform, and the color that each of 0
to 9 becomes. TRM's separates the three by ``|||``. The original is ``TASK`` in both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from hrm_arc.puzzles.symmetry import DIHEDRALS, Symmetry, turn
from hrm_arc.puzzles.task import COLORS

SEPARATOR = "|||"
_VARIANT = re.compile(rf"(.+)(?:_t([0-7])_|{re.escape(SEPARATOR)}t([0-7]){re.escape(SEPARATOR)})(\d{{10}})", re.DOTALL)
# Characters of a symmetry as text.
DIGITS = 1 + COLORS


def _published_dihedrals() -> list[int]:
    """The number in the published sets of each dihedral transform of this program."""
    probe = np.arange(4).reshape(2, 2)
    published = [np.rot90(probe, quarters) for quarters in range(4)]
    published += [np.fliplr(probe), np.flipud(probe), probe.T, np.fliplr(np.rot90(probe))]
    return [next(n for n, image in enumerate(published) if np.array_equal(image, turn(probe, d))) for d in range(8)]


PUBLISHED_DIHEDRALS = _published_dihedrals()


def split_variant(name: str) -> tuple[str, Symmetry | None]:
    """The task of a published name, and the symmetry of the variant; None for the original.

    A name whose ten digits are no permutation that keeps 0 is that of a task.
    """
    match = _VARIANT.fullmatch(name)
    if match is None:
        # TRM's separator is in no task's name.
        return name.split(SEPARATOR)[0], None
    task, ours, theirs, digits = match.groups()
    try:
        dihedral = PUBLISHED_DIHEDRALS.index(int(ours or theirs))
        return task, Symmetry(dihedral, tuple(map(int, digits)))
    except ValueError:
        return name, None


def written(symmetries: Sequence[Symmetry]) -> str:
    """Symmetries as text: of each its dihedral transform and its ten colors, eleven digits."""
    return "".join(f"{each.dihedral}{''.join(map(str, each.colors))}" for each in symmetries)


def check_symmetries(text: str) -> None:
    """Check text from anywhere for :func:`read_symmetries`; that of a million symmetries takes a second.

    Raises:
        ValueError: it is not a text of symmetries.
    """
    if not text or len(text) % DIGITS or not (text.isascii() and text.isdecimal()):
        raise ValueError(f"a text of {len(text)} characters, expected {DIGITS} digits for each symmetry")
    digits = np.frombuffer(text.encode(), dtype=np.uint8).reshape(-1, DIGITS) - ord("0")
    permuted = (np.sort(digits[:, 1:], axis=1) == np.arange(COLORS)).all() and not digits[:, 1].any()
    if digits[:, 0].max() >= DIHEDRALS or not permuted:
        raise ValueError("a symmetry without a dihedral transform 0 to 7 and a permutation of colors that keeps 0")


def read_symmetries(text: str, most: int) -> list[Symmetry]:
    """The inverse of :func:`written`, for checked text; at most the first ``most``."""
    parts = [text[start : start + DIGITS] for start in range(0, min(len(text), most * DIGITS), DIGITS)]
    return [Symmetry(int(part[0]), tuple(map(int, part[1:]))) for part in parts]
