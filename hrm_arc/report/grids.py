"""Grids as pictures in ARC's colors: in the terminal, as PNG and as SVG."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from hrm_arc.errors import printable
from hrm_arc.files import atomic_write
from hrm_arc.puzzles.html import PALETTE
from hrm_arc.puzzles.task import Grid, Pair, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE = "#555555"
# Pairs that are shown of a task, tests among them that always are, and columns of a PNG picture.
MOST_PAIRS, FEWEST_TESTS, PNG_COLUMNS = 24, 6, 8


def terminal_grid(grid: Grid, color: bool = True) -> Text:
    """A grid as text: a line of half blocks shows two rows of cells; without color it is digits."""
    if not color:
        return Text("\n".join("".join(map(str, row)) for row in grid.tolist()))
    text = Text()
    for top in range(0, len(grid), 2):
        for column in range(grid.shape[1]):
            below = PALETTE[grid[top + 1, column]] if top + 1 < len(grid) else None
            text.append("▀", Style(color=PALETTE[grid[top, column]], bgcolor=below))
        text.append("\n")
    text.rstrip()
    return text


def terminal_task(task: Task, answers: bool = False, color: bool = True, width: int = 80) -> RenderableType:
    """A task for the terminal: input and output of each pair side by side, or below each other where one line of the
    terminal would be too short; test outputs only with ``answers``.
    """
    pairs = [
        (name, pair.input, pair.output if shown and pair.output is not None else None)
        for name, pair, shown in _pairs(task, answers)
    ]
    title = Text(printable(f"{task.id}  {task.group}".rstrip()), style="bold")
    sides = [(len(name), i.shape[1], 1 if o is None else o.shape[1]) for name, i, o in pairs]
    # Two spaces at both sides of four columns, one of which is an arrow.
    if sum(map(max, zip(*sides, strict=True))) + 1 + 4 * 4 > width:
        rows = [(name, [("input", i), *([] if o is None else [("output", o)])]) for name, i, o in pairs]
        return Group(title, Text(""), *(terminal_row(name, grids, color, width) for name, grids in rows))
    table = Table.grid(padding=(0, 2))
    for name, question, output in pairs:
        answer = Text("?") if output is None else terminal_grid(output, color)
        table.add_row(name, terminal_grid(question, color), "→", answer)
        table.add_row("")
    return Group(title, Text(""), table)


def terminal_answer(
    title: str, input: Grid, attempts: Sequence[tuple[Grid, str]], color: bool = True, width: int = 80
) -> RenderableType:
    """A test input and the attempts, each with a note, for the terminal."""
    named = [("input", input), *((f"attempt {n}: {word}", grid) for n, (grid, word) in enumerate(attempts, start=1))]
    row = terminal_row(title, named, color, width)
    return row if attempts else Group(row, Text("no readable grid"), Text(""))


def terminal_row(title: str, named: Sequence[tuple[str, Grid]], color: bool = True, width: int = 80) -> RenderableType:
    """Grids side by side with their names below, for the terminal; in several rows where one would be too wide."""
    rows: list[list[tuple[str, Grid]]] = []
    used = width + 1
    for name, grid in named:
        needed = max(grid.shape[1], len(name)) + 2
        if used + needed > width:
            rows.append([])
            used = 0
        rows[-1].append((name, grid))
        used += needed
    tables = []
    for row in rows:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_row(*(terminal_grid(grid, color) for _, grid in row))
        table.add_row(*(Text(printable(name)) for name, _ in row))
        tables.append(table)
    return Group(Text(printable(title), style="bold"), *tables, Text(""))


def part_to_show(task: Task) -> tuple[Task, str]:
    """The pairs of a task that a person can look at, and what was left out.

    Returns:
        The task with its first pairs, at most 24 in total and at least one test; and how many are shown, in words,
        such as ``23 of 1,000 demonstrations``, or "" if all are.
    """
    tests = task.tests[: max(FEWEST_TESTS, MOST_PAIRS - len(task.demonstrations))]
    demonstrations = task.demonstrations[: MOST_PAIRS - len(tests)]
    parts = (("demonstrations", demonstrations, task.demonstrations), ("tests", tests, task.tests))
    left_out = [f"{len(few)} of {len(all):,} {name}" for name, few, all in parts if len(few) < len(all)]
    return replace(task, demonstrations=demonstrations, tests=tests), ", ".join(left_out)


def save_task_png(task: Task, path: Path, answers: bool = False) -> None:
    """Write a task as a PNG picture, or the part of a large one that :func:`part_to_show` gives.

    Raises:
        UserError: it cannot be written.
    """
    from matplotlib.figure import Figure  # Takes half a second, so it is imported only here.

    task, left_out = part_to_show(task)
    pairs = _pairs(task, answers)
    columns = min(len(pairs), PNG_COLUMNS)
    rows = -(-len(pairs) // columns)
    height = 4.8 * rows + 0.5  # In inches; the title has half of one.
    figure = Figure(figsize=(2.4 * columns, height), dpi=110)
    # Fixed places: to compute a layout takes most of the time.
    places = {"left": 0.1 / columns, "right": 1 - 0.1 / columns, "bottom": 0.1 / height, "top": 1 - 0.75 / height}
    places |= {"wspace": 0.1, "hspace": 0.15}
    no_ticks: dict[str, Any] = {"xticks": [], "yticks": []}
    axes = figure.subplots(2 * rows, columns, squeeze=False, gridspec_kw=places, subplot_kw=no_ticks)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (name, pair, shown) in enumerate(pairs):
        row, column = divmod(number, columns)
        output = pair.output if shown else None
        for side, axis, grid in (
            ("input", axes[2 * row][column], pair.input),
            ("output", axes[2 * row + 1][column], output),
        ):
            axis.set_title(f"{name} {side}", fontsize=9)
            if grid is None:
                axis.text(0.5, 0.5, "?", fontsize=28, ha="center", va="center", color=LINE)
            else:
                _draw(axis, grid)
    title = printable(f"{task.id}  {task.group}".rstrip())
    lines = [_cut(title, 24 * columns), *([left_out] if left_out else [])]
    # A name is not a formula, whatever dollar signs and backslashes are in it.
    figure.suptitle("\n".join(lines), y=1 - 0.1 / height, fontsize=11, parse_math=False, usetex=False)
    with atomic_write(path) as beside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A character that the font lacks is drawn as a box.
        figure.savefig(beside, format="png")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def svg(grid: Grid, wrong: np.ndarray | None = None, cell: int = 26) -> str:
    """A grid as an SVG element; the cells that ``wrong`` ``[height, width]`` marks get a cross.

    The cells are an embedded PNG of one pixel each, so that a page with thousands of grids stays small. The page
    defines the patterns ``cells`` (lines between cells) and ``crosses``, in units of a cell.
    """
    height, width = grid.shape
    # Large grids get smaller cells, so that all pictures have a similar size.
    cell = max(5, min(cell, 184 // max(height, width)))
    whole = f'width="{width}" height="{height}"'
    marks = ""
    if wrong is not None and wrong.any():
        marks = f'<path d="{_runs(wrong)}" fill="url(#crosses)"/>'
    return (
        f'<svg class="grid" width="{width * cell}" height="{height * cell}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="grid of {height} by {width}"><image {whole} href="{_pixels(grid)}"/>'
        f'<rect {whole} fill="url(#cells)"/>{marks}</svg>'
    )


def _pixels(grid: Grid) -> str:
    """A grid as a data URL of a PNG picture with one pixel for each cell."""
    from PIL import Image

    picture = Image.fromarray(grid.astype(np.uint8), mode="P")
    picture.putpalette(bytes.fromhex("".join(color[1:] for color in PALETTE)))
    with io.BytesIO() as file:
        picture.save(file, format="PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _runs(marked: np.ndarray) -> str:
    """An SVG path of the marked cells: a rectangle for each run of them in a row."""
    edges = np.diff(np.pad(marked.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(edges == 1).tolist(), np.argwhere(edges == -1).tolist()
    return "".join(
        f"M{left} {row}h{right - left}v1h{left - right}z" for (row, left), (_, right) in zip(starts, ends, strict=True)
    )


def _pairs(task: Task, answers: bool) -> Sequence[tuple[str, Pair, bool]]:
    """Each pair with its name, and whether its output is shown."""
    shown = [(f"demonstration {n}", pair, True) for n, pair in enumerate(task.demonstrations, start=1)]
    return shown + [(f"test {n}", pair, answers) for n, pair in enumerate(task.tests, start=1)]


def _draw(axis: Axes, grid: Grid) -> None:
    from matplotlib.colors import ListedColormap

    axis.pcolormesh(grid, cmap=ListedColormap(PALETTE), vmin=-0.5, vmax=9.5, edgecolors=LINE, linewidth=0.5)
    axis.set_aspect("equal")
    axis.invert_yaxis()
