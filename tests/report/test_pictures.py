from __future__ import annotations

import base64
import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from matplotlib.image import imread
from rich.console import Console

from hrm_arc.errors import UserError
from hrm_arc.puzzles.sources import find_task
from hrm_arc.puzzles.task import Grid, Pair, Task, make_grid
from hrm_arc.report.charts import PANELS, training_curves, training_details
from hrm_arc.report.grids import (
    PALETTE,
    part_to_show,
    save_task_png,
    svg,
    terminal_answer,
    terminal_grid,
    terminal_task,
)
from tests.strategies import grids


@given(grids())
def test_a_terminal_grid_shows_every_cell_in_its_color(grid: Grid) -> None:
    text = terminal_grid(grid)
    lines = text.split("\n", allow_blank=True)
    assert len(lines) == (len(grid) + 1) // 2
    for number, line in enumerate(lines):
        spans = sorted((span.start, span.style) for span in line.spans)
        assert len(spans) == grid.shape[1]
        for (_, style), above in zip(spans, grid[2 * number], strict=True):
            assert style.color.name == PALETTE[above]  # type: ignore[union-attr]


def test_without_color_a_grid_is_digits() -> None:
    assert terminal_grid(make_grid([[0, 1], [9, 5]]), color=False).plain == "01\n95"


def test_a_task_in_the_terminal_hides_its_test_outputs_by_default() -> None:
    task = find_task("0d3d703e")
    shown = {}
    for answers in (False, True):
        console = Console(width=100, no_color=True)
        with console.capture() as capture:
            console.print(terminal_task(task, answers, color=False))
        shown[answers] = capture.get()
    truth = "".join(str(v) for v in task.tests[0].output[0])  # type: ignore[index]
    assert "813  →  ?" in shown[False]
    assert f"813  →  {truth}" in shown[True]


def test_the_png_shows_arcs_colors(tmp_path: Path) -> None:
    path = tmp_path / "new" / "task.png"
    save_task_png(find_task("0d3d703e"), path)
    picture = (imread(path)[:, :, :3] * 255).round().astype(int)
    drawn = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    used = {3, 1, 2, 4, 5, 6, 8, 9}
    for color in used:
        rgb = tuple(int(PALETTE[color][i : i + 2], 16) for i in (1, 3, 5))
        assert rgb in drawn, color


@pytest.mark.parametrize("name", ["$\\frac$", "$a_{$", "^_{}\\", "\x1b[2J", "a\nb", "\ud800", "名前", "x" * 300])
def test_a_name_is_not_a_formula(name: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    pair = Pair(make_grid([[1]]), make_grid([[2]]))
    save_task_png(Task(name, (pair,), (pair,), group=name), tmp_path / "task.png")
    assert imread(tmp_path / "task.png").shape[1] < 1000
    assert not recwarn.list


def test_of_a_large_task_a_part_is_drawn(tmp_path: Path) -> None:
    pair = Pair(*[make_grid(np.arange(900).reshape(30, 30) % 10)] * 2)
    task = Task("large", (pair,) * 1000, (pair,) * 3)
    part, left_out = part_to_show(task)
    assert (len(part.demonstrations), len(part.tests), left_out) == (21, 3, "21 of 1,000 demonstrations")
    few, left_out = part_to_show(Task("tests", (pair,) * 2, (pair,) * 1000))
    assert (len(few.demonstrations), len(few.tests), left_out) == (2, 22, "22 of 1,000 tests")
    assert part_to_show(find_task("0d3d703e"))[1] == ""
    started = time.process_time()
    save_task_png(task, tmp_path / "task.png")
    assert time.process_time() - started < 5
    height, width, _ = imread(tmp_path / "task.png").shape
    assert max(height, width) < 2500


def test_names_in_the_terminal_have_no_control_characters() -> None:
    pair = Pair(make_grid([[1]]), make_grid([[2]]))
    console = Console(width=100, force_terminal=True)
    with console.capture() as capture:
        console.print(terminal_task(Task("\x1b]0;x\x07", (pair,), (pair,)), color=False))
        console.print(terminal_answer("\x1b[2J", pair.input, [(pair.input, "\x9b1m")], color=False))
    assert "\\x1b]0;x\\x07" in capture.get()
    assert not [mark for mark in ("\x1b]", "\x07", "\x1b[2J", "\x9b") if mark in capture.get()]


def test_a_picture_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
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


TRAIN = {
    "kind": "train",
    "step": 1,
    "seconds": 60.0,
    "loss": 2.0,
    "exact_accuracy": 0.0,
    "grad_norm": 1.5,
    "lr": 1e-3,
    "halt_loss": 0.7,
    "halt_accuracy": 0.5,
    "mean_segments": 2.0,
    "model_flops_per_sec": 4.2e9,
    "peak_memory_bytes": 500_000_000,
}


def test_charts_of_few_rows_are_pictures() -> None:
    validation = {"kind": "validation", "step": 1, "exact_accuracy": 0.5}
    for rows in ([], [TRAIN], [TRAIN, validation], [TRAIN] * 200):
        assert training_curves({"one": rows}).startswith("<svg")


def test_values_that_are_not_known_are_left_out() -> None:
    unknown = {**TRAIN, **dict.fromkeys(("loss", "exact_accuracy", "grad_norm", "model_flops_per_sec"))}
    rows = [TRAIN, unknown, {**TRAIN, "loss": float("nan"), "grad_norm": float("inf")}, TRAIN]
    assert training_curves({"one": [unknown]}).startswith("<svg")
    assert "gradient norm" in training_details({"one": rows})
    assert "gradient norm" not in training_details({"one": [unknown]})


def test_small_charts_are_those_of_metrics_in_the_rows() -> None:
    assert training_details({"one": []}) == ""
    assert training_details({"one": [{"kind": "train", "step": 1, "seconds": 1.0, "loss": 1.0}]}) == ""
    drawn = training_details({"one": [TRAIN, {**TRAIN, "seconds": 120.0}]})
    assert all(panel.title in drawn for panel in PANELS)
    only = training_details({"one": [{"kind": "train", "step": 1, "seconds": 1.0, "lr": 1e-3}]})
    assert [panel.title for panel in PANELS if panel.title in only] == ["learning rate"]


def test_the_same_rows_give_the_same_charts() -> None:
    rows = {"one": [{**TRAIN, "step": n, "seconds": 60.0 * n} for n in range(1, 50)]}
    assert training_curves(rows) == training_curves(rows)
    assert "mathdefault" not in training_curves(rows) + training_details(rows), "ticks are numbers, not formulas"
    assert training_details(rows) == training_details(rows)


def test_charts_of_a_long_run_are_no_larger_than_those_of_a_short_run() -> None:
    long = [{**TRAIN, "step": n, "seconds": n, "loss": 1 / n, "exact_accuracy": n / 9000} for n in range(1, 9000)]
    assert len(training_curves({"long": long})) < 60_000
    assert len(training_details({"long": long})) < 150_000
    both = training_curves({"long": long, "short": long[:100]})
    assert "long: training samples" in both
    assert "short: training samples" in both
