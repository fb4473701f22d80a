"""Grids as pictures: in the terminal, as PNG, as SVG, in ARC's own colours."""

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

from hrm_arc.files import writing
from hrm_arc.puzzles.task import Grid, Pair, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The colours of arcprize.org's editor, from 0 to 9.
PALETTE = (
    "#000000", "#0074d9", "#ff4136", "#2ecc40", "#ffdc00",
    "#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25",
)  # fmt: skip
LINE = "#555555"


def terminal_grid(grid: Grid, colour: bool = True) -> Text:
    """A grid as text: two rows of cells to a line in half blocks, or digits without colour."""
    if not colour:
        return Text("\n".join("".join(map(str, row)) for row in grid.tolist()))
    text = Text()
    for top in range(0, len(grid), 2):
        for column in range(grid.shape[1]):
            below = PALETTE[grid[top + 1, column]] if top + 1 < len(grid) else None
            text.append("▀", Style(color=PALETTE[grid[top, column]], bgcolor=below))
        text.append("\n")
    text.rstrip()
    return text


def terminal_task(task: Task, answers: bool = False, colour: bool = True) -> RenderableType:
    """A task for the terminal: each pair side by side, test outputs only if asked for."""
    table = Table.grid(padding=(0, 2))
    for name, pair, shown in _pairs(task, answers):
        output = terminal_grid(pair.output, colour) if shown and pair.output is not None else Text("?")
        table.add_row(name, terminal_grid(pair.input, colour), "→", output)
        table.add_row("")
    title = f"{task.id}  {task.group}".rstrip()
    return Group(Text(title, style="bold"), Text(""), table)


def terminal_answer(
    title: str, input: Grid, attempts: Sequence[tuple[Grid, str]], colour: bool = True
) -> RenderableType:
    """A test input and the attempts at its output, each with a word about it, for the terminal."""
    table = Table.grid(padding=(0, 2))
    named = [("input", input), *((f"attempt {n}: {word}", grid) for n, (grid, word) in enumerate(attempts, start=1))]
    table.add_row(*(terminal_grid(grid, colour) for _, grid in named))
    table.add_row(*(name for name, _ in named))
    if not attempts:
        return Group(Text(title, style="bold"), table, Text("no readable grid"), Text(""))
    return Group(Text(title, style="bold"), table, Text(""))


def save_task_png(task: Task, path: Path, answers: bool = False) -> None:
    """Draw a task as a PNG picture.

    Raises:
        UserError: it cannot be written.
    """
    from matplotlib.figure import Figure  # Half a second that the terminal picture does without.

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
    with writing(path) as beside:
        figure.savefig(beside, format="png")


def svg(grid: Grid, wrong: np.ndarray | None = None, cell: int = 26) -> str:
    """A grid as an SVG element; cells marked in ``wrong`` ``[height, width]`` get a cross.

    The cells are a picture of one pixel each, so that a page with thousands of grids stays small.
    The page defines the patterns ``cells`` (lines between them) and ``crosses``, in units of a cell.
    """
    height, width = grid.shape
    # Large grids get smaller cells, so that pictures stay comparable in size.
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
    """A grid as the address of a PNG picture of one pixel a cell."""
    from PIL import Image

    picture = Image.fromarray(grid.astype(np.uint8), mode="P")
    picture.putpalette(bytes.fromhex("".join(colour[1:] for colour in PALETTE)))
    with io.BytesIO() as file:
        picture.save(file, format="PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _runs(marked: np.ndarray) -> str:
    """An SVG path around the marked cells, a rectangle for each run of them in a row."""
    edges = np.diff(np.pad(marked.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(edges == 1).tolist(), np.argwhere(edges == -1).tolist()
    return "".join(
        f"M{left} {row}h{right - left}v1h{left - right}z" for (row, left), (_, right) in zip(starts, ends, strict=True)
    )


def _pairs(task: Task, answers: bool) -> Sequence[tuple[str, Pair, bool]]:
    """Each pair with its name, and whether its output is to be shown."""
    shown = [(f"demonstration {n}", pair, True) for n, pair in enumerate(task.demonstrations, start=1)]
    return shown + [(f"test {n}", pair, answers) for n, pair in enumerate(task.tests, start=1)]


def _draw(axis: Axes, grid: Grid) -> None:
    from matplotlib.colors import ListedColormap

    axis.pcolormesh(grid, cmap=ListedColormap(PALETTE), vmin=-0.5, vmax=9.5, edgecolors=LINE, linewidth=0.5)
    axis.set_aspect("equal")
    axis.invert_yaxis()
