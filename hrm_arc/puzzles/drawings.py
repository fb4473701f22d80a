"""One side of many pairs, as tokens, in any orientation: drawn when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hrm_arc.puzzles.canvas import Canvas, CanvasKind, placed, recolour, shift
from hrm_arc.puzzles.corpus import Puzzle
from hrm_arc.puzzles.symmetry import DIHEDRALS, swaps_sides, turn


class Drawings:
    """The inputs, or the outputs, of every drawn pair of some puzzles.

    A grid is written into a store the first time that its puzzle is asked for in an
    orientation. Pages of a store that were never written to take no memory.

    Args:
        puzzles: whose pairs.
        kind: which canvas each puzzle lies on.
        side: which grid of each pair; one that does not fit its canvas is cut off.

    Attributes:
        canvases: every canvas that a drawing lies on.
        canvas_of: which of those, ``[puzzles, 8]``.
    """

    def __init__(self, puzzles: Sequence[Puzzle], kind: CanvasKind, side: Literal["input", "output"]):
        self._puzzles, self._side = puzzles, side
        pairs = np.array([len(puzzle.drawn) for puzzle in puzzles], dtype=np.int64)
        self._shapes = np.zeros((len(puzzles), pairs.max(initial=0), 2), dtype=np.int64)
        numbers: dict[Canvas, int] = {}
        self.canvas_of = np.zeros((len(puzzles), DIHEDRALS), dtype=np.int64)
        for p, puzzle in enumerate(puzzles):
            upright = placed(puzzle.canvas, kind)
            turned = (upright, upright.transposed())
            upright_or_turned = [numbers.setdefault(canvas, len(numbers)) for canvas in turned]
            self.canvas_of[p] = [upright_or_turned[swaps_sides(d)] for d in range(DIHEDRALS)]
            self._shapes[p, : pairs[p]] = [self._grid(p, q).shape for q in range(int(pairs[p]))]
        self.canvases = list(numbers)
        # A puzzle's pairs in one orientation lie together, from this row of its canvas's store.
        self._first = np.zeros((len(puzzles), DIHEDRALS), dtype=np.int64)
        self._stores: list[np.ndarray] = []
        for number, canvas in enumerate(self.canvases):
            here = self.canvas_of == number
            lengths = np.where(here, pairs[:, None], 0).reshape(-1)
            self._first[here] = (np.cumsum(lengths) - lengths).reshape(here.shape)[here]
            self._stores.append(np.zeros((int(lengths.sum()), canvas.cells), dtype=np.uint8))
        self._drawn = np.zeros((len(puzzles), DIHEDRALS), dtype=bool)

    def room(self, puzzle: np.ndarray, pair: np.ndarray, dihedral: np.ndarray) -> np.ndarray:
        """How far each grid can move down and right inside its canvas, ``[n, 2]``."""
        sides = np.array([(canvas.height, canvas.width) for canvas in self.canvases])
        shapes = self._shapes[puzzle, pair]
        swapped = np.array([swaps_sides(d) for d in range(DIHEDRALS)])[dihedral]
        shapes = np.where(swapped[:, None], shapes[:, ::-1], shapes)
        return np.maximum(sides[self.canvas_of[puzzle, dihedral]] - shapes, 0)

    def tokens(
        self,
        puzzle: np.ndarray,
        pair: np.ndarray,
        dihedral: np.ndarray,
        colours: np.ndarray,
        offsets: np.ndarray | None,
    ) -> np.ndarray:
        """Tokens ``[n, cells]`` (uint8) of samples that lie on one canvas.

        Args:
            puzzle, pair, dihedral: which grids, in which orientation, each ``[n]``.
            colours: what each colour becomes, ``[n, 10]``.
            offsets: how far to move each down and right, ``[n, 2]``; None: not at all.
        """
        for p, d in {(int(p), int(d)) for p, d in zip(puzzle, dihedral, strict=True) if not self._drawn[p, d]}:
            self._draw(p, d)
        number = int(self.canvas_of[puzzle[0], dihedral[0]])
        drawn = self._stores[number][self._first[puzzle, dihedral] + pair]
        tokens = recolour(drawn, colours)
        return tokens if offsets is None else shift(tokens, self.canvases[number], offsets)

    def _draw(self, puzzle: int, dihedral: int) -> None:
        number, first = self.canvas_of[puzzle, dihedral], self._first[puzzle, dihedral]
        for pair in range(len(self._puzzles[puzzle].drawn)):
            grid = turn(self._grid(puzzle, pair), dihedral)
            self._stores[number][first + pair] = self.canvases[number].encode_clipped(grid)
        self._drawn[puzzle, dihedral] = True

    def _grid(self, puzzle: int, pair: int) -> np.ndarray:
        drawn = self._puzzles[puzzle].drawn[pair]
        grid = drawn.input if self._side == "input" else drawn.output
        assert grid is not None, "pairs to draw have answers"
        return grid
