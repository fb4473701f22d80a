"""arc-aug-N: every puzzle with up to N distinct variants, as a function of an index.

Nothing is stored but each task's grids in the orientations that were met; sample ``i`` is
computed when it is asked for, the same on every machine and in any order. A variant is a
symmetry (eight dihedral transforms times permutations of colours 1-9).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hrm_arc.puzzles.canvas import Canvas, CanvasKind
from hrm_arc.puzzles.corpus import Puzzle
from hrm_arc.puzzles.drawings import Drawings
from hrm_arc.puzzles.keyed import below, name_key, permute
from hrm_arc.puzzles.orbit import Orbit, Orbits


@dataclass(frozen=True)
class Samples:
    """A batch of samples on one canvas.

    Attributes:
        canvas: the rectangle that inputs (and labels) are written on.
        inputs: tokens ``[n, canvas.cells]``, uint8.
        labels: tokens ``[n, label_canvas.cells]``, uint8, or None where no answer is given.
        task: row of each sample's task in the model's task table, ``[n]``, int64.
        dihedral: the transform each sample was seen under, ``[n]``, uint8.
        colours: what each colour became under the sample's symmetry, ``[n, 10]``, uint8.
        variant: which variant of its puzzle a sample is, ``[n]``, int64; 0 is the original.
    """

    canvas: Canvas
    inputs: np.ndarray
    labels: np.ndarray | None
    task: np.ndarray
    dihedral: np.ndarray
    colours: np.ndarray
    variant: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)

    def parts(self, most: int) -> Iterator[Samples]:
        """The same, at most so many and at least one at a time."""
        step = max(1, most)
        for start in range(0, len(self), step):
            rows = slice(start, start + step)
            labels = None if self.labels is None else self.labels[rows]
            told = (self.task[rows], self.dihedral[rows], self.colours[rows], self.variant[rows])
            yield Samples(self.canvas, self.inputs[rows], labels, *told)


class AugmentedSet:
    """All samples of some puzzles, indexed from 0: the original and its variants.

    Args:
        puzzles: what to draw from.
        augment: at most this many distinct variants of each puzzle beside the original.
        seed: which variants, when there are more, and which offsets.
        canvas: ``"full"`` (30 x 30), ``"cropped"`` to what is visible of the puzzle, or the
            smallest of a few ``"squares"`` that holds that.
        label_canvas: the same for labels; a label that does not fit is cut off.
        shift: move each sample to a random offset inside the canvas, but for one pair of
            each variant, which stays in the corner.
        copies: how many times the set is repeated.

    Attributes:
        variants, pairs, counts, starts: of each puzzle: its variants with the original,
            the pairs drawn from, the product, and the index of its first sample.
    """

    def __init__(
        self,
        puzzles: Sequence[Puzzle],
        *,
        augment: int = 0,
        seed: int = 0,
        canvas: CanvasKind = "full",
        label_canvas: CanvasKind | None = None,
        shift: bool = False,
        copies: int = 1,
    ):
        self.puzzles = tuple(puzzles)
        self.seed = seed
        self.shift = shift
        self._orbits = Orbits([Orbit(puzzle.visible) for puzzle in self.puzzles])
        self._rows = np.array([puzzle.row for puzzle in self.puzzles], dtype=np.int64)
        self._keys = np.array([name_key(puzzle.id) for puzzle in self.puzzles], dtype=np.int64)
        # One puzzle's samples are its variants times its pairs; the original is variant 0.
        self.variants = np.minimum(augment + 1, self._orbits.sizes)
        self.pairs = np.array([len(puzzle.drawn) for puzzle in self.puzzles], dtype=np.int64)
        self.counts = self.variants * self.pairs
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])
        # Samples of one copy.
        self._length = int(self.starts[-1])
        self.copies = copies
        self._inputs = Drawings(self.puzzles, canvas, "input")
        self._labels = Drawings(self.puzzles, label_canvas or canvas, "output")

    def __len__(self) -> int:
        return self._length * self.copies

    def part(self, fraction: float) -> np.ndarray:
        """Indices of a fraction of the set, evenly spread and the same every time; at least one."""
        count = max(1, round(len(self) * fraction))
        return (np.arange(count) * len(self)) // count

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which puzzle, variant and pair each index in ``range(len(self))`` means."""
        indices = np.asarray(indices, dtype=np.int64) % self._length
        puzzle = np.searchsorted(self.starts, indices, side="right") - 1
        variant, pair = np.divmod(indices - self.starts[puzzle], self.pairs[puzzle])
        return puzzle, variant, pair

    def symmetries(self, puzzle: np.ndarray, variant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Dihedral numbers ``[n]`` and colour maps ``[n, 10]`` of variants; 0 is the puzzle itself."""
        # The variants of a puzzle are the first of a keyed order of all its images.
        others = np.maximum(self._orbits.sizes[puzzle] - 1, 1)
        rank = permute(np.maximum(variant - 1, 0), others, self.seed, self._keys[puzzle]) + 1
        return self._orbits.symmetries(puzzle, np.where(variant == 0, 0, rank))

    def samples(self, indices: np.ndarray) -> list[Samples]:
        """The samples with these indices, one batch for each canvas they lie on."""
        puzzle, variant, pair = self.locate(indices)
        dihedral, colours = self.symmetries(puzzle, variant)
        offsets = self._offsets(np.asarray(indices), puzzle, variant, pair, dihedral) if self.shift else None
        number = self._inputs.canvas_of[puzzle, dihedral]
        batches = []
        for each in np.unique(number):
            here = np.flatnonzero(number == each)
            moved = None if offsets is None else offsets[here]
            where = (puzzle[here], pair[here], dihedral[here], colours[here], moved)
            batches.append(
                Samples(
                    self._inputs.canvases[each],
                    self._inputs.tokens(*where),
                    self._labels.tokens(*where),
                    self._rows[puzzle[here]],
                    dihedral[here],
                    colours[here],
                    variant[here],
                )
            )
        return batches

    def __iter__(self) -> Iterator[Samples]:
        """Every sample once, in order, in batches of up to 4,096."""
        for start in range(0, len(self), 4096):
            yield from self.samples(np.arange(start, min(start + 4096, len(self))))

    def _offsets(
        self, indices: np.ndarray, puzzle: np.ndarray, variant: np.ndarray, pair: np.ndarray, dihedral: np.ndarray
    ) -> np.ndarray:
        """Row and column offsets ``[n, 2]`` that keep both grids inside the canvas."""
        room = self._inputs.room(puzzle, pair, dihedral)
        room = np.minimum(room, self._labels.room(puzzle, pair, dihedral))
        offsets = np.stack([below(room[:, axis] + 1, self.seed, indices, axis) for axis in (0, 1)], axis=1)
        stays = below(self.pairs[puzzle], self.seed, self._keys[puzzle], variant)
        offsets[pair == stays] = 0
        return offsets
