"""The vocabularies of the published models of Sudoku and Maze, and their translation to this project's 12 tokens.

The published Sudoku set has the tokens PAD 0, blank 1 and digits 2 to 10; the published Maze set has PAD 0 and then its
five characters. A model with such a vocabulary has embeddings and logits of those tokens alone, as its checkpoint has.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.puzzles.canvas import FIRST_COLOR, PAD, VOCABULARY
from hrm_arc.puzzles.published_tokens import BOARD_TOKENS

Vocabulary = Literal["arc", "sudoku", "maze"]
VOCABULARY_SIZES: dict[int, Vocabulary] = {VOCABULARY: "arc", 11: "sudoku", 6: "maze"}
# The logit of a token that a vocabulary does not have. Finite: products with 0 are 0, and differences are numbers.
ABSENT = -1e30


class OwnTokens(nn.Module):
    """Translates between the 12 tokens and those of a vocabulary. It has no parameters and no state.

    Args:
        vocabulary: the model's own.

    Attributes:
        size: the number of its tokens.
    """

    table: Tensor

    def __init__(self, vocabulary: Vocabulary):
        super().__init__()
        self.size = next(size for size, name in VOCABULARY_SIZES.items() if name == vocabulary)
        self._is_own = self.size == VOCABULARY
        # The own token of each of the 12; ``size`` for those that the vocabulary does not have.
        own = torch.full((VOCABULARY,), self.size)
        own[PAD] = PAD
        for token, color in enumerate(BOARD_TOKENS.get(self.size, ()), start=1):
            own[FIRST_COLOR + color] = token
        self.register_buffer("table", own, persistent=False)

    def of_inputs(self, tokens: Tensor) -> Tensor:
        """The own tokens of input tokens, of any shape; PAD for those that the vocabulary does not have."""
        return tokens if self._is_own else (self.table % self.size)[tokens]

    def to_logits(self, logits: Tensor) -> Tensor:
        """Logits ``[..., 12]`` from those of the own tokens ``[..., size]``."""
        if self._is_own:
            return logits
        # Half precision has no number as low.
        absent = max(ABSENT, torch.finfo(logits.dtype).min)
        return F.pad(logits, (0, 1), value=absent).index_select(-1, self.table)
