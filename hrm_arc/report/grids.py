"""Grids as pictures in ARC's colors: in the terminal, as PNG and as SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from hrm_arc.errors import printable
from hrm_arc.files import atomic_write
from hrm_arc.puzzles.task import Grid, Pair, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The colors of arcprize.org's editor, from 0 to 9.
PALETTE = (
    "#000000", "#0074d9", "#ff4136", "#2ecc40", "#ffdc00",
    "#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25",
)  # fmt: skip
LINE = "#555555"


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


def terminal_task(task: Task, answers: bool = False, color: bool = True) -> RenderableType:
    """A task for the terminal: input and output of each pair side by side; test outputs only with ``answers``."""
    table = Table.grid(padding=(0, 2))
    for name, pair, shown in _pairs(task, answers):
        output = terminal_grid(pair.output, color) if shown and pair.output is not None else Text("?")
        table.add_row(name, terminal_grid(pair.input, color), "→", output)
        table.add_row("")
    title = printable(f"{task.id}  {task.group}".rstrip())
    return Group(Text(title, style="bold"), Text(""), table)


def terminal_answer(
    title: str, input: Grid, attempts: Sequence[tuple[Grid, str]], color: bool = True
) -> RenderableType:
    """A test input and the attempts, each with a note, for the terminal."""
    table = Table.grid(padding=(0, 2))
    named = [("input", input), *((f"attempt {n}: {word}", grid) for n, (grid, word) in enumerate(attempts, start=1))]
    table.add_row(*(terminal_grid(grid, color) for _, grid in named))
    table.add_row(*(name for name, _ in named))
    if not attempts:
        return Group(Text(title, style="bold"), table, Text("no readable grid"), Text(""))
    return Group(Text(title, style="bold"), table, Text(""))


def save_task_png(task: Task, path: Path, answers: bool = False) -> None:
    """Write a task as a PNG picture.

    Raises:
        UserError: it cannot be written.
    """
    from matplotlib.figure import Figure  # Takes half a second, so it is imported only here.

    columns = _pairs(task, answers)
    figure = Figure(figsize=(2.4 * len(columns), 5.2), dpi=110, layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False)
    for column, (name, pair, shown) in enumerate(columns):
        output = pair.output if shown else None
        for axis, grid, side in ((axes[0][column], pair.input, "input"), (axes[1][column], output, "output")):
            axis.set_title(f"{name} {side}", fontsize=9)
            axis.set_axis_off()
            if grid is None:
                axis.text(0.5, 0.5, "?", fontsize=28, ha="center", va="center", color=LINE)
            else:
                _draw(axis, grid)
    figure.suptitle(f"{task.id}  {task.group}".rstrip(), fontsize=11)
    with atomic_write(path) as beside:
        figure.savefig(beside, format="png")


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
