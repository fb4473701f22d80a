"""Breakdown of scores: by group of tasks, and wrong answers by kind of error.

The groups of a task are computed from its demonstrations only, so they are known without its answers. A task is
in several groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hrm_arc.evaluation.bootstrap import ratio_interval
from hrm_arc.evaluation.prediction import Prediction, by_key
from hrm_arc.evaluation.scores import same
from hrm_arc.puzzles.symmetry import DIHEDRALS, turn
from hrm_arc.puzzles.task import Grid, Task

# Demonstrations as (input, output).
Shown = list[tuple[Grid, Grid]]


def same_size(shown: Shown) -> bool:
    """Every output has its input's size."""
    return all(a.shape == b.shape for a, b in shown)


def shrinking(shown: Shown) -> bool:
    """Every output has fewer cells than its input."""
    return all(b.size < a.size for a, b in shown)


def growing(shown: Shown) -> bool:
    """Every output has more cells than its input."""
    return all(b.size > a.size for a, b in shown)


def tiling_or_scaling(shown: Shown) -> bool:
    """Every output's sides are whole multiples of its input's, and not the same."""
    return all(a.shape != b.shape and b.shape[0] % a.shape[0] == 0 and b.shape[1] % a.shape[1] == 0 for a, b in shown)


def recoloring_only(shown: Shown) -> bool:
    """Every output has its input's size, and the background is unchanged: only other cells change color."""
    return same_size(shown) and all(np.array_equal(a == background(a), b == background(a)) for a, b in shown)


def cropping(shown: Shown) -> bool:
    """Every output is a rectangle of its input, and smaller than it."""
    return shrinking(shown) and all(_is_cut_from(b, a) for a, b in shown)


def symmetry(shown: Shown) -> bool:
    """Every output is its input rotated or reflected, or is symmetric itself."""
    return all(
        any(np.array_equal(turn(a, d), b) for d in range(1, DIHEDRALS))
        or (b.size > 1 and any(np.array_equal(turn(b, d), b) for d in range(1, DIHEDRALS)))
        for a, b in shown
    )


def objects_moved(shown: Shown) -> bool:
    """Every output has its input's size and as many cells of each color, but at other places."""
    return same_size(shown) and all(
        not np.array_equal(a, b)
        and np.array_equal(np.bincount(a.flat, minlength=10), np.bincount(b.flat, minlength=10))
        for a, b in shown
    )


def counts(shown: Shown) -> bool:
    """Every output is a single row, column or cell, and smaller than its input: a number or a list."""
    return shrinking(shown) and all(min(b.shape) == 1 for _, b in shown)


def background(grid: Grid) -> int:
    """The most frequent color of a grid; the lowest if there are several."""
    return int(np.bincount(grid.reshape(-1), minlength=10).argmax())


RULES: dict[str, Callable[[Shown], bool]] = {
    "same size": same_size,
    "shrinking": shrinking,
    "growing": growing,
    "tiling or scaling": tiling_or_scaling,
    "recoloring only": recoloring_only,
    "cropping": cropping,
    "symmetry": symmetry,
    "objects moved": objects_moved,
    "counts": counts,
}


def groups(task: Task) -> list[str]:
    """The groups of a task.

    Beside ``RULES``: ``other sizes``, where the outputs do not all keep, all reduce or all increase the size;
    ranges of the number of colors, of cells of the largest grid, and of demonstrations; and the group that the
    source gives it, such as its concept in ConceptARC. Boards to be solved may have no demonstrations, and then no
    group that is found by them.
    """
    shown = [(pair.input, pair.output) for pair in task.demonstrations if pair.output is not None]
    found = [name for name, rule in RULES.items() if shown and rule(shown)]
    if shown and not {"same size", "shrinking", "growing"} & set(found):
        found.append("other sizes")
    visible = task.visible_grids()
    colors = len(np.unique(np.concatenate([grid.reshape(-1) for grid in visible])))
    largest = max(grid.size for grid in visible)
    found.append(_band("colors", colors, (3, 5)))
    found.append(_band("cells", largest, (100, 225)))
    if shown:
        found.append(_band("demonstrations", len(task.demonstrations), (2, 3)))
    return [*found, *([f"concept {task.group}"] if task.group else [])]


def error_kind(answer: Grid | None, truth: Grid, input: Grid) -> str:
    """The kind of error of an answer, or ``right``.

    The first that applies: ``no readable grid``; ``copy of the input``; ``wrong size``; ``one color``, where the
    truth has several; ``wrong colors in the right shape``, where an exchange of colors gives the truth; else a
    range of the number of wrong cells.
    """
    if answer is None or not answer.size:
        return "no readable grid"
    if same(answer, truth):
        return "right"
    if same(answer, input):
        return "copy of the input"
    if answer.shape != truth.shape:
        return "wrong size"
    if len(np.unique(answer)) == 1 and len(np.unique(truth)) > 1:
        return "one color"
    pairs = np.unique(np.stack([answer.reshape(-1), truth.reshape(-1)]), axis=1)
    if all(len(np.unique(side)) == pairs.shape[1] for side in pairs):
        return "wrong colors in the right shape"
    off = int((answer != truth).sum())
    if off <= 2:
        return "1 or 2 cells off"
    return "up to a tenth of the cells off" if off <= truth.size / 10 else "more than a tenth of the cells off"


def breakdown(tasks: Sequence[Task], predictions: Sequence[Prediction], seed: int = 0) -> dict[str, Any]:
    """Scores by group, and wrong answers by kind.

    Args:
        tasks: with their answers, as far as they are known.
        predictions: of the tasks' test outputs; a missing one counts as no readable grid.
        seed: of the bootstrap.

    Returns:
        ``groups``: rows of ``group``, ``tasks``, ``test_outputs``, ``solved`` (in two attempts), ``pass@2`` and
        its 95% ``interval`` (bootstrap over tasks), the largest group first;
        ``errors``: the first attempts at the test outputs that two attempts did not solve, as rows of ``kind``,
        ``count`` and ``share``, the most frequent kind first.
    """
    given = by_key(predictions)
    by_group: dict[str, list[list[bool]]] = {}
    kinds: dict[str, int] = {}
    for task in tasks:
        solved = []
        for number, test in enumerate(task.tests):
            if test.output is None:
                continue
            prediction = given.get((task.id, number))
            attempts = prediction.attempts() if prediction else []
            solved.append(any(same(attempt, test.output) for attempt in attempts))
            if not solved[-1]:
                kind = error_kind(attempts[0] if attempts else None, test.output, test.input)
                kinds[kind] = kinds.get(kind, 0) + 1
        # Each board of a game counts as a task, as in the scores.
        members = [[each] for each in solved] if task.boards else [solved]
        for group in groups(task) if solved else ():
            by_group.setdefault(group, []).extend(members)
    wrong = sum(kinds.values())
    rows = [_group_row(group, members, seed) for group, members in by_group.items()]
    return {
        "groups": sorted(rows, key=lambda row: (-row["tasks"], row["group"])),
        "errors": [
            {"kind": kind, "count": count, "share": count / wrong}
            for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
        ],
    }


def _group_row(group: str, members: list[list[bool]], seed: int) -> dict[str, Any]:
    sums = np.array([(sum(solved), len(solved)) for solved in members])
    solved, outputs = (int(value) for value in sums.sum(axis=0))
    return {
        "group": group,
        "tasks": len(members),
        "test_outputs": outputs,
        "solved": solved,
        "pass@2": solved / outputs,
        "interval": ratio_interval(sums, seed),
    }


def _is_cut_from(part: Grid, whole: Grid) -> bool:
    if part.shape[0] > whole.shape[0] or part.shape[1] > whole.shape[1]:
        return False
    windows = np.lib.stride_tricks.sliding_window_view(whole, part.shape)
    return bool((windows == part).all(axis=(2, 3)).any())


def _band(what: str, value: int, limits: tuple[int, int]) -> str:
    low, high = limits
    if value <= low:
        return f"{what}: up to {low}"
    if value > high:
        return f"{what}: more than {high}"
    return f"{what}: {high}" if high == low + 1 else f"{what}: {low + 1} to {high}"
