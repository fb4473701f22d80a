"""What views say of runs: exact match, outlook, validations, grids in any width."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from hrm_arc.cli.show import has_blocks, result_console
from hrm_arc.files import sealed_row
from hrm_arc.puzzles.task import Task
from hrm_arc.report.charts import _draw_exact
from hrm_arc.report.grids import terminal_answer, terminal_task
from hrm_arc.report.listing import run_rows
from hrm_arc.report.outlook import outlook
from hrm_arc.report.page import environment
from hrm_arc.report.watch import MetricsFollower
from tests.made import made_run


def test_the_list_shows_exact_match_whatever_the_best_was_chosen_by(tmp_path: Path) -> None:
    best = {"score": 0.7121, "token_accuracy": 0.7121, "exact_accuracy": 0.0, "step": 4, "loss": 1.0}
    made_run(tmp_path / "log", {"state": "finished", "current_step": 4, "best": best})
    (row,) = run_rows(tmp_path)
    assert row["best"] == 0.0


def training(losses: list[float], exact: float = 0.1) -> list[dict[str, Any]]:
    return [
        {"kind": "train", "step": n, "loss": loss, "exact_accuracy": exact} for n, loss in enumerate(losses, start=1)
    ]


def validation(step: int, exact: float, full: bool) -> dict[str, Any]:
    return {"kind": "validation", "step": step, "exact_accuracy": exact, "full": full}


def test_a_loss_that_rises_is_not_flat() -> None:
    rising = training(np.linspace(0.12, 2.1, 40).tolist())
    assert outlook(rising, {})[0].startswith(
        "getting worse: since step 31 the mean training loss is 1.87, before it was"
    )
    assert outlook(rising[::-1], {})[0].startswith("still rising")
    assert outlook(training([1.0] * 40), {})[0].startswith("flat since step 1")


def test_fast_and_full_validations_are_not_compared() -> None:
    rows = training([1.0] * 40)
    for step, fast, full in ((500, 0.20, 0.17), (1000, 0.31, 0.26), (1500, 0.30, 0.27)):
        rows += [validation(step, fast, False), validation(step, full, True)]
    assert "held-out exact match is still at its highest, 27.0%, at step 1,500" in outlook(rows, {})
    nothing = training([1.0] * 40) + [validation(step, 0.0, True) for step in (5, 10, 15)]
    assert "held-out exact match is still 0, at step 15" in outlook(nothing, {})


def test_a_full_validation_of_a_known_step_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(sealed_row(validation(5, 0.2, False)))
    follower = MetricsFollower(path)
    assert len(follower.rows()) == 1
    with path.open("a") as file:
        file.write(sealed_row(validation(5, 0.1, True)))
    assert [row["full"] for row in follower.rows()] == [False, True]
    assert len(follower.rows()) == 2


def test_validations_between_two_rows_of_training_are_drawn() -> None:
    axes = Figure().subplots()
    rows = [{"kind": "train", "step": n, "seconds": 6.0 * n, "exact_accuracy": 0.1} for n in (10, 20, 30)]
    _draw_exact(axes, [*rows, *(validation(step, 0.5, False) for step in (10, 15, 25))], "r", "g", "")
    held_out = axes.lines[-1]
    assert held_out.get_xdata().tolist() == [1.0, 1.5, 2.5]
    assert list(held_out.get_ydata()) == [0.5, 0.5, 0.5]


WIDE = Task.from_lists("wide", [([[1] * 30], [[2] * 30])], [([[3] * 30], [[4] * 30])])


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_grid_is_cut_by_a_narrow_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(terminal_task(WIDE, answers=True, color=False, width=console.width))
    attempts = [(np.full((1, 30), 5, dtype=np.uint8), "60% of the votes")]
    console.print(terminal_answer("wide", WIDE.tests[0].input, attempts, color=False, width=console.width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert all(str(color) * 30 in text for color in range(1, 6))


def test_without_color_grids_are_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_blocks(Console(force_terminal=True, color_system="truecolor"))
    monkeypatch.delenv("NO_COLOR")
    assert has_blocks(
        Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"), force_terminal=True, color_system="truecolor")
    )


def test_only_a_terminal_and_columns_have_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert result_console().width >= 1000
    monkeypatch.setenv("COLUMNS", "60")
    assert result_console().width == 60


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_mark_of_a_share_lies_on_its_bar(share: float) -> None:
    """A mark at the end of the bar would not be drawn, and all solved looked like none."""
    drawn = str(environment().get_template("parts.html").module.bar(share, share, share))  # type: ignore[attr-defined]
    (mark,) = re.findall(r'class="point" x="([\d.]+)" width="([\d.]+)"', drawn)
    left, width = map(float, mark)
    assert 0 <= left <= left + width <= 100
    assert abs(left + width / 2 - 100 * share) <= 0.36
