"""Train, score, understand and ship small recursive reasoning models on grid puzzles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrm_arc.evaluation.solver import Solver
    from hrm_arc.puzzles.sources import load_tasks

__version__ = "0.1.0"
__all__ = ["Solver", "load_tasks"]


def __getattr__(name: str) -> Any:
    # Loaded when they are used, so that importing the package stays light.
    if name == "load_tasks":
        from hrm_arc.puzzles.sources import load_tasks

        return load_tasks
    if name == "Solver":
        from hrm_arc.evaluation.solver import Solver

        return Solver
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
