"""Grids as HTML for notebooks: SVG pictures in ARC's colors, with nothing loaded from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

# The colors of arcprize.org's editor, from 0 to 9.
PALETTE = (
    "#000000", "#0074d9", "#ff4136", "#2ecc40", "#ffdc00",
    "#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25",
)  # fmt: skip
# Pixels of a cell, and of a picture's longer side at most.
CELL, LONGEST_SIDE = 16, 240


def grid_html(grid: np.ndarray) -> str:
    """A grid ``[height, width]`` as an SVG picture."""
    height, width = grid.shape
    cell = min(CELL, LONGEST_SIDE / max(height, width))
    cells = "".join(
        f'<path fill="{color}" d="{"".join(f"M{x} {y}h1v1h-1z" for y, x in where)}"/>'
        for number, color in enumerate(PALETTE)
        if (where := [(y, x) for y in range(height) for x in range(width) if grid[y, x] == number])
    )
    lines = "".join(f"M{x} 0v{height}" for x in range(1, width)) + "".join(f"M0 {y}h{width}" for y in range(1, height))
    return (
        f'<svg width="{width * cell:.0f}" height="{height * cell:.0f}" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="grid of {height} by {width}" shape-rendering="crispEdges">{cells}'
        f'<path d="{lines}" stroke="#888" stroke-width="0.04" fill="none"/></svg>'
    )


def table_html(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, np.ndarray | None]]]]) -> str:
    """Named grids in named rows. None is a grid that is not shown, or not known.

    Args:
        title: above the table; any text.
        rows: the name of each row, and its grids with a caption.
    """
    lines = []
    for name, grids in rows:
        pictures = "".join(
            f'<td style="text-align:left;vertical-align:top">{"?" if grid is None else grid_html(grid)}'
            f"<div>{html.escape(caption)}</div></td>"
            for caption, grid in grids
        )
        lines.append(f'<tr><th style="text-align:left;vertical-align:top">{html.escape(name)}</th>{pictures}</tr>')
    return f"<div><b>{html.escape(title)}</b><table>{''.join(lines)}</table></div>"
