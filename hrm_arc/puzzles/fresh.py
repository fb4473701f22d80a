"""Fresh boards: endless training data for a generated game, as a function of a seed and an index.

A sample is a generated board with a random number of its blanks filled in again (Sudoku) under a random symmetry of
the game. No training board equals a board that is to be solved, under any symmetry of the game: boards are compared by
a number that symmetries do not change, so that the images of a board all have the number of the board.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.puzzles.augmented import LARGEST_SET, Samples
from hrm_arc.puzzles.board_invariants import invariants
from hrm_arc.puzzles.board_symmetry import board_group, images
from hrm_arc.puzzles.boards import MAX_REPEATS, check_side, make_board
from hrm_arc.puzzles.canvas import Canvas
from hrm_arc.puzzles.counter_rng import below, mix
from hrm_arc.puzzles.rules import game_of
from hrm_arc.puzzles.task import Pair, Task, make_grid
from hrm_arc.puzzles.varied import board_samples

GAME = re.compile(r"(sudoku|maze)-(\d{1,2})x\2")
# A round of samples is made from BASES generated boards, each used so many times: a Sudoku takes tens of
# milliseconds to generate, and has very many images.
BASES = 256
USES = {"sudoku": 128, "maze": 8}
# Random numbers of one board: for its base, its number of givens and its symmetry, and one for each cell.
BASE, GIVENS, SYMMETRY, CELLS = 0, 1, 2, 3
# Streams of random numbers: boards to train on, boards to choose settings by, boards to score.
TRAINING, SPLITS = 0xF2E5, {"validation": 0xA11D, "test": 0x7E57}
# The most draws of one sample, until it is not a board to be solved.
MAX_ATTEMPTS = 64


def parse_game(name: str) -> tuple[str, int] | None:
    """The game and the side of a name such as ``sudoku-9x9``, or None; the side may be one that has no boards."""
    match = GAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def most_givens(side: int) -> int:
    """The most cells that a board of a Sudoku shows: five of nine."""
    return side * side * 5 // 9


def held_out_boards(game: str, side: int, split: str, count: int, givens: int = 0) -> Task:
    """A game with boards to solve and none to train on; no two are equal under a symmetry.

    Args:
        game, side: as in :func:`~hrm_arc.puzzles.boards.generate`.
        split: ``validation`` or ``test``: different boards.
        count: the number of boards.
        givens: of each Sudoku; 0: a random number from what the generated board has to :func:`most_givens`.

    Raises:
        UserError: there are not so many different boards, or none with so many givens.
    """
    check_side(game, side)
    name = f"{game}-{side}x{side}"
    if givens and (game != "sudoku" or not 1 <= givens < side * side):
        raise UserError(f"{name}/{split}-{givens}", f"expected a number of givens below {side * side}, of a Sudoku")
    found: dict[int, Pair] = {}
    number = last_new = 0
    while len(found) < count:
        boards = _Boards(game, side, [int(mix(SPLITS[split], side, givens, number)[0])])
        board = boards.inputs
        if game == "sudoku":
            board = boards.reveal(np.zeros(1, dtype=np.int64), mix(SPLITS[split], number, 1), givens or None)
        key = int(invariants(game, side, board)[0])
        number += 1
        if key not in found and (not givens or (board > 0).sum() == givens):
            last_new = number
            found[key] = Pair(make_grid(board.reshape(side, side)), make_grid(boards.outputs.reshape(side, side)))
        elif number - last_new > MAX_REPEATS:
            with_givens, rest = (f" with {givens} givens", "another number of givens or ") if givens else ("", "")
            what = f"only {len(found)} different boards{with_givens} were found; request {rest}fewer"
            raise UserError(f"{name}/{split}", what)
    return Task(name, (), tuple(found.values()), boards=True)


class FreshSet:
    """The training boards of generated games: sample ``i`` is the same on every machine, for one seed.

    It takes the place of an :class:`~hrm_arc.puzzles.augmented.AugmentedSet`, and the canvas is the board. The
    demonstrations of the games are not used.

    Args:
        tasks: games, in the order of their rows in a model's task table; their test inputs never occur.
        seed: of all random numbers.

    Attributes:
        puzzles: the games.
        variants: one for each game: boards have no rows of their own.

    Raises:
        UserError: a task is not a generated game.
    """

    def __init__(self, tasks: Sequence[Task], seed: int):
        self.puzzles = tuple(tasks)
        self.seed = seed
        self.variants = np.ones(len(tasks), dtype=np.int64)
        self._games = [_Stream(task, seed, number) for number, task in enumerate(tasks)]

    def __len__(self) -> int:
        return LARGEST_SET

    @property
    def cells(self) -> np.ndarray:
        """The cells of each game's boards, ``[games]``."""
        return np.array([game.side**2 for game in self._games])

    def samples(self, indices: np.ndarray) -> list[Samples]:
        """The samples with the given indices, as one batch for each canvas that occurs."""
        return [batch for _, batch in self.samples_with_rows(indices)]

    def samples_with_rows(self, indices: np.ndarray) -> list[tuple[np.ndarray, Samples]]:
        """As :meth:`samples`; each batch comes with the positions in ``indices`` of its samples."""
        indices = np.asarray(indices, dtype=np.int64)
        batches = []
        for number, game in enumerate(self._games):
            rows = np.flatnonzero(indices % len(self._games) == number)
            if not len(rows):
                continue
            inputs, labels = game.boards(indices[rows] // len(self._games))
            task_rows = np.full(len(rows), number + 1, dtype=np.int64)
            batches.append((rows, board_samples(Canvas(game.side, game.side), inputs, labels, task_rows)))
        return batches


class _Boards:
    """Some generated boards as arrays.

    Attributes:
        inputs, outputs: boards and solutions, ``[boards, cells]``, uint8.
    """

    def __init__(self, game: str, side: int, keys: Sequence[int]):
        self.side = side
        pairs = [make_board(game, side, np.random.Generator(np.random.Philox(key=int(key)))) for key in keys]
        outputs = [pair.output for pair in pairs if pair.output is not None]
        self.inputs, self.outputs = (
            np.stack([grid.reshape(-1) for grid in grids]) for grids in ([pair.input for pair in pairs], outputs)
        )

    def reveal(self, board: np.ndarray, keys: np.ndarray, givens: int | None = None) -> np.ndarray:
        """Sudokus with some of their blanks filled in again, ``[n, cells]``.

        Args:
            board: which board, ``[n]``.
            keys: a random number for each, ``[n]``, uint64.
            givens: the number of givens, if the board has no more; None: a random one.
        """
        shown = self.inputs[board]
        least = (shown > 0).sum(axis=1)
        room = np.maximum(most_givens(self.side) + 1 - least, 1)
        wanted = least + below(room, keys, GIVENS) if givens is None else np.maximum(least, givens)
        # Givens come first; blanks follow in a random order.
        order = mix(keys[:, None], CELLS + np.arange(shown.shape[1])) >> np.uint64(1)
        order = np.where(shown > 0, 0, order + np.uint64(1))
        place = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1)
        return np.where(place < wanted[:, None], self.outputs[board], 0).astype(np.uint8)


class _Stream:
    """The endless boards of one game."""

    def __init__(self, task: Task, seed: int, number: int):
        game = parse_game(task.id)
        if game is None or not task.boards:
            raise UserError("data.boards", f"'fresh' is for generated games such as sudoku-9x9, and {task.id} is none")
        self.name, (self.game, self.side) = task.id, game
        check_side(self.game, self.side)
        if any(each.input.shape != (self.side, self.side) or game_of(each.input) != self.game for each in task.tests):
            raise UserError(
                task.id, f"has boards that are no {self.game} of {self.side} x {self.side}, as its name says"
            )
        self._key = int(mix(seed, TRAINING, number, self.side)[0])
        self._group = board_group(self.game, self.side)
        self._length = BASES * USES[self.game]
        self._round, self._bases = -1, _Boards(self.game, self.side, [0])
        inputs = np.stack([test.input.reshape(-1) for test in task.tests])
        self._forbidden = np.unique(invariants(self.game, self.side, inputs))

    def boards(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and solutions ``[n, cells]``, uint8, of the boards with some indices, ``[n]``."""
        inputs = np.empty((len(indices), self.side**2), dtype=np.uint8)
        labels = np.empty_like(inputs)
        rounds = indices // self._length
        for each in np.unique(rounds):
            here = np.flatnonzero(rounds == each)
            inputs[here], labels[here] = self._of_round(int(each), indices[here])
        return inputs, labels

    def _of_round(self, number: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if number != self._round:
            keys = mix(self._key, number, np.arange(BASES))
            self._round, self._bases = number, _Boards(self.game, self.side, [int(key) for key in keys])
        inputs = np.empty((len(indices), self.side**2), dtype=np.uint8)
        labels = np.empty_like(inputs)
        left = np.arange(len(indices))
        for attempt in range(MAX_ATTEMPTS):
            keys = mix(self._key, indices[left], attempt)
            board = below(BASES, keys, BASE)
            drawn = self._bases.reveal(board, keys) if self.game == "sudoku" else self._bases.inputs[board]
            places, colors = self._group.elements(below(self._group.order, keys, SYMMETRY))
            inputs[left] = images(drawn, places, colors)
            labels[left] = images(self._bases.outputs[board], places, colors)
            left = left[np.isin(invariants(self.game, self.side, drawn), self._forbidden)]
            if not len(left):
                return inputs, labels
        raise UserError(self.name, "has no boards to train on beside those to be solved; solve fewer")
