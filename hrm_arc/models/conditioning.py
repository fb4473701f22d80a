"""How a model is told which task it is solving, and under which symmetry it sees it.

Two ways stand behind one interface. The published one is a table with a row for each task and
variant: up to 500 million numbers, and nothing to say of a variant that was not in training.
The shared one tells the variant by its parts, the dihedral transform and the role that each
colour plays: 400 tasks with 1,000 variants each take 400 rows instead of 400,000, and a
variant never seen in training is still understood.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.models.reasoner import Batch
from hrm_arc.puzzles.canvas import FIRST_COLOUR
from hrm_arc.puzzles.corpus import UNSEEN
from hrm_arc.puzzles.symmetry import DIHEDRALS
from hrm_arc.puzzles.task import COLOURS

# What a sample's task and symmetry are told by.
Part = Literal["task", "dihedral", "roles"]
PARTS: tuple[Part, ...] = get_args(Part)
ROLES = COLOURS
SHARED_LENGTH = 1 + ROLES


class Conditioning(nn.Module):
    """What every way of telling the task offers a model.

    Attributes:
        length: how many tokens ``tokens`` puts in front of the cells.
    """

    length: int

    def tokens(self, batch: Batch, cells: nn.Embedding) -> Tensor:
        """All there is to say, as tokens ``[batch, length, width]``.

        Args:
            batch: the samples.
            cells: the model's token table.
        """
        raise NotImplementedError(type(self).__name__)


class SharedConditioning(Conditioning):
    """Embeddings of the task and the dihedral transform, and ten colour-role tokens.

    Role token ``k`` is the sum of role ``k`` and of the colour that plays it in this
    sample, so the model can look up what red stands for under the sample's permutation.

    Args:
        tasks: how many tasks there are; the table has one more row, for unseen tasks.
        width: size of each vector.
        parts: what is told; nothing is learned of the others.

    Attributes:
        roles: how many role tokens there are.
    """

    def __init__(self, tasks: int, width: int, parts: Collection[Part] = PARTS):
        super().__init__()
        self.width = width
        self.task = nn.Embedding(tasks + 1, width) if "task" in parts else None
        self.dihedral = nn.Embedding(DIHEDRALS, width) if "dihedral" in parts else None
        self.role = nn.Embedding(ROLES, width) if "roles" in parts else None
        self.roles = ROLES if "roles" in parts else 0
        self.length = 1 + self.roles
        for table in (self.task, self.dihedral, self.role):
            if table is not None:
                nn.init.normal_(table.weight, std=0.5)
        if self.task is not None:
            nn.init.zeros_(self.task.weight[UNSEEN].detach())

    def forward(self, batch: Batch, cells: nn.Embedding) -> tuple[Tensor, Tensor]:
        """The identity, ``[batch, 1, width]``, and the role tokens ``[batch, 10 or none, width]``."""
        identity = cells.weight.new_zeros(1)
        if self.task is not None:
            identity = identity + self.task(batch.task)
        if self.dihedral is not None:
            identity = identity + self.dihedral(batch.dihedral)
        identity = identity.expand(len(batch), self.width)
        if self.role is None:
            return identity[:, None], identity[:, None][:, :0]
        return identity[:, None], cells(batch.colours + FIRST_COLOUR) + self.role.weight

    def tokens(self, batch: Batch, cells: nn.Embedding) -> Tensor:
        return torch.cat(self(batch, cells), dim=1)


class PuzzleTable(Conditioning):
    """A row for each variant of each task, as HRM and TRM have it.

    Row 0 stands for unseen tasks. Its gradients are sparse: an optimiser that follows the rows
    of a batch alone (:class:`hrm_arc.training.optimisers.SignSGD`) keeps a step as cheap as
    the batch, however many rows there are.

    Args:
        tasks: how many tasks.
        variants: rows of each, its original included; a variant beyond them counts as unseen.
        width: of the model.
        length: tokens in front of the cells; a row fills the first, the rest is zero.
    """

    def __init__(self, tasks: int, variants: int, width: int, length: int):
        super().__init__()
        self.variants = variants
        self.length = length
        # Rows are learned quickly by the signs of their gradients, and begin at zero.
        self.weights = nn.Parameter(torch.zeros(1 + tasks * variants, width))

    def tokens(self, batch: Batch, cells: nn.Embedding) -> Tensor:
        row = 1 + (batch.task - 1) * self.variants + batch.variant
        known = (batch.task != UNSEEN) & (batch.variant >= 0) & (batch.variant < self.variants)
        found = F.embedding(torch.where(known, row, UNSEEN), self.weights, sparse=self.training)
        return F.pad(found[:, None], (0, 0, 0, self.length - 1))


def puzzle_tables(model: nn.Module) -> list[nn.Parameter]:
    """Parameters whose gradients are sparse in training."""
    return [module.weights for module in model.modules() if isinstance(module, PuzzleTable)]
