"""The task of a sample, and the symmetry that was applied to it: what a model can be conditioned on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Array = TypeVar("Array")
Other = TypeVar("Other")


@dataclass  # Not frozen: Fabric's precision plugins rebuild the arguments of a model.
class Identity(Generic[Array]):
    """The identities of ``n`` samples, as NumPy arrays or as tensors.

    Attributes:
        task: row of the task in the model's task table, ``[n]``; 0 is a task that the model was not trained on.
        dihedral: the dihedral transform, 0 to 7, ``[n]``.
        colors: what each color 0-9 became, ``[n, 10]``.
        variant: number of the variant of the task, ``[n]``; 0 is the original, and
            :data:`~hrm_arc.puzzles.corpus.OTHER` is a variant that is not in the training set.
    """

    task: Array
    dihedral: Array
    colors: Array
    variant: Array

    @property
    def parts(self) -> tuple[Array, Array, Array, Array]:
        """Task, dihedral transform, colors and variant, in this order."""
        return self.task, self.dihedral, self.colors, self.variant

    def map(self, change: Callable[[Array], Other]) -> Identity[Other]:
        """The identities with ``change`` applied to each of the four arrays."""
        return Identity(change(self.task), change(self.dihedral), change(self.colors), change(self.variant))

    def select(self, chosen: Any) -> Identity[Array]:
        """The identities of some samples, by index, slice or mask."""

        def pick(part: Any) -> Any:
            return part[chosen]

        return self.map(pick)
