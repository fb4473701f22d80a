"""Sudoku and Maze: games in which each board is a puzzle of its own, on a canvas of its own size.

A game is one task, and its pairs are boards with their solutions. Each board has its own
variants, and a model is conditioned on the game. In Sudoku the digits are the colors 1-9 and a
blank is color 0, so that a permutation of colors is a permutation of digits, which the rules allow.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.puzzles.board_invariants import invariants
from hrm_arc.puzzles.board_symmetry import BOXES
from hrm_arc.puzzles.counter_rng import mix
from hrm_arc.puzzles.task import MAX_SIDE, Grid, Pair, Task, make_grid

# Sources of generated boards, to show; a maze has any side from 5 to 30.
GAMES = (*(f"sudoku-{side}x{side}" for side in BOXES), "maze-11x11", "maze-30x30")
# The color of each character in the public data sets; "o" in Maze is the path.
SUDOKU = {".": 0, **{str(digit): digit for digit in range(10)}}
MAZE = {" ": 0, "#": 5, "S": 3, "G": 2, "o": 4}
FREE, WALL, START, GOAL, PATH = (MAZE[cell] for cell in " #SGo")

_TWO_AWAY = ((2, 0), (-2, 0), (0, 2), (0, -2))

# Generation stops after this many repeated boards in a row: hardly any new ones are left.
MAX_REPEATS = 50

# One board in ten is held out.
HELD_OUT_EVERY = 10


def generate(game: str, side: int, count: int) -> Task:
    """A game with generated boards, the same on every machine.

    Args:
        game: ``sudoku`` (sides 4, 6 and 9; each board has one solution) or ``maze`` (sides 5 to 30;
            the solution is a shortest path).
        side: the side of a board.
        count: boards to train on; another tenth of this number, at least one, is held out. No held-out board is an
            image of one to train on.

    Raises:
        UserError: the game has no boards of this side, or fewer different boards than requested.
    """
    name = f"{game}-{side}x{side}"
    check_side(game, side)
    if count < 1:
        raise UserError(name, f"{count} boards, expected at least 1")
    held_out = max(1, count // HELD_OUT_EVERY)
    pairs: dict[bytes, Pair] = {}
    number = last_new = 0
    trained = np.zeros(0, dtype=np.uint64)
    while len(pairs) < count + held_out:
        pair = make_board(game, side, np.random.Generator(np.random.Philox(key=int(mix(side, number)[0]))))
        number += 1
        if len(pairs) == count and not len(trained):
            trained = _image_keys(game, side, [each.input for each in pairs.values()])
        is_image = len(trained) and np.isin(_image_keys(game, side, [pair.input]), trained)[0]
        if not is_image and pairs.setdefault(pair.input.tobytes(), pair) is pair:
            last_new = number
        elif number - last_new > MAX_REPEATS:
            raise UserError(name, f"only {len(pairs)} different boards were found; request fewer")
    boards = list(pairs.values())
    return Task(name, tuple(boards[:count]), tuple(boards[count:]), boards=True)


def _image_keys(game: str, side: int, boards: Sequence[Grid]) -> np.ndarray:
    """A number for each board that all boards share which training could make of it, ``[n]``, uint64.

    These are its images under the symmetries of the game, and under permutations of colors: of a maze, those that
    exchange start and goal. (One that exchanges walls and corridors gives no maze.)
    """
    cells = np.stack([board.reshape(-1) for board in boards])
    keys = invariants(game, side, cells)
    if game == "sudoku":
        return keys
    ends = np.arange(cells.max() + 1, dtype=np.uint8)
    ends[[START, GOAL]] = GOAL, START
    return np.minimum(keys, invariants(game, side, ends[cells]))


def check_side(game: str, side: int) -> None:
    """Raise UserError if a game has no boards of this side."""
    name = f"{game}-{side}x{side}"
    if game == "sudoku" and side not in BOXES:
        raise UserError(name, f"no Sudoku of side {side}, expected one of {', '.join(map(str, BOXES))}")
    if game == "maze" and not 5 <= side <= MAX_SIDE:
        raise UserError(name, f"no maze of side {side}, expected 5 to {MAX_SIDE}")


def make_board(game: str, side: int, random: np.random.Generator) -> Pair:
    """A random board with its solution: the only one of a Sudoku, a shortest path of a maze."""
    return _make_sudoku(side, random) if game == "sudoku" else _make_maze(side, random)


def solutions(board: Grid, most: int = 2) -> Iterator[Grid]:
    """Up to ``most`` solutions of a Sudoku ``[side, side]``, in which 0 is a blank."""
    state = _Sudoku(board)
    for _ in itertools.islice(state.search(), most):
        yield make_grid(state.cells.tolist())


def shortest_path(maze: Grid) -> Grid | None:
    """The maze with a shortest path from start to goal marked, or None if there is no path."""
    came, _ = _search(maze)
    start, goal = _ends(maze)
    if goal not in came:
        return None
    solved = maze.copy()
    here = came[goal]
    while here != start:
        solved[here] = PATH
        here = came[here]
    return make_grid(solved)


def shortest_paths(maze: Grid) -> int:
    """The number of different shortest paths from start to goal; 0 if there is no path."""
    _, ways = _search(maze)
    return ways.get(_ends(maze)[1], 0)


Place = tuple[int, int]


def _ends(maze: Grid) -> tuple[Place, Place]:
    """The places of start and goal."""
    flat = maze.reshape(-1).tolist()
    return divmod(flat.index(START), maze.shape[1]), divmod(flat.index(GOAL), maze.shape[1])


def _search(maze: Grid) -> tuple[dict[Place, Place], dict[Place, int]]:
    """Breadth-first search from the start to the goal.

    Returns:
        for each place that was reached, the place before it, and the number of shortest paths to it.
    """
    start, goal = _ends(maze)
    cells = maze.tolist()
    came, ways, steps = {start: start}, {start: 1}, {start: 0}
    queue = deque([start])
    while queue:
        row, column = here = queue.popleft()
        if here == goal:
            break
        for there in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            inside = 0 <= there[0] < maze.shape[0] and 0 <= there[1] < maze.shape[1]
            if not inside or cells[there[0]][there[1]] == WALL:
                continue
            if there not in came:
                came[there], ways[there], steps[there] = here, 0, steps[here] + 1
                queue.append(there)
            if steps[there] == steps[here] + 1:
                ways[there] += ways[here]
    return came, ways


class _Sudoku:
    """Backtracking search for solutions; the cell with the fewest possible digits is filled first."""

    def __init__(self, board: Grid):
        self.side = len(board)
        self.cells = board.astype(np.int64)
        self._units = units(self.side)
        self._digits = sum(1 << digit for digit in range(1, self.side + 1))
        # The digits in each row, column and box, as bit masks.
        self._taken = [0] * (3 * self.side)
        self._open = []
        for place, digit in enumerate(self.cells.reshape(-1).tolist()):
            if digit:
                self._toggle(place, 1 << digit)
            else:
                self._open.append(place)

    def search(self, random: np.random.Generator | None = None) -> Iterator[None]:
        """Yield each time that ``cells`` holds a solution; digits are tried in order, or in random ones."""
        if not self._open:
            yield
            return
        taken, units, digits = self._taken, self._units, self._digits
        place, choices, fewest = -1, 0, self.side + 1
        for candidate in self._open:
            row, column, box = units[candidate]
            free = digits & ~(taken[row] | taken[column] | taken[box])
            count = free.bit_count()
            if count < fewest:
                place, choices, fewest = candidate, free, count
                if count < 2:
                    break
        self._open.remove(place)
        digits_here = range(1, self.side + 1) if random is None else (1 + random.permutation(self.side)).tolist()
        for digit in digits_here:
            if choices >> digit & 1:
                self.cells.flat[place] = digit
                self._toggle(place, 1 << digit)
                yield from self.search(random)
                self._toggle(place, 1 << digit)
                self.cells.flat[place] = 0
        self._open.append(place)

    def _toggle(self, place: int, bit: int) -> None:
        for unit in self._units[place]:
            self._taken[unit] ^= bit


@cache
def units(side: int) -> list[tuple[int, int, int]]:
    """The row, the column and the box of each cell, numbered from 0, ``side`` and ``2 * side`` on."""
    height, width = BOXES[side]
    places = itertools.product(range(side), repeat=2)
    return [(r, side + c, 2 * side + r // height * height + c // width) for r, c in places]


def _make_sudoku(side: int, random: np.random.Generator) -> Pair:
    """A random full board, and the board with as many of its cells blank as leave one solution."""
    state = _Sudoku(np.zeros((side, side), dtype=np.uint8))
    # The search tries digits in a new random order in each cell; with one order for all cells every full board would be
    # an image of one grid. It fills rows in order, so bands, rows, stacks and columns are shuffled afterwards.
    next(state.search(random))
    height, width = BOXES[side]
    rows = np.concatenate([band * height + random.permutation(height) for band in random.permutation(side // height)])
    columns = np.concatenate([band * width + random.permutation(width) for band in random.permutation(side // width)])
    full = state.cells[np.ix_(rows, columns)]
    if height == width and random.integers(2):
        full = full.T
    board = full.copy()
    # At most two thirds of the cells are tried: the search takes longest for the last ones.
    for place in random.permutation(side * side)[: side * side * 2 // 3]:
        kept = board.flat[place]
        board.flat[place] = 0
        if len(list(solutions(board))) > 1:
            board.flat[place] = kept
    return Pair(make_grid(board), make_grid(full))


def _make_maze(side: int, random: np.random.Generator) -> Pair:
    """A maze by randomized depth-first search, with some walls removed so that there are several paths.

    One of the paths is the shortest: a maze in which two are equally long is drawn again.
    """
    while True:
        maze = _draw_maze(side, random)
        if shortest_paths(maze) == 1:
            solved = shortest_path(maze)
            assert solved is not None, "depth-first search connects all corridors"
            return Pair(maze, solved)


def _draw_maze(side: int, random: np.random.Generator) -> Grid:
    cells = np.full((side, side), WALL, dtype=np.uint8)
    last = side - 2 + side % 2
    trail = [(1, 1)]
    cells[1, 1] = FREE
    while trail:
        row, column = trail[-1]
        steps = [(dr, dc) for dr, dc in _TWO_AWAY if _is_wall(cells, row + dr, column + dc, last)]
        if not steps:
            trail.pop()
            continue
        dr, dc = steps[int(random.integers(len(steps)))]
        cells[row + dr // 2, column + dc // 2] = cells[row + dr, column + dc] = FREE
        trail.append((row + dr, column + dc))
    inner = [(r, c) for r in range(1, last) for c in range(1, last) if cells[r, c] == WALL]
    for place in random.permutation(len(inner))[: len(inner) // 10]:
        cells[inner[place]] = FREE
    free = np.argwhere(cells == FREE)
    start, goal = free[random.integers(len(free))], free[random.integers(len(free))]
    while np.abs(start - goal).sum() < side // 2:
        start, goal = free[random.integers(len(free))], free[random.integers(len(free))]
    cells[tuple(start)], cells[tuple(goal)] = START, GOAL
    return make_grid(cells)


def _is_wall(cells: Grid, row: int, column: int, last: int) -> bool:
    return 0 < row < last and 0 < column < last and bool(cells[row, column] == WALL)
