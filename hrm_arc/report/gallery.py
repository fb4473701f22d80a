"""The gallery of a page: pictures of each test output with captions, and the values that it is filtered by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hrm_arc.puzzles.task import ATTEMPTS, Grid, make_grid
from hrm_arc.report.grids import svg

NAMES = ("solved", "not solved", "answer not known")
_STYLES = dict(zip(NAMES, ("solved", "unsolved", "unknown"), strict=True))

# A picture as SVG, and its caption.
Figure = tuple[str, str]


def answer(row: dict[str, Any]) -> dict[str, Any]:
    """A row of predictions.jsonl as pictures of its input, truth, attempts and refinement."""
    outcome = outcome_of(row)
    return {
        **filters(row),
        "outcome": outcome,
        "style": _STYLES[outcome],
        "pictures": [*input_and_truth(row), *attempts(row)],
        "strip": list(_strip(row)),
        "demonstrations": [
            (svg(make_grid(grid)), f"demonstration {n}: {name}")
            for n, pair in enumerate(row["demonstrations"], start=1)
            for name, grid in zip(("input", "output"), pair, strict=True)
        ],
    }


def filters(row: dict[str, Any]) -> dict[str, Any]:
    """The values that a test output is filtered by."""
    return {"task": row["task"], "test": row["test"] + 1, "error": row["error"], "groups": row["groups"]}


def outcome_of(row: dict[str, Any]) -> str:
    """One of ``NAMES``."""
    if row["truth"] is None:
        return NAMES[2]
    return NAMES[0] if row["solved"] else NAMES[1]


def input_and_truth(row: dict[str, Any]) -> Iterator[Figure]:
    """The input, and the truth if it is known."""
    yield svg(make_grid(row["input"])), "input"
    if row["truth"] is not None:
        yield svg(make_grid(row["truth"])), "truth"


def attempts(row: dict[str, Any], whose: str = "attempt") -> Iterator[Figure]:
    """The attempts; if there is none, a caption that says so."""
    total = sum(candidate["votes"] for candidate in row["candidates"])
    for number, candidate in enumerate(row["candidates"][:ATTEMPTS], start=1):
        share = f"{candidate['votes'] / total:.0%} of the votes"
        yield _compared(row, candidate["grid"], f"{whose} {number}: {share}, ")
    if not row["candidates"]:
        yield "", f"{whose}: no readable grid"


def _strip(row: dict[str, Any]) -> Iterator[Figure]:
    """The answer after each segment; consecutive segments with the same answer share one picture."""
    if sum(count for _, count in row["refinement"]) < 2:
        return
    before = 0
    for grid, count in row["refinement"]:
        first, before = before + 1, before + count
        name = f"segment {first}: " if count == 1 else f"segments {first} to {before}: "
        yield ("", f"{name}no readable grid") if grid is None else _compared(row, grid, name)


def _compared(row: dict[str, Any], values: list[list[int]], name: str) -> Figure:
    grid = make_grid(values)
    verdict, wrong = compared(grid, None if row["truth"] is None else make_grid(row["truth"]))
    return svg(grid, wrong), f"{name}{verdict}"


def compared(answer: Grid, truth: Grid | None) -> tuple[str, np.ndarray | None]:
    """How an answer differs from the truth, in words, and a mask ``[height, width]`` of its wrong cells.

    There is no mask where the truth is not known or has another size.
    """
    if truth is None:
        return "answer not known", None
    if answer.shape != truth.shape:
        return f"{_size(answer)}, should be {_size(truth)}", None
    wrong = answer != truth
    off = int(np.count_nonzero(wrong))
    return f"{off} of {truth.size} cells wrong" if off else "right", wrong


def _size(grid: Grid) -> str:
    return f"{grid.shape[0]} x {grid.shape[1]}"
