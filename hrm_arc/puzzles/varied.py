"""The boards of a game under its own symmetries, as a function of an index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.puzzles.augmented import LARGEST_SET, Samples
from hrm_arc.puzzles.board_symmetry import board_group, images
from hrm_arc.puzzles.canvas import FIRST_COLOR, Canvas
from hrm_arc.puzzles.corpus import Puzzle
from hrm_arc.puzzles.counter_rng import name_key, permute
from hrm_arc.puzzles.identity import Identity
from hrm_arc.puzzles.rules import game_of
from hrm_arc.puzzles.task import COLORS, Task


def have_symmetries(tasks: Sequence[Task]) -> bool:
    """Whether every demonstration of some tasks is a board of a game whose symmetries are known."""
    pairs = [pair for task in tasks for pair in task.demonstrations]
    return all(task.boards for task in tasks) and all(game_of(pair.input) is not None for pair in pairs)


class VariedBoards:
    """Boards with up to N images of each under the symmetries of its game; image 0 is the board itself.

    It takes the place of an :class:`~hrm_arc.puzzles.augmented.AugmentedSet`, and the canvas is the board.

    Args:
        puzzles: boards, from :meth:`~hrm_arc.puzzles.corpus.Corpus.training_puzzles`.
        augment: the number of images of each board beside the board itself; they are drawn from the whole group, so a
            board that a symmetry maps to itself may occur more than once.
        seed: selects the images.

    Attributes:
        puzzles: the boards, as a tuple.
        variants: one for each board: a board has no rows of its own in a model's table.
        counts: the number of samples of each board, ``[boards]``.
        starts: the index of the first sample of each board, and then their total, ``[boards + 1]``.

    Raises:
        UserError: a board is neither a Sudoku nor a maze, or these are more samples than indices can count.
    """

    def __init__(self, puzzles: Sequence[Puzzle], augment: int, seed: int):
        self.puzzles = tuple(puzzles)
        self.seed = seed
        self.variants = np.ones(len(puzzles), dtype=np.int64)
        self.counts = np.full(len(puzzles), augment + 1, dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])
        if len(puzzles) * (augment + 1) > LARGEST_SET:
            raise UserError("data.augment", f"gives more than {LARGEST_SET:,} samples; a smaller number is expected")
        self._augment = augment
        self._rows = np.array([puzzle.row for puzzle in puzzles], dtype=np.int64)
        self._keys = np.array([name_key(puzzle.id) for puzzle in puzzles], dtype=np.int64)
        kinds: dict[tuple[str, int], list[int]] = {}
        for number, puzzle in enumerate(puzzles):
            board = puzzle.drawn[0].input
            game = game_of(board) if len(puzzle.drawn) == 1 else None
            if game is None:
                what = f"'symmetries' is for boards of Sudoku and Maze, and {puzzle.id} is neither"
                raise UserError("data.boards", what)
            kinds.setdefault((game, len(board)), []).append(number)
        self._kinds = [(board_group(*kind), np.array(members)) for kind, members in kinds.items()]
        # The place of each board among those of its game and side.
        self._place = np.zeros(len(puzzles), dtype=np.int64)
        for _, members in self._kinds:
            self._place[members] = np.arange(len(members))
        self._stores = [
            tuple(np.stack([_cells(self.puzzles[n], side) for n in members]) for side in ("input", "output"))
            for _, members in self._kinds
        ]
        self._kind = np.zeros(len(puzzles), dtype=np.int64)
        for number, (_, members) in enumerate(self._kinds):
            self._kind[members] = number

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def cells(self) -> np.ndarray:
        """The cells of each board, ``[boards]``."""
        return np.array([group.side**2 for group, _ in self._kinds])[self._kind]

    def samples(self, indices: np.ndarray) -> list[Samples]:
        """The samples with the given indices, as one batch for each game and side that occurs."""
        return [batch for _, batch in self.samples_with_rows(indices)]

    def samples_with_rows(self, indices: np.ndarray) -> list[tuple[np.ndarray, Samples]]:
        """As :meth:`samples`; each batch comes with the positions in ``indices`` of its samples."""
        board, image = np.divmod(np.asarray(indices, dtype=np.int64), self._augment + 1)
        batches = []
        for number, ((group, _), (inputs, outputs)) in enumerate(zip(self._kinds, self._stores, strict=True)):
            rows = np.flatnonzero(self._kind[board] == number)
            if not len(rows):
                continue
            own, wanted = board[rows], image[rows]
            # The images of a board are the first in a pseudorandom order of all symmetries but the identity.
            rank = permute((wanted - 1) % (group.order - 1), group.order - 1, self.seed, self._keys[own]) + 1
            places, colors = group.elements(np.where(wanted == 0, 0, rank))
            there = self._place[own]
            board_images, solved = (images(each[there], places, colors) for each in (inputs, outputs))
            canvas = Canvas(group.side, group.side)
            batches.append((rows, board_samples(canvas, board_images, solved, self._rows[own])))
        return batches


def board_samples(canvas: Canvas, inputs: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Samples:
    """Boards as samples: of no variant, because a symmetry of a game makes another board of the same game.

    Args:
        canvas: of the boards.
        inputs, labels: ``[n, cells]``, colors 0-9.
        rows: the row of each board's task, ``[n]``.
    """
    identity = Identity(
        rows,
        np.zeros(len(rows), dtype=np.uint8),
        np.tile(np.arange(COLORS, dtype=np.uint8), (len(rows), 1)),
        np.zeros(len(rows), dtype=np.int64),
    )
    return Samples(canvas, inputs + np.uint8(FIRST_COLOR), labels + np.uint8(FIRST_COLOR), identity)


def _cells(puzzle: Puzzle, side: str) -> np.ndarray:
    grid = getattr(puzzle.drawn[0], side)
    assert grid is not None, "pairs that samples are made from have outputs"
    return np.asarray(grid).reshape(-1)
