"""arc-aug-N: every puzzle with up to N distinct variants, as a function of an index.

Sample ``i`` is computed when it is needed, the same on every machine and in any order. Only the
grids of each task are stored, in the orientations that were used. A variant is the puzzle under
one symmetry: one of eight dihedral transforms and a permutation of the colors 1-9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.puzzles.canvas import Canvas, CanvasKind
from hrm_arc.puzzles.corpus import Puzzle
from hrm_arc.puzzles.counter_rng import below, name_key, permute
from hrm_arc.puzzles.identity import Identity
from hrm_arc.puzzles.orbit import Orbit, Orbits
from hrm_arc.puzzles.token_cache import TokenCache

# Index arithmetic is done in 64-bit integers; this leaves room for it.
LARGEST_SET = 2**40


@dataclass(frozen=True)
class Samples:
    """A batch of samples on one canvas.

    ``len(samples)`` is the number of samples, ``n``.

    Attributes:
        canvas: the canvas of the inputs.
        inputs: tokens ``[n, canvas.cells]``, uint8: PAD 0, EOS 1, color ``c`` as ``c + 2``.
        labels: tokens ``[n, cells]``, uint8, or None if the outputs are not known. The canvas of the labels is
            that of the inputs, unless the set was made with another ``label_canvas``.
        identity: task row (int64), dihedral transform (uint8), colors (uint8) and variant (int64) of each sample.
    """

    canvas: Canvas
    inputs: np.ndarray
    labels: np.ndarray | None
    identity: Identity[np.ndarray]

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, chosen: np.ndarray | slice) -> Samples:
        """Some of the samples, by indices, slice or boolean mask."""
        labels = None if self.labels is None else self.labels[chosen]
        return Samples(self.canvas, self.inputs[chosen], labels, self.identity.select(chosen))

    def parts(self, most: int) -> Iterator[Samples]:
        """The same samples in consecutive parts of at most ``most`` samples, and at least one."""
        step = max(1, most)
        for start in range(0, len(self), step):
            yield self.select(slice(start, start + step))


class AugmentedSet:
    """All samples of some puzzles, by index: each pair of each puzzle, in the original and in its variants.

    ``len(data)`` is the number of samples; iteration gives all of them, in order, in batches.

    Args:
        puzzles: the puzzles, from :meth:`~hrm_arc.puzzles.corpus.Corpus.training_puzzles` or
            :meth:`~hrm_arc.puzzles.corpus.Corpus.held_out_puzzles`.
        augment: the number of distinct variants of each puzzle beside the original, or all if there are fewer.
        seed: selects the variants, where there are more than ``augment``, and the offsets.
        canvas: ``"full"``: 30 x 30. ``"cropped"``: the smallest canvas for the visible grids of the
            puzzle. ``"squares"``: the smallest of a few squares that holds the cropped canvas.
        label_canvas: the canvas of the labels, by default ``canvas``; a label that does not fit is cut off.
        translate: whether to move each sample to a random offset inside the canvas. One pair of each
            variant stays in the top left corner.
        repeat: how often the set repeats its samples; with ``translate``, each time at other offsets.

    Attributes:
        puzzles: the puzzles, as a tuple.
        variants: the number of variants of each puzzle, the original included, ``[puzzles]``.
        pairs: the number of pairs of each puzzle, ``[puzzles]``.
        counts: the number of samples of each puzzle, ``variants * pairs``, ``[puzzles]``.
        starts: the index of the first sample of each puzzle, and then their total, ``[puzzles + 1]``.

    Raises:
        UserError: these are more samples than indices can count.
    """

    def __init__(
        self,
        puzzles: Sequence[Puzzle],
        *,
        augment: int = 0,
        seed: int = 0,
        canvas: CanvasKind = "full",
        label_canvas: CanvasKind | None = None,
        translate: bool = False,
        repeat: int = 1,
    ):
        self.puzzles = tuple(puzzles)
        self.seed = seed
        self.translate = translate
        self._orbits = Orbits([Orbit(puzzle.visible) for puzzle in self.puzzles])
        self._rows = np.array([puzzle.row for puzzle in self.puzzles], dtype=np.int64)
        self._keys = np.array([name_key(puzzle.id) for puzzle in self.puzzles], dtype=np.int64)
        # The original is variant 0.
        self.variants = np.minimum(augment + 1, self._orbits.sizes)
        self.pairs = np.array([len(puzzle.drawn) for puzzle in self.puzzles], dtype=np.int64)
        self.counts = self.variants * self.pairs
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])
        # The number of samples in one repetition.
        self._length = int(self.starts[-1])
        self.repeat = repeat
        if self._length * repeat > LARGEST_SET:
            what = f"give {self._length * repeat:,} samples, expected at most {LARGEST_SET:,}"
            raise UserError("augment, repeat", what)
        self._inputs = TokenCache(self.puzzles, canvas, "input")
        self._labels = TokenCache(self.puzzles, label_canvas or canvas, "output")

    def __len__(self) -> int:
        return self._length * self.repeat

    @property
    def cells(self) -> np.ndarray:
        """The cells of each puzzle's canvas, ``[puzzles]``."""
        return np.array([canvas.cells for canvas in self._inputs.canvases])[self._inputs.canvas_of[:, 0]]

    def part(self, fraction: float) -> np.ndarray:
        """Indices of a fraction of the set, evenly spaced and always the same; at least one."""
        count = max(1, round(len(self) * fraction))
        return (np.arange(count) * len(self)) // count

    def locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The puzzle, the variant and the pair of each sample, ``[n]`` each.

        Args:
            indices: sample indices in ``range(len(self))``, ``[n]``.
        """
        indices = np.asarray(indices, dtype=np.int64) % self._length
        puzzle = np.searchsorted(self.starts, indices, side="right") - 1
        variant, pair = np.divmod(indices - self.starts[puzzle], self.pairs[puzzle])
        return puzzle, variant, pair

    def symmetries(self, puzzle: np.ndarray, variant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The symmetries of variants.

        Args:
            puzzle: index of the puzzle, ``[n]``.
            variant: number of the variant, ``[n]``; 0 is the original.

        Returns:
            Dihedral transforms ``[n]`` and color maps ``[n, 10]``, both uint8.
        """
        # The variants of a puzzle are the first of all its distinct images, in a keyed pseudorandom order.
        others = np.maximum(self._orbits.sizes[puzzle] - 1, 1)
        rank = permute(np.maximum(variant - 1, 0), others, self.seed, self._keys[puzzle]) + 1
        return self._orbits.symmetries(puzzle, np.where(variant == 0, 0, rank))

    def samples(self, indices: np.ndarray) -> list[Samples]:
        """The samples with the given indices, as one batch for each canvas that occurs.

        Args:
            indices: sample indices in ``range(len(self))``, ``[n]``. Within a batch they keep their order.
        """
        return [batch for _, batch in self.samples_with_rows(indices)]

    def samples_with_rows(self, indices: np.ndarray) -> list[tuple[np.ndarray, Samples]]:
        """As :meth:`samples`; each batch comes with its rows: the positions in ``indices`` of its samples."""
        puzzle, variant, pair = self.locate(indices)
        dihedral, colors = self.symmetries(puzzle, variant)
        offsets = self._offsets(np.asarray(indices), puzzle, variant, pair, dihedral) if self.translate else None
        number = self._inputs.canvas_of[puzzle, dihedral]
        batches = []
        for each in np.unique(number):
            here = np.flatnonzero(number == each)
            moved = None if offsets is None else offsets[here]
            where = (puzzle[here], pair[here], dihedral[here], colors[here], moved)
            batch = Samples(
                self._inputs.canvases[each],
                self._inputs.tokens(*where),
                self._labels.tokens(*where),
                Identity(self._rows[puzzle[here]], dihedral[here], colors[here], variant[here]),
            )
            batches.append((here, batch))
        return batches

    def __iter__(self) -> Iterator[Samples]:
        """All samples in the order of their indices; 4,096 indices at a time, as one batch for each canvas."""
        for start in range(0, len(self), 4096):
            yield from self.samples(np.arange(start, min(start + 4096, len(self))))

    def _offsets(
        self, indices: np.ndarray, puzzle: np.ndarray, variant: np.ndarray, pair: np.ndarray, dihedral: np.ndarray
    ) -> np.ndarray:
        """Random row and column offsets ``[n, 2]`` that keep the input and the output inside the canvas."""
        room = self._inputs.room(puzzle, pair, dihedral)
        room = np.minimum(room, self._labels.room(puzzle, pair, dihedral))
        offsets = np.stack([below(room[:, axis] + 1, self.seed, indices, axis) for axis in (0, 1)], axis=1)
        stays = below(self.pairs[puzzle], self.seed, self._keys[puzzle], variant)
        offsets[pair == stays] = 0
        return offsets
