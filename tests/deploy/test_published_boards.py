"""Checkpoints of published Sudoku and Maze models, imported and scored on both published forms of their boards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hrm_arc.cli.main import main
from hrm_arc.evaluation.results import read_rows
from tests.cli.commands import answer, one_line
from tests.deploy import plain
from tests.puzzles.published import MAZE, SUDOKU, relabeled, tokens_of, write_arrays, write_csv

CELLS = {
    "sudoku": {token: str(token - 1) if token > 1 else "." for token in range(1, 11)},
    "maze": dict(enumerate("# SGo", 1)),
}
# Kind, tokens, segments, what the state dict has, and flags of the import beside the number of heads. The seeds are
# those of weights whose answers do not hang on rounding; with the MLP over positions it grows tenfold in each segment.
MODELS: dict[str, tuple[str, int, int, dict[str, int], list[str]]] = {
    "HRM on Sudoku": ("hrm", 11, 3, {"seed": 54}, []),
    "TRM MLP on Sudoku": ("trm", 11, 1, {"mixed": 81 + 16, "seed": 42}, []),
    "TRM on Maze": ("trm", 6, 3, {"seed": 42}, []),
}


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_is_imported_and_scored_on_both_forms(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, tokens, segments, shape, flags = MODELS[model]
    game = "sudoku" if tokens == 11 else "maze"
    state = plain.made_weights(kind, tokens, **shape)
    torch.save(state, tmp_path / "step_9")
    shown = [relabeled(SUDOKU, shift) for shift in range(4)] if game == "sudoku" else [MAZE] * 4
    # What the model answers, by the plain implementation: the truth of the first board to solve, not of the second.
    inputs = torch.tensor([tokens_of(question) for question, _ in shown])
    length = 1 if kind == "hrm" else 16

    def plainly(precision: torch.dtype) -> torch.Tensor:
        return plain.answer(
            *(kind, {name: each.to(precision) for name, each in state.items()}, inputs),
            torch.zeros(4, dtype=torch.long),
            heads=2,
            length=length,
            segments=segments,
            l_cycles=2,
            h_cycles=2,
        )

    logits, exact = plainly(torch.float32), plainly(torch.float64)
    first, second = exact[..., 1:].topk(2, dim=-1).values.unbind(dim=-1)
    assert (first - second).min() > 20 * (logits - exact).abs().max(), "no processor's rounding changes an answer"
    said = ["".join(CELLS[game][int(token)] for token in row) for row in logits[..., 1:].argmax(dim=-1) + 1]
    solve = [(shown[2][0], said[2].replace(".", "0")), shown[3]]
    csv = tmp_path / "csv" / game
    write_csv(csv / "train.csv", shown[:2])
    write_csv(csv / "test.csv", solve)
    dotted = [(question, answer.replace("0", ".")) for question, answer in solve]
    npy = write_arrays(tmp_path / "npy" / game, {"train": [[b] for b in shown[:2]], "test": [[b] for b in dotted]})
    sizes = ["--num-heads", "2", "--segments", segments, "--l-cycles", "2", "--h-cycles", "2"]
    done = ["import", kind, tmp_path / "step_9", *sizes, *flags, "--out", tmp_path / "run"]
    assert main([str(each) for each in done]) == 0
    assert f"vocabulary {game}" in capsys.readouterr().out
    colors = {cell: int(cell) for cell in "123456789"} | {".": 0, " ": 0, "S": 3, "G": 2, "o": 4, "#": 5}
    for number, data in enumerate((csv, npy)):
        out = tmp_path / f"scores{number}"
        scored = ("eval", tmp_path / "run", "--data", data, "--precision", "32-true", "--out", out)
        assert main([str(each) for each in scored]) == 0
        scores = json.loads((out / "scores.json").read_text())
        assert (scores["tasks"], scores["test_outputs"], scores["solved_pass1"]) == (2, 2, 1)
        assert (scores["votes"], scores["mean_segments"]) == (1, segments)
        assert scores["unseen_tasks"] == 0, "the boards of a game share row 0, as in the published training"
        for prediction, _ in read_rows(out / "predictions.jsonl"):
            assert prediction.single is not None
            assert prediction.single.reshape(-1).tolist() == [colors[cell] for cell in said[2 + prediction.test]]


def test_a_checkpoint_of_a_game_in_processes_of_its_own(tmp_path: Path) -> None:
    torch.save(plain.made_weights("hrm", 11), tmp_path / "step_9")
    done = answer("import", "hrm", tmp_path / "step_9", "--num-heads", "2", "--out", tmp_path / "run")
    assert done["options"]["vocabulary"] == "sudoku"  # type: ignore[index]
    write_csv(tmp_path / "sudoku" / "train.csv", [SUDOKU])
    write_csv(tmp_path / "sudoku" / "test.csv", [SUDOKU])
    scores = answer("eval", tmp_path / "run", "--data", tmp_path / "sudoku", "--votes", "16", "--out", tmp_path / "out")
    assert (scores["test_outputs"], scores["votes"]) == (1, 16)
    assert scores["baselines"]["copy_input"]["exact_accuracy"] == 0  # type: ignore[index]


def test_more_votes_than_a_maze_has_orientations_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(plain.made_weights("trm", 6), tmp_path / "step_9")
    assert (
        main([str(a) for a in ("import", "trm", tmp_path / "step_9", "--num-heads", "2", "--out", tmp_path / "run")])
        == 0
    )
    capsys.readouterr()
    write_csv(tmp_path / "maze" / "train.csv", [MAZE])
    write_csv(tmp_path / "maze" / "test.csv", [MAZE])
    said = one_line(capsys, "eval", tmp_path / "run", "--data", tmp_path / "maze", "--votes", "9")
    assert "--votes: 9" in said
    assert "8 orientations" in said
    said = one_line(capsys, "validate", tmp_path / "run", "--data", tmp_path / "maze", "--augment", "3")
    assert "--augment: 3" in said
    assert "no other colors" in said
