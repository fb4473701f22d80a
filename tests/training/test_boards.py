"""Training on boards of games: their variants, and what models of them have no tokens for."""

from __future__ import annotations

from pathlib import Path

import pytest

import hrm_arc
from hrm_arc import Solver
from hrm_arc.errors import UserError
from hrm_arc.evaluation.evaluate import predict_tasks
from hrm_arc.evaluation.provenance import tasks_to_score
from hrm_arc.evaluation.torch_backend import load_model
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.varied import have_symmetries
from hrm_arc.training.build import unused_options
from hrm_arc.training.recipes import load_recipe
from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_tasks


def test_a_games_boards_have_no_rows_for_their_variants(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "hrm", "--data.solve", "[sudoku-4x4]")
    with pytest.raises(UserError, match=r"--data\.boards symmetries"):
        Trainer(recipe, root=tmp_path / "runs")
    recipe = tiny_recipe(tmp_path / "tasks", "hrm", "--data.solve", "[sudoku-4x4]", "--data.augment", "0")
    trainer = Trainer(recipe, root=tmp_path / "runs")
    trainer.fit()
    backend, card = load_model(trainer.folder.path, "cpu")
    assert len(list(predict_tasks(backend, card, tasks_to_score(card, None), votes=2)))


def test_a_model_with_rows_of_variants_learns_more_boards(tmp_path: Path) -> None:
    flags = ("--data.solve", "[sudoku-4x4]", "--data.boards", "symmetries", "--training.max_steps", "1")
    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks"), "hrm", *flags), root=tmp_path / "runs")
    trainer.fit()
    solver = Solver.load(trainer.folder.path, "cpu").fit(load_tasks("sudoku-4x4:20"), seconds=0.1)
    assert solver.card.tasks == ["sudoku-4x4"]


def test_what_a_kind_of_boards_does_not_use_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    flags = ["--data.solve", "[sudoku-4x4/test:20]", "--data.repeat", "2"]
    for boards, others, unused in (
        ("fresh", ["--data.sampling", "samples"], "data.repeat, data.sampling"),
        ("fresh", ["--data.augment", "3"], "data.augment, data.repeat"),
        ("symmetries", ["--data.augment", "3", "--data.translate", "true"], "data.repeat, data.translate"),
    ):
        recipe = load_recipe("sudoku-4x4", [*flags, "--data.boards", boards, *others])
        said = f"data.boards: with '{boards}' these change nothing: {unused}"
        assert unused_options(recipe) == unused.split(", ")
        if boards == "fresh":
            caplog.clear()
            Trainer(recipe, root=tmp_path / "runs")
            assert said in caplog.messages
    assert unused_options(load_recipe("sudoku-9x9")) == []


def test_a_maze_is_never_recolored_for_a_model_that_has_no_other_colors(tmp_path: Path) -> None:
    flags = ("--data.solve", "[maze-7x7]", "--model.vocabulary", "maze", "--model.puzzle_emb", "none")
    with pytest.raises(UserError, match=r"no other colors; use 0, or --data\.boards symmetries"):
        Trainer(tiny_recipe(write_tasks(tmp_path / "tasks"), "hrm", *flags), root=tmp_path / "runs")
    more = ("--data.boards", "symmetries", "--training.max_steps", "1", "--validation.every", "0")
    trainer = Trainer(tiny_recipe(tmp_path / "tasks", "hrm", *flags, *more), root=tmp_path / "runs")
    trainer.fit()
    solver = Solver.load(trainer.folder.path, "cpu")
    predictions = solver.predict_all(load_tasks("maze-7x7:20"), votes=64)
    # Eight orientations, and no more.
    assert {prediction.limit for prediction in predictions} == {8}
    assert hrm_arc.evaluate(solver, "maze-7x7:20", votes=64)["votes"] == 8


@pytest.mark.parametrize("name", ["hrm-sudoku", "trm-sudoku", "hrm-maze", "trm-maze"])
def test_recipes_of_published_games_have_their_tokens(name: str, tmp_path: Path) -> None:
    game = "sudoku-9x9:20" if name.endswith("sudoku") else "maze-11x11:20"
    flags = [
        "--data.solve",
        f"[{game}]",
        "--model.hidden_size",
        "16",
        "--model.num_heads",
        "2",
        "--model.segments",
        "1",
    ]
    flags += ["--training.batch_size", "4", "--training.max_steps", "1", "--model.h_cycles", "1"]
    flags += ["--training.accelerator", "cpu", "--training.precision", "32-true"]
    trainer = Trainer(load_recipe(name, flags), root=tmp_path)
    assert trainer.fit()["steps"] == 1
    # The published counts: digits, blank and padding; the five signs of a maze and padding.
    assert trainer.model.embed_tokens.num_embeddings == (11 if name.endswith("sudoku") else 6)  # type: ignore[union-attr, operator]


def test_boards_of_a_game_without_known_symmetries_are_learned_as_variants(tmp_path: Path) -> None:
    # A latin square of 5 x 5 is neither a Sudoku nor a maze.
    rows = ["".join(str(1 + (row + column) % 5) for column in range(5)) for row in range(5)]
    answer = "".join(rows)
    (tmp_path / "latin.csv").write_text("question,answer\n" + "".join(f".{answer[1:]},{answer}\n" for _ in range(3)))
    tasks = load_tasks(str(tmp_path / "latin.csv"))
    assert not have_symmetries(tasks)
    assert have_symmetries(load_tasks("sudoku-4x4:20"))
    assert not have_symmetries(load_tasks("0d3d703e"))
    assert Solver.load("arc1-cpu", "cpu").fit(tasks, seconds=0.1).card.tasks == ["latin"]
