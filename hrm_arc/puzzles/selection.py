"""Rules that select tasks by what a solver may see of them, never by their test outputs."""

from __future__ import annotations

from collections.abc import Sequence

from hrm_arc.errors import UserError
from hrm_arc.puzzles.canvas import visible_canvas
from hrm_arc.puzzles.task import Task


def keeps_size(task: Task) -> bool:
    """Whether in every demonstration the output has the size of the input."""
    return all(pair.output is not None and pair.input.shape == pair.output.shape for pair in task.demonstrations)


def smallest(tasks: Sequence[Task], count: int) -> tuple[Task, ...]:
    """The tasks with the smallest visible canvases, among the tasks whose outputs keep the input's size.

    Tasks with equal canvases are ordered by id. Test outputs are not read.

    Args:
        tasks: the tasks to select from.
        count: the number of tasks to select.

    Raises:
        UserError: fewer than ``count`` tasks keep the input's size.
    """
    ranked = sorted(
        (task for task in tasks if keeps_size(task)), key=lambda task: (visible_canvas(task).cells, task.id)
    )
    if len(ranked) < count:
        what = f"requests {count} tasks, but only {len(ranked)} tasks keep the input's size; request at most"
        raise UserError("data.smallest", f"{what} {len(ranked)}; --data.smallest 0 takes all {len(tasks)}")
    return tuple(ranked[:count])


def at_most(tasks: Sequence[Task], cells: int) -> tuple[Task, ...]:
    """The tasks whose visible canvases have at most this many cells, in their order. Test outputs are not read.

    Raises:
        UserError: there are none.
    """
    chosen = tuple(task for task in tasks if visible_canvas(task).cells <= cells)
    if not chosen:
        fewest = min((visible_canvas(task).cells for task in tasks), default=0)
        raise UserError("data.largest", f"{cells}: the smallest canvas of these tasks has {fewest} cells")
    return chosen
