"""What the studio says of tasks, without a browser."""

from __future__ import annotations

from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.studio.tasks import thumbnails


def test_thumbnails_say_what_tasks_are() -> None:
    (task,) = [each for each in load_tasks("arc-agi-1/training") if each.id == "0d3d703e"]
    (shown,) = [each for each in thumbnails("arc-agi-1/training") if each["id"] == task.id]
    assert shown["input"] == "\n".join("".join(map(str, row)) for row in task.demonstrations[0].input.tolist())
    assert (shown["height"], shown["width"], shown["demonstrations"], shown["tests"]) == (3, 3, 4, 1)


def test_a_generated_game_has_thumbnails() -> None:
    (task,) = load_tasks("sudoku-4x4/test")
    assert task.demonstrations == ()
    (shown,) = thumbnails("sudoku-4x4/test")
    assert shown["input"] == "\n".join("".join(map(str, row)) for row in task.tests[0].input.tolist())
    # The answer of a board to be solved is not shown.
    assert shown["output"] is None
    assert shown["demonstrations"] == 0
