"""Export of imported checkpoints without a source: tasks of the program's own choice, named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hrm_arc.cli.main import main
from hrm_arc.deploy.importing import import_checkpoint
from hrm_arc.deploy.runtime import OnnxBackend
from hrm_arc.evaluation.provenance import tasks_to_compare
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.runs.checkpoint import newest_checkpoint, read_card
from tests.deploy import plain

SMALL = {"num_heads": 2, "segments": 2, "h_cycles": 1, "l_cycles": 1}


def imported(folder: Path, kind: str, tokens: int, names: list[str] | None = None, **shape: Any) -> Path:
    torch.save(plain.made_weights(kind, tokens, rows=len(names or [""]), **shape), folder / "step_1")
    identifiers = None
    if names:
        identifiers = folder / "identifiers.json"
        identifiers.write_text(str(names).replace("'", '"'))
    import_checkpoint(kind, folder / "step_1", folder / "run", identifiers, SMALL)
    return folder / "run"


@pytest.mark.parametrize(
    ("kind", "tokens", "shape", "source"),
    [
        ("hrm", 11, {}, "sudoku-9x9:10"),
        ("trm", 11, {"mixed": 97}, "sudoku-9x9:10"),
        ("trm", 6, {}, "maze-30x30:10"),
        ("trm", 6, {"mixed": 241}, "maze-15x15:10"),
    ],
)
def test_a_game_is_compared_on_generated_boards(
    tmp_path: Path, kind: str, tokens: int, shape: dict[str, Any], source: str
) -> None:
    card = read_card(newest_checkpoint(imported(tmp_path, kind, tokens, **shape)))
    tasks, chosen = tasks_to_compare(card, None)
    assert chosen.startswith(f"{source}: generated boards")
    assert tasks == load_tasks(source)
    assert tasks_to_compare(card, "sudoku-4x4:5")[1] == "sudoku-4x4:5", "a source that is named is taken"


def test_tasks_with_a_row_come_first(tmp_path: Path) -> None:
    known = [task.id for task in load_tasks("arc-agi-1/evaluation")][300:302]
    card = read_card(newest_checkpoint(imported(tmp_path, "hrm", 12, ["<blank>", *known])))
    tasks, chosen = tasks_to_compare(card, None)
    assert [task.id for task in tasks[:2]] == known
    assert len(tasks) == 10
    assert all(task.id in chosen for task in tasks)


def test_an_import_is_exported_without_a_source_and_says_on_what_it_was_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = imported(tmp_path, "trm", 11, mixed=97)
    file = tmp_path / "model.onnx"
    assert main([str(each) for each in ("export", run, "--out", file, "--samples", "20")]) == 0
    printed = capsys.readouterr()
    assert "compared on sudoku-9x9:10: generated boards, chosen because the checkpoint was imported" in " ".join(
        printed.out.split()
    )
    other = OnnxBackend(file)
    assert other.exported.canvas == (9, 9)
    assert other.early_exit is False, "as in torch, an imported model runs every segment"
