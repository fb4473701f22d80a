"""Training that goes on from imported checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from hrm_arc.deploy.importing import import_checkpoint
from hrm_arc.runs.checkpoint import WEIGHTS, newest_checkpoint, read_card, read_tensors
from hrm_arc.training.recipes import load_recipe
from tests.cli.commands import answer, one_line
from tests.deploy import plain
from tests.made import write_tasks
from tests.puzzles.published import SUDOKU, relabeled, write_csv

NAMES = ["<blank>", "flip0", "flip0_t3_0481963275", "other"]
# Nothing moves, so what a run has at its end is what it began with.
STILL = [f"--optimizer.{key}=0" for key in ("lr", "matrix_lr", "puzzle_emb_lr", "weight_decay", "ema")]
SHORT = ["--training.max_steps=2", "--training.batch_size=4", "--training.accelerator=cpu", "--schedule.warmup_steps=0"]


def imported(
    folder: Path, kind: str, tokens: int, rows: int, variants: bool = False
) -> tuple[Path, dict[str, torch.Tensor]]:
    state = plain.made_weights(kind, tokens, rows=rows)
    torch.save(state, folder / "step_1")
    names = folder / "identifiers.json"
    names.write_text(json.dumps(NAMES if rows > 1 else ["<blank>"]))
    options = {"num_heads": 2, "segments": 2}
    import_checkpoint(kind, folder / "step_1", folder / "imported", names, options, variants)
    return folder / "imported", state


def recipe_file(folder: Path, source: Path, **data: object) -> Path:
    file = folder / "mine.yaml"
    model = {"name": "grid-hrm", "hidden_size": 64}
    file.write_text(yaml.safe_dump({"name": "mine", "model": model, "data": {"solve": [str(source)], **data}}))
    return file


@pytest.mark.parametrize("variants", [False, True], ids=["originals", "variants"])
def test_a_run_begins_with_the_weights_and_rows_of_an_import(tmp_path: Path, variants: bool) -> None:
    start, state = imported(tmp_path, "hrm", 12, 4, variants)
    tasks = write_tasks(tmp_path / "tasks", count=2)
    recipe = recipe_file(tmp_path, tasks, augment=2)
    done = answer(
        "train", recipe, "--init-from", start, "--optimizer-of", "hrm", *STILL, *SHORT, "--out", tmp_path / "runs"
    )
    run = newest_checkpoint(Path(str(done["folder"])))
    card, weights = read_card(run), read_tensors(run, WEIGHTS)
    assert (card.model, card.options["hidden_size"], card.variants) == ("hrm", 16, 3)
    assert (card.canvas, card.goes_back_to_import, card.imported) == ("full", True, False)
    for name in ("H_level.layers.0.self_attn.qkv_proj.weight", "lm_head.weight", "L_init"):
        assert torch.equal(weights[name], state[f"_orig_mod.model.inner.{name}"])
    table, rows = state["_orig_mod.model.inner.puzzle_emb.weights"], weights["puzzle_emb.weights"]
    assert card.tasks == ["flip0", "flip1"]
    assert torch.equal(rows[0], table[0])
    assert torch.equal(rows[1:4], table[1].expand(3, -1)), "a known task begins with the row of its original"
    assert not torch.equal(rows[4], table[1])


def test_settings_of_a_published_recipe_are_taken_by_name(tmp_path: Path) -> None:
    start, _ = imported(tmp_path, "trm", 12, 4)
    tasks = write_tasks(tmp_path / "tasks", count=1)
    recipe = recipe_file(tmp_path, tasks)
    flags = ["--training.max_steps=1", "--training.batch_size=2", "--optimizer.lr=3e-5", "--training.accelerator=cpu"]
    done = answer("train", recipe, "--init-from", start, "--optimizer-of", "trm", *flags, "--out", tmp_path / "runs")
    written = load_recipe(Path(str(done["folder"])) / "config.yaml")
    published = load_recipe("trm")
    assert written.optimizer.lr == 3e-5, "a flag wins"
    assert (written.optimizer.puzzle_emb_lr, written.optimizer.ema) == (1e-2, 0.999)
    assert (written.loss, written.halting, written.schedule) == (published.loss, published.halting, published.schedule)
    assert written.model["name"] == "trm"
    assert (written.data.augment, written.name) == (load_recipe(str(recipe)).data.augment, "mine")


def test_a_published_game_goes_on(tmp_path: Path) -> None:
    start, state = imported(tmp_path, "hrm", 11, 1)
    game = tmp_path / "sudoku"
    write_csv(game / "train.csv", [relabeled(SUDOKU, shift) for shift in range(4)])
    write_csv(game / "test.csv", [relabeled(SUDOKU, 5)])
    recipe = recipe_file(tmp_path, game, augment=0)
    flags = ["--init-from", str(start), "--optimizer-of", "hrm", *SHORT, "--optimizer.lr=1e-2"]
    done = answer("train", recipe, *flags, "--out", tmp_path / "runs")
    run = newest_checkpoint(Path(str(done["folder"])))
    weights = read_tensors(run, WEIGHTS)
    assert read_card(run).options["vocabulary"] == "sudoku"
    moved = weights["embed_tokens.weight"] - state["_orig_mod.model.inner.embed_tokens.embedding_weight"]
    assert moved.shape == (11, 16)
    assert moved.isfinite().all()
    assert moved[1:].abs().max() > 0
    scores = answer("eval", str(done["folder"]), "--votes", "1")
    assert scores["test_outputs"] == 1
    assert any("began with an imported checkpoint" in str(line) for line in scores["warnings"])  # type: ignore[attr-defined]


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such recipe" in one_line(capsys, "train", "quickstart", "--optimizer-of", "nothing-of-that-name")
    said = one_line(capsys, "train", "--resume", tmp_path, "--optimizer-of", "hrm")
    assert "--optimizer-of: is for a new run" in said
