from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from matplotlib.image import imread
from rich.console import Console

from hrm_arc.errors import UserError
from hrm_arc.puzzles.sources import find_task
from hrm_arc.puzzles.task import Grid, make_grid
from hrm_arc.report.charts import training_curves
from hrm_arc.report.grids import PALETTE, save_task_png, svg, terminal_grid, terminal_task
from tests.strategies import grids


@given(grids())
def test_a_terminal_grid_shows_every_cell_in_its_colour(grid: Grid) -> None:
    text = terminal_grid(grid)
    lines = text.split("\n", allow_blank=True)
    assert len(lines) == (len(grid) + 1) // 2
    for number, line in enumerate(lines):
        spans = sorted((span.start, span.style) for span in line.spans)
        assert len(spans) == grid.shape[1]
        for (_, style), above in zip(spans, grid[2 * number], strict=True):
            assert style.color.name == PALETTE[above]  # type: ignore[union-attr]


def test_without_colour_a_grid_is_digits() -> None:
    assert terminal_grid(make_grid([[0, 1], [9, 5]]), colour=False).plain == "01\n95"


def test_a_task_in_the_terminal_hides_its_answers_until_asked() -> None:
    task = find_task("0d3d703e")
    shown = {}
    for answers in (False, True):
        console = Console(width=100, no_color=True)
        with console.capture() as capture:
            console.print(terminal_task(task, answers, colour=False))
        shown[answers] = capture.get()
    truth = "".join(str(v) for v in task.tests[0].output[0])  # type: ignore[index]
    assert "813  →  ?" in shown[False]
    assert f"813  →  {truth}" in shown[True]


def test_the_png_shows_arcs_colours(tmp_path: Path) -> None:
    path = tmp_path / "new" / "task.png"
    save_task_png(find_task("0d3d703e"), path)
    picture = (imread(path)[:, :, :3] * 255).round().astype(int)
    drawn = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    used = {3, 1, 2, 4, 5, 6, 8, 9}
    for colour in used:
        rgb = tuple(int(PALETTE[colour][i : i + 2], 16) for i in (1, 3, 5))
        assert rgb in drawn, colour


def test_a_picture_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_task_png(find_task("0d3d703e"), tmp_path / "file" / "x.png")


def test_svg_draws_every_cell_and_marks_the_wrong_ones() -> None:
    grid = make_grid([[0, 1, 2], [3, 4, 5]])
    wrong = np.zeros((2, 3), dtype=bool)
    wrong[1, 2] = True
    drawn = svg(grid, wrong)
    (address,) = re.findall(r'href="data:image/png;base64,([^"]+)"', drawn)
    picture = (imread(io.BytesIO(base64.b64decode(address)))[:, :, :3] * 255).round().astype(int)
    assert ["#" + bytes(pixel).hex() for pixel in picture.reshape(-1, 3).tolist()] == [PALETTE[v] for v in grid.flat]
    assert re.findall(r'<path d="([^"]+)"', drawn) == ["M2 1h1v1h-1z"]
    assert "<path" not in svg(grid)
    assert "<path" not in svg(grid, np.zeros((2, 3), dtype=bool))


def test_wrong_cells_are_marked_in_runs() -> None:
    wrong = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], dtype=bool)
    assert '"M0 0h2v1h-2zM3 0h1v1h-1zM1 2h3v1h-3z"' in svg(make_grid(wrong.astype(int)), wrong)


def test_the_curve_is_a_picture_even_of_one_row() -> None:
    row = {"kind": "train", "step": 1, "seconds": 1.0, "loss": 2.0, "exact": 0.0}
    validation = {"kind": "validation", "step": 1, "exact_accuracy": 0.5}
    for rows in ([row], [row, validation], [row] * 200):
        assert training_curves({"one": rows}).startswith("<svg")


def test_a_long_run_has_no_larger_curve_than_a_short_one() -> None:
    long = [{"kind": "train", "step": n, "seconds": n, "loss": 1 / n, "exact": n / 9000} for n in range(1, 9000)]
    assert len(training_curves({"long": long})) < 60_000
    both = training_curves({"long": long, "short": long[:100]})
    assert "long: training samples" in both
    assert "short: training samples" in both
