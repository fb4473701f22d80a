"""torch.compile for the token-wise parts of a block: everything but its attention.

Compiled, the passes between two products are one pass over memory. Compilation takes a C++ compiler and about half a
minute, or a few seconds where this machine has compiled the same model before, so it pays for a long training only.
The number of tokens is symbolic: one compilation serves every batch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A linear layer without bias, or its weights.
Linear = nn.Linear | Tensor


class TokenWise(nn.Module):
    """The base class of blocks with token-wise parts.

    Attributes:
        compiled: whether training runs them compiled.
    """

    compiled: bool = False

    def token_wise(self, part: Callable[..., Any], *values: Any) -> Any:
        """Call a part with tensors ``[tokens, ...]``, parameters, linear layers and numbers, in any order."""
        if not (self.compiled and self.training):
            return part(*values)
        for value in values:
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                torch._dynamo.maybe_mark_dynamic(value, 0)
        # With its weights in place of the layers, one compilation serves all blocks.
        return _compiled(part)(*(value.weight if isinstance(value, nn.Linear) else value for value in values))


def apply_linear(x: Tensor, layer: Linear) -> Tensor:
    """A linear layer without bias, or the product with its weights."""
    return F.linear(x, layer) if isinstance(layer, Tensor) else layer(x)


def compile_token_wise(model: nn.Module, compiled: bool = True) -> None:
    """Let a model train with compiled parts from here on, or without."""
    for module in model.modules():
        if isinstance(module, TokenWise):
            module.compiled = compiled


def can_compile() -> bool:
    """Whether this machine has what compilation for a CPU takes."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


@cache
def _compiled(part: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(part)
