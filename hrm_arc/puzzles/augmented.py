"""arc-aug-N: every puzzle with up to N distinct variants, as a function of an index.

Nothing is stored but each task's grids in eight orientations; sample ``i`` is computed
when it is asked for, the same on every machine and in any order. A variant is a
symmetry (eight dihedral transforms times permutations of colours 1-9).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hrm_arc.puzzles.canvas import FULL, Canvas, recolour, shift, smallest_canvas
from hrm_arc.puzzles.corpus import Puzzle
from hrm_arc.puzzles.keyed import below, name_key, permute
from hrm_arc.puzzles.symmetry import DIHEDRALS, Orbit, swaps_sides, turn
from hrm_arc.puzzles.task import COLOURS

CanvasKind = Literal["full", "cropped"]


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
    """

    canvas: Canvas
    inputs: np.ndarray
    labels: np.ndarray | None
    task: np.ndarray
    dihedral: np.ndarray
    colours: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)


class AugmentedSet:
    """All samples of some puzzles, indexed from 0: the original and its variants.

    Args:
        puzzles: what to draw from.
        augment: at most this many distinct variants of each puzzle beside the original.
        seed: which variants, when there are more, and which offsets.
        canvas: ``"full"`` (30 x 30) or ``"cropped"`` to what is visible of the puzzle.
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
        self._orbits = [Orbit(puzzle.visible) for puzzle in self.puzzles]
        self._keys = np.array([name_key(puzzle.id) for puzzle in self.puzzles], dtype=np.int64)
        # One puzzle's samples are its variants times its pairs; the original is variant 0.
        self.variants = np.array([min(augment + 1, orbit.size) for orbit in self._orbits], dtype=np.int64)
        self.pairs = np.array([len(puzzle.drawn) for puzzle in self.puzzles], dtype=np.int64)
        self.counts = self.variants * self.pairs
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])
        # Samples of one copy.
        self._length = int(self.starts[-1])
        self.copies = copies
        self._symmetries: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._inputs = _Drawings(self.puzzles, canvas, "input")
        self._labels = _Drawings(self.puzzles, label_canvas or canvas, "output")

    def __len__(self) -> int:
        return self._length * self.copies

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which puzzle, variant and pair each index in ``range(len(self))`` means."""
        indices = np.asarray(indices, dtype=np.int64) % self._length
        puzzle = np.searchsorted(self.starts, indices, side="right") - 1
        variant, pair = np.divmod(indices - self.starts[puzzle], self.pairs[puzzle])
        return puzzle, variant, pair

    def symmetries(self, puzzle: int) -> tuple[np.ndarray, np.ndarray]:
        """Dihedral numbers ``[variants]`` and colour maps ``[variants, 10]`` of one puzzle."""
        if puzzle not in self._symmetries:
            orbit, count = self._orbits[puzzle], int(self.variants[puzzle])
            others = permute(np.arange(count - 1), orbit.size - 1, self.seed, int(self._keys[puzzle])) + 1
            self._symmetries[puzzle] = orbit.symmetries(np.concatenate([[0], others]))
        return self._symmetries[puzzle]

    def samples(self, indices: np.ndarray) -> list[Samples]:
        """The samples with these indices, one batch for each canvas they lie on."""
        puzzle, variant, pair = self.locate(indices)
        dihedral = np.empty(len(puzzle), dtype=np.uint8)
        colours = np.empty((len(puzzle), COLOURS), dtype=np.uint8)
        for each in np.unique(puzzle):
            here = puzzle == each
            dihedrals, maps = self.symmetries(int(each))
            dihedral[here], colours[here] = dihedrals[variant[here]], maps[variant[here]]
        offsets = self._offsets(np.asarray(indices), puzzle, variant, pair, dihedral) if self.shift else None
        kind = self._inputs.kind[puzzle, dihedral]
        rows = np.array([each.row for each in self.puzzles], dtype=np.int64)
        batches = []
        for each in np.unique(kind):
            here = kind == each
            where = (puzzle[here], pair[here], dihedral[here])
            moved = None if offsets is None else offsets[here]
            batches.append(
                Samples(
                    self._inputs.canvases[each],
                    self._inputs.draw(*where, colours[here], moved),
                    self._labels.draw(*where, colours[here], moved),
                    rows[puzzle[here]],
                    dihedral[here],
                    colours[here],
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


class _Drawings:
    """One side (input or output) of every drawn pair in eight orientations, as tokens."""

    def __init__(self, puzzles: Sequence[Puzzle], canvas: CanvasKind, side: Literal["input", "output"]):
        self.canvases: list[Canvas] = []
        count = max((len(puzzle.drawn) for puzzle in puzzles), default=0)
        # kind[puzzle, dihedral]: which canvas; row[puzzle, pair, dihedral]: where in its store.
        self.kind = np.zeros((len(puzzles), DIHEDRALS), dtype=np.int64)
        self._row = np.zeros((len(puzzles), count, DIHEDRALS), dtype=np.int64)
        self._shape = np.zeros((len(puzzles), count, 2), dtype=np.int64)
        stores: list[list[np.ndarray]] = []
        for p, puzzle in enumerate(puzzles):
            upright = FULL if canvas == "full" else smallest_canvas(g for item in puzzle.visible for g in item)
            for d in range(DIHEDRALS):
                turned = upright.transposed() if swaps_sides(d) else upright
                if turned not in self.canvases:
                    self.canvases.append(turned)
                    stores.append([])
                kind = self.canvases.index(turned)
                self.kind[p, d] = kind
                for q, pair in enumerate(puzzle.drawn):
                    grid = pair.input if side == "input" else pair.output
                    assert grid is not None, "pairs to draw have answers"
                    self._row[p, q, d] = len(stores[kind])
                    self._shape[p, q] = grid.shape
                    stores[kind].append(turned.encode_clipped(turn(grid, d)))
        self._stores = [np.stack(store) for store in stores]

    def room(self, puzzle: np.ndarray, pair: np.ndarray, dihedral: np.ndarray) -> np.ndarray:
        """Free rows and columns ``[n, 2]`` beside each grid on its canvas."""
        sides = np.array([[c.height, c.width] for c in self.canvases])[self.kind[puzzle, dihedral]]
        swapped = np.array([swaps_sides(d) for d in range(DIHEDRALS)])[dihedral]
        shape = self._shape[puzzle, pair]
        return sides - np.where(swapped[:, None], shape[:, ::-1], shape)

    def draw(
        self,
        puzzle: np.ndarray,
        pair: np.ndarray,
        dihedral: np.ndarray,
        colours: np.ndarray,
        offsets: np.ndarray | None,
    ) -> np.ndarray:
        """Tokens ``[n, cells]`` (uint8) of samples that lie on one canvas."""
        kind = int(self.kind[puzzle[0], dihedral[0]])
        tokens = recolour(self._stores[kind][self._row[puzzle, pair, dihedral]], colours)
        return tokens if offsets is None else shift(tokens, self.canvases[kind], offsets)
