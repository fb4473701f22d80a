"""Published games: their counts, their variants and their tokens, on files written by hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles.build import BuildConfig, build
from hrm_arc.puzzles.check import check
from hrm_arc.puzzles.sources import load_corpus, load_tasks
from tests.cli.commands import answer, hrm
from tests.puzzles.published import (
    MAZE,
    SUDOKU,
    relabeled,
    tokens_of,
    write_arrays,
    write_csv,
)

BOARDS = [relabeled(SUDOKU, shift) for shift in range(8)]


def sizes(source: object) -> tuple[int, int]:
    (game,) = load_tasks(str(source))
    assert game.boards
    return len(game.demonstrations), len(game.tests)


def both_forms(folder: Path) -> list[Path]:
    """Six boards to train on and two to solve, as CSV files and as arrays."""
    write_csv(folder / "csv" / "train.csv", BOARDS[:6])
    write_csv(folder / "csv" / "test.csv", BOARDS[6:])
    parts = {"train": [[board] for board in BOARDS[:6]], "test": [[board] for board in BOARDS[6:]]}
    return [folder / "csv", write_arrays(folder / "npy", parts)]


def test_both_forms_are_the_same_boards(tmp_path: Path) -> None:
    csv, npy = ((load_tasks(str(path)))[0] for path in both_forms(tmp_path))
    for one, two in ((csv.demonstrations, npy.demonstrations), (csv.tests, npy.tests)):
        assert [pair.input.tolist() for pair in one] == [pair.input.tolist() for pair in two]
        assert [pair.output.tolist() for pair in one] == [pair.output.tolist() for pair in two]  # type: ignore[union-attr]
    assert csv.demonstrations[0].input[0].tolist() == [5, 3, 0, 0, 7, 0, 0, 0, 0]


def test_a_count_cuts_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    csv, npy = both_forms(tmp_path)
    for source in (csv, csv / "train.csv", npy):
        assert sizes(source) == (6, 2)
        assert sizes(f"{source}:2") == (2, 2), source
        assert sizes(f"{source}:99") == (6, 2), source
        assert sizes(f"{source}:3:1") == (3, 1), source
    # The file that is named is cut, and there is no other.
    assert sizes(f"{csv / 'test.csv'}:2") == (1, 1)
    for refused, what in (
        (f"{csv / 'test.csv'}:2:1", "no test.csv beside it"),
        (f"{csv}:2:0", "0 boards, expected at least 1"),
        ("sudoku-4x4:20:2", "has a second number"),
        ("arc-agi-1:20:2", "a count is for the boards of a game"),
    ):
        with pytest.raises(UserError, match=what):
            load_tasks(refused)


@pytest.mark.parametrize("count", ["", ":2", ":3:1"])
@pytest.mark.parametrize("form", [0, 1], ids=["csv", "npy"])
def test_check_and_info_count_the_same(tmp_path: Path, form: int, count: str) -> None:
    source = f"{both_forms(tmp_path)[form]}{count}"
    checked, counted = answer("data", "check", source), answer("data", "info", source)
    assert checked["problems"] == []
    for key in ("tasks", "train_boards", "test_boards"):
        assert checked[key] == counted[key]
    assert (counted["train_boards"], counted["test_boards"]) == sizes(source)
    assert (counted["train_samples"], counted["test_samples"]) == sizes(source)


def test_files_beside_a_source_are_checked_and_counted_apart(tmp_path: Path) -> None:
    csv, _ = both_forms(tmp_path)
    write_csv(csv / "more.csv", BOARDS)
    checked = check([str(csv)])
    assert (checked.files, len(checked.tasks), checked.in_source) == (3, 2, 1)
    assert (answer("data", "check", csv)["tasks"], answer("data", "info", csv)["tasks"]) == (1, 1)


def test_variants_of_boards_are_used_on_request_and_never_left_out_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    groups = [[board, relabeled(board, 3), relabeled(board, 5)] for board in BOARDS[:2]]
    path = write_arrays(tmp_path / "sudoku-aug", {"train": groups, "test": [[BOARDS[7]]]})
    with caplog.at_level(logging.WARNING):
        assert sizes(path) == (2, 1)
    assert f"{path}: 4 variants of its boards in train are left out; {path}/variants has them, too" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert sizes(f"{path}/variants") == (6, 1)
    assert "left out" not in caplog.text
    assert sizes(f"{path}/variants:1") == (3, 1), "a board with its variants"
    (game,) = load_tasks(f"{path}/variants")
    wanted = [board[0] for group in groups for board in group]
    read = ["".join("." if cell == 0 else str(cell) for cell in pair.input.flat) for pair in game.demonstrations]
    assert read == wanted
    assert "4 variants" in hrm("data", "info", path).stderr
    # Without boards in test the last one is held out, and with it its variants, which have its solution.
    alone = write_arrays(tmp_path / "sudoku-train", {"train": groups})
    (game,) = load_tasks(f"{alone}/variants")
    assert [len(part) for part in (game.demonstrations, game.tests)] == [3, 1]
    held_out = ["".join("." if cell == 0 else str(cell) for cell in game.tests[0].input.flat)]
    assert held_out == [BOARDS[1][0]]


def test_check_refuses_what_loading_refuses(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "sudoku-train", {"train": [[BOARDS[0]], [BOARDS[1]]]})
    for source in (f"{path}/training",):
        with pytest.raises(UserError, match="no training tasks"):
            load_tasks(source)
        (problem,) = check([source]).problems
        assert "no training tasks" in str(problem)


@pytest.mark.parametrize("form", ["HRM", "TRM"])
def test_variants_of_tasks_are_refused_by_name(tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture) -> None:
    variant = "aaaa_t3_0481963275" if form == "HRM" else "aaaa|||t3|||0481963275"
    path = write_arrays(tmp_path / form, {"train": [[MAZE, MAZE], [MAZE]]})
    # Tasks have 12 tokens: the colors 0 to 9 are 2 to 11.
    for name, array in (("inputs", np.full((3, 16), 5)), ("labels", np.full((3, 16), 7))):
        np.save(path / "train" / f"all__{name}.npy", array.astype(np.uint8))
    np.save(path / "train" / "all__puzzle_identifiers.npy", np.array([1, 2, 3], dtype=np.int32))
    card = json.loads((path / "train" / "dataset.json").read_text())
    (path / "train" / "dataset.json").write_text(json.dumps({**card, "vocab_size": 12}))
    (path / "identifiers.json").write_text(json.dumps(["<blank>", "aaaa", variant, "bbbb"]))
    with caplog.at_level(logging.WARNING):
        assert [task.id for task in load_tasks(str(path))] == ["aaaa", "bbbb"]
    assert f"1 variants of its tasks in train are left out, the first of them {variant}" in caplog.text
    with pytest.raises(UserError, match="variants of tasks are not read as tasks"):
        load_tasks(f"{path}/variants")


@pytest.mark.parametrize(("board", "vocabulary"), [(SUDOKU, 11), (MAZE, 6)], ids=["sudoku", "maze"])
def test_a_build_has_the_published_tokens(tmp_path: Path, board: tuple[str, str], vocabulary: int) -> None:
    write_csv(tmp_path / "game" / "train.csv", [board])
    write_csv(tmp_path / "game" / "test.csv", [board])
    source = str(tmp_path / "game")
    build(load_corpus([source]), BuildConfig((source,), augment=0), tmp_path / "set", workers=1)
    for split in ("train", "test"):
        card = json.loads((tmp_path / "set" / split / "dataset.json").read_text())
        assert (card["seq_len"], card["vocab_size"]) == (len(board[0]), vocabulary)
        assert (card["pad_id"], card["ignore_label_id"], card["num_puzzle_identifiers"]) == (0, 0, 1)
        for name, cells in zip(("inputs", "labels"), board, strict=True):
            array = np.load(tmp_path / "set" / split / f"all__{name}.npy")
            assert array.tolist() == [tokens_of(cells)]
    (game,), (again,) = load_tasks(source), load_tasks(str(tmp_path / "set"))
    assert game.demonstrations[0].input.tolist() == again.demonstrations[0].input.tolist()


def test_variants_of_a_sudoku_have_published_tokens_too(tmp_path: Path) -> None:
    write_csv(tmp_path / "game" / "train.csv", BOARDS[:2])
    write_csv(tmp_path / "game" / "test.csv", BOARDS[2:3])
    source = str(tmp_path / "game")
    build(load_corpus([source]), BuildConfig((source,), augment=5), tmp_path / "set", workers=1)
    inputs = np.load(tmp_path / "set" / "train" / "all__inputs.npy")
    labels = np.load(tmp_path / "set" / "train" / "all__labels.npy")
    assert len(inputs) == 12
    assert set(np.unique(inputs)) == set(range(1, 11))
    assert (np.sort(labels.reshape(-1, 9, 9), axis=2) == np.arange(2, 11)).all(), "every row is solved"
    # A blank is not a digit of a variant: each variant has the blanks of its board in number.
    assert set((inputs == 1).sum(axis=1)) == {51}


def test_boards_that_are_of_neither_game_keep_the_twelve_tokens(tmp_path: Path) -> None:
    write_csv(tmp_path / "game" / "train.csv", [("1111", "2222")])
    write_csv(tmp_path / "game" / "test.csv", [("1111", "3333")])
    source = str(tmp_path / "game")
    build(load_corpus([source]), BuildConfig((source,), augment=0), tmp_path / "set", workers=1)
    assert json.loads((tmp_path / "set" / "train" / "dataset.json").read_text())["vocab_size"] == 12
    assert np.load(tmp_path / "set" / "train" / "all__inputs.npy").tolist() == [[3] * 4]
