"""Rules that pick tasks by what a solver may see of them, never by their answers."""

from __future__ import annotations

from collections.abc import Sequence

from hrm_arc.errors import UserError
from hrm_arc.puzzles.canvas import visible_canvas
from hrm_arc.puzzles.task import Task


def keeps_size(task: Task) -> bool:
    """Whether every demonstration's output has its input's size."""
    return all(pair.output is not None and pair.input.shape == pair.output.shape for pair in task.demonstrations)


def smallest(tasks: Sequence[Task], count: int) -> tuple[Task, ...]:
    """The tasks with the smallest visible canvases among those that keep the input's size.

    Ties go by name. A task's answers play no part.

    Raises:
        UserError: there are fewer such tasks than ``count``.
    """
    ranked = sorted(
        (task for task in tasks if keeps_size(task)), key=lambda task: (visible_canvas(task).cells, task.id)
    )
    if len(ranked) < count:
        raise UserError("data.smallest", f"asks for {count} tasks; {len(ranked)} keep the input's size")
    return tuple(ranked[:count])
