"""How a model is told which task it is solving, and under which symmetry it sees it.

A task is one row of a table, whatever the variant; the variant is told by its parts: the
dihedral transform and the role that each colour plays. So a table for 400 tasks with
1,000 variants each has 400 rows instead of 400,000, and a variant never seen in training
is still understood.
"""

from __future__ import annotations

from torch import Tensor, nn

from hrm_arc.models.reasoner import Batch
from hrm_arc.puzzles.canvas import FIRST_COLOUR
from hrm_arc.puzzles.corpus import UNSEEN
from hrm_arc.puzzles.symmetry import DIHEDRALS
from hrm_arc.puzzles.task import COLOURS

ROLES = COLOURS


class Conditioning(nn.Module):
    """Embeddings of the task and the dihedral transform, and ten colour-role tokens.

    Role token ``k`` is the sum of role ``k`` and of the colour that plays it in this
    sample, so the model can look up what red stands for under the sample's permutation.

    Args:
        tasks: how many tasks there are; the table has one more row, for unseen tasks.
        width: size of each vector.
    """

    def __init__(self, tasks: int, width: int):
        super().__init__()
        self.task = nn.Embedding(tasks + 1, width)
        self.dihedral = nn.Embedding(DIHEDRALS, width)
        self.role = nn.Embedding(ROLES, width)
        for table in (self.task, self.dihedral, self.role):
            nn.init.normal_(table.weight, std=0.5)
        nn.init.zeros_(self.task.weight[UNSEEN].detach())

    def forward(self, batch: Batch, tokens: nn.Embedding) -> tuple[Tensor, Tensor]:
        """What to add to every token, ``[batch, 1, width]``, and what to put in front.

        Args:
            batch: the samples.
            tokens: the model's token table, which the role tokens share.

        Returns:
            the identity to add, and the role tokens ``[batch, 10, width]``.
        """
        identity = self.task(batch.task) + self.dihedral(batch.dihedral)
        roles = tokens(batch.colours + FIRST_COLOUR) + self.role.weight
        return identity[:, None], roles
