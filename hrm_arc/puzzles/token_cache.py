"""A cache of grids as tokens, in every orientation, filled on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hrm_arc.puzzles.canvas import Canvas, CanvasKind, placed, recolor, translate
from hrm_arc.puzzles.corpus import Puzzle
from hrm_arc.puzzles.symmetry import DIHEDRALS, swaps_sides, turn


class TokenCache:
    """The tokens of the inputs, or of the outputs, of all pairs of some puzzles.

    The pairs of a puzzle are encoded when they are first needed in an orientation. Memory is
    reserved for all orientations, but the operating system provides only pages that are written to.

    Args:
        puzzles: the puzzles.
        kind: the kind of canvas for each puzzle.
        side: which grid of each pair; a grid that does not fit its canvas is cut off.

    Attributes:
        canvases: every canvas that is used.
        canvas_of: index into ``canvases`` for each puzzle and dihedral transform, ``[puzzles, 8]``.
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
        # The pairs of a puzzle in one orientation are consecutive rows of its canvas's array, from this row on.
        self._first = np.zeros((len(puzzles), DIHEDRALS), dtype=np.int64)
        self._stores: list[np.ndarray] = []
        for number, canvas in enumerate(self.canvases):
            here = self.canvas_of == number
            lengths = np.where(here, pairs[:, None], 0).reshape(-1)
            self._first[here] = (np.cumsum(lengths) - lengths).reshape(here.shape)[here]
            self._stores.append(np.zeros((int(lengths.sum()), canvas.cells), dtype=np.uint8))
        self._encoded = np.zeros((len(puzzles), DIHEDRALS), dtype=bool)

    def room(self, puzzle: np.ndarray, pair: np.ndarray, dihedral: np.ndarray) -> np.ndarray:
        """The largest offset of each grid down and to the right inside its canvas, ``[n, 2]``."""
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
        colors: np.ndarray,
        offsets: np.ndarray | None,
    ) -> np.ndarray:
        """The tokens of samples that are on one canvas.

        Args:
            puzzle: index of the puzzle, ``[n]``.
            pair: index of the pair within the puzzle, ``[n]``.
            dihedral: dihedral transform, ``[n]``.
            colors: new color of each color, ``[n, 10]``.
            offsets: offset down and to the right, ``[n, 2]``; None for no offset.

        Returns:
            Tokens ``[n, cells]``, uint8; a new array.
        """
        for p, d in {(int(p), int(d)) for p, d in zip(puzzle, dihedral, strict=True) if not self._encoded[p, d]}:
            self._encode(p, d)
        number = int(self.canvas_of[puzzle[0], dihedral[0]])
        stored = self._stores[number][self._first[puzzle, dihedral] + pair]
        tokens = recolor(stored, colors)
        return tokens if offsets is None else translate(tokens, self.canvases[number], offsets)

    def _encode(self, puzzle: int, dihedral: int) -> None:
        number, first = self.canvas_of[puzzle, dihedral], self._first[puzzle, dihedral]
        for pair in range(len(self._puzzles[puzzle].drawn)):
            grid = turn(self._grid(puzzle, pair), dihedral)
            self._stores[number][first + pair] = self.canvases[number].encode_clipped(grid)
        self._encoded[puzzle, dihedral] = True

    def _grid(self, puzzle: int, pair: int) -> np.ndarray:
        drawn = self._puzzles[puzzle].drawn[pair]
        grid = drawn.input if self._side == "input" else drawn.output
        assert grid is not None, "pairs that samples are made from have outputs"
        return grid
