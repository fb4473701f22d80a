"""Files as the published builders of Sudoku-Extreme and Maze-Hard leave them, written out by hand for the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

# A board of each game and its solution, as in the rows of the public CSV files.
SUDOKU = (
    "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
    "534678912672195348198342567859761423426853791713924856961537284287419635345286179",
)
MAZE = ("S #G" + "  # " + "#   " + "####", "So#G" + " o#o" + "#ooo" + "####")
# Tokens of the published sets, from the rules of their builders: a blank is 1 and digit d is d + 1; of a maze, the
# characters of "# SGo" are 1 to 5. Padding is 0 and does not occur.
SUDOKU_TOKENS = {".": 1, **{str(digit): digit + 1 for digit in range(1, 10)}}
MAZE_TOKENS = {"#": 1, " ": 2, "S": 3, "G": 4, "o": 5}

Boards = Sequence[Sequence[tuple[str, str]]]


def tokens_of(cells: str) -> list[int]:
    """The published tokens of a board in the characters of its CSV file."""
    return [(SUDOKU_TOKENS if cells[0] in SUDOKU_TOKENS else MAZE_TOKENS)[cell] for cell in cells]


def write_csv(file: Path, boards: Sequence[tuple[str, str]]) -> Path:
    """A CSV file with the columns of the public data sets."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"made,{question},{answer},{number}" for number, (question, answer) in enumerate(boards)]
    file.write_text("\n".join(["source,question,answer,rating", *rows, ""]))
    return file


def write_arrays(folder: Path, parts: Mapping[str, Boards]) -> Path:
    """A folder of arrays: for each split one group a board, and in each group the board and then its variants."""
    for split, groups in parts.items():
        place = folder / split
        place.mkdir(parents=True)
        pairs = [pair for group in groups for pair in group]
        vocabulary = 11 if pairs[0][0][0] in SUDOKU_TOKENS else 6
        arrays = {
            "inputs": np.array([tokens_of(question) for question, _ in pairs], dtype=np.uint8),
            "labels": np.array([tokens_of(answer) for _, answer in pairs], dtype=np.uint8),
            "puzzle_identifiers": np.zeros(len(pairs), dtype=np.int32),
            "puzzle_indices": np.arange(len(pairs) + 1, dtype=np.int32),
            "group_indices": np.cumsum([0, *map(len, groups)]).astype(np.int32),
        }
        for name, array in arrays.items():
            np.save(place / f"all__{name}.npy", array)
        card = {
            "seq_len": len(pairs[0][0]),
            "vocab_size": vocabulary,
            "pad_id": 0,
            "ignore_label_id": 0,
            "blank_identifier_id": 0,
            "num_puzzle_identifiers": 1,
            "total_groups": len(groups),
            "mean_puzzle_examples": 1,
            "sets": ["all"],
        }
        (place / "dataset.json").write_text(json.dumps(card))
    (folder / "identifiers.json").write_text('["<blank>"]')
    return folder


def relabeled(board: tuple[str, str], shift: int) -> tuple[str, str]:
    """A Sudoku with every digit d replaced by the one ``shift`` further: a variant as the published builder makes."""
    moved = {str(digit): str((digit - 1 + shift) % 9 + 1) for digit in range(1, 10)}
    question, answer = ("".join(moved.get(cell, cell) for cell in cells) for cells in board)
    return question, answer
