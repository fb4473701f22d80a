"""Conditioning: how a model is given the task of a sample and the symmetry under which it is seen.

There are two ways behind one interface. The published one is a puzzle embedding with a row for each variant of
each task: up to 500 million numbers, and no row for a variant that was not in training. The shared one embeds
the parts of a variant, the dihedral transform and the role of each color: 400 tasks with 1,000 variants each
take 400 rows instead of 400,000, and a variant that was never in training has an embedding, too.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.models.reasoner import Batch
from hrm_arc.puzzles.canvas import FIRST_COLOR
from hrm_arc.puzzles.corpus import UNSEEN
from hrm_arc.puzzles.symmetry import DIHEDRALS
from hrm_arc.puzzles.task import COLORS

# The parts of a sample's identity that a model can be conditioned on.
Part = Literal["task", "dihedral", "roles"]
PARTS: tuple[Part, ...] = get_args(Part)
ROLES = COLORS
SHARED_LENGTH = 1 + ROLES


class Conditioning(nn.Module):
    """The interface of both ways.

    Attributes:
        length: the number of tokens that ``tokens`` puts in front of the cells.
    """

    length: int

    def tokens(self, batch: Batch, cells: nn.Embedding) -> Tensor:
        """The conditioning as tokens ``[batch, length, hidden_size]``.

        Args:
            batch: the samples.
            cells: the model's token embedding.
        """
        raise NotImplementedError(type(self).__name__)


class SharedConditioning(Conditioning):
    """Embeddings of the task and of the dihedral transform, and ten color-role tokens.

    Role token ``k`` is the sum of an embedding of role ``k`` and the embedding of the color that has this role in
    the sample, so that the model can look up what color 2 stands for under the sample's color permutation.

    Args:
        num_tasks: number of tasks; the table has one more row, for unseen tasks.
        hidden_size: size of each embedding.
        parts: the parts of the identity to condition on; the others have no parameters.

    Attributes:
        roles: the number of role tokens, ten or none.
    """

    def __init__(self, num_tasks: int, hidden_size: int, parts: Collection[Part] = PARTS):
        super().__init__()
        self.hidden_size = hidden_size
        self.task = nn.Embedding(num_tasks + 1, hidden_size) if "task" in parts else None
        self.dihedral = nn.Embedding(DIHEDRALS, hidden_size) if "dihedral" in parts else None
        self.role = nn.Embedding(ROLES, hidden_size) if "roles" in parts else None
        self.roles = ROLES if "roles" in parts else 0
        self.length = 1 + self.roles
        for table in (self.task, self.dihedral, self.role):
            if table is not None:
                nn.init.normal_(table.weight, std=0.5)
        if self.task is not None:
            nn.init.zeros_(self.task.weight[UNSEEN].detach())

    def forward(self, batch: Batch, cells: nn.Embedding) -> tuple[Tensor, Tensor]:
        """The sum of task and dihedral embedding ``[batch, 1, hidden_size]``, and the role tokens
        ``[batch, roles, hidden_size]``.
        """
        embedding = cells.weight.new_zeros(1)
        if self.task is not None:
            embedding = embedding + self.task(batch.identity.task)
        if self.dihedral is not None:
            embedding = embedding + self.dihedral(batch.identity.dihedral)
        embedding = embedding.expand(len(batch), self.hidden_size)
        if self.role is None:
            return embedding[:, None], embedding[:, None][:, :0]
        return embedding[:, None], cells(batch.identity.colors + FIRST_COLOR) + self.role.weight

    def tokens(self, batch: Batch, cells: nn.Embedding) -> Tensor:
        return torch.cat(self(batch, cells), dim=1)


class PuzzleEmbedding(Conditioning):
    """One row for each variant of each task, as in HRM and TRM.

    Row 0 stands for unseen tasks. Gradients are sparse: an optimizer that moves only the rows of a batch
    (:class:`hrm_arc.training.optim.SignSGD`) has a cost that does not grow with the number of rows.

    Args:
        num_tasks: number of tasks.
        num_variants: rows of each task, the original included; a variant beyond them counts as unseen.
        hidden_size: size of a row.
        length: tokens in front of the cells; a row fills the first one, the rest is zero.
    """

    def __init__(self, num_tasks: int, num_variants: int, hidden_size: int, length: int):
        super().__init__()
        self.variants = num_variants
        self.length = length
        # Rows are learned quickly, by the signs of their gradients, and start at zero.
        self.weights = nn.Parameter(torch.zeros(1 + num_tasks * num_variants, hidden_size))

    def tokens(self, batch: Batch, cells: nn.Embedding) -> Tensor:
        task, variant = batch.identity.task, batch.identity.variant
        row = 1 + (task - 1) * self.variants + variant
        known = (task != UNSEEN) & (variant >= 0) & (variant < self.variants)
        found = F.embedding(torch.where(known, row, UNSEEN), self.weights, sparse=self.training)
        return F.pad(found[:, None], (0, 0, 0, self.length - 1))


class NoConditioning(Conditioning):
    """No token in front of the cells: the model is not told which task a sample belongs to."""

    length = 0

    def tokens(self, batch: Batch, cells: nn.Embedding) -> Tensor:
        return cells.weight.new_zeros(len(batch), 0, cells.embedding_dim)


def puzzle_embeddings(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of a model whose gradients are sparse in training."""
    return [module.weights for module in model.modules() if isinstance(module, PuzzleEmbedding)]
