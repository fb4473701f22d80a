"""torch.compile for the token-wise parts of a block: everything but its attention.

Compiled, the passes between two products are one pass over memory. Compilation takes a C++ compiler and about half a
minute, or a few seconds where this machine has compiled the same model before, so it pays for a long training only.
The number of tokens is symbolic: one compilation serves every batch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.errors import ReportedError

# A linear layer without bias, or its weights.
Linear = nn.Linear | Tensor
# What a model does with compiled parts.
Use = Literal["training", "inference"]


class TokenWise(nn.Module):
    """The base class of blocks with token-wise parts.

    Attributes:
        compiled: what runs them compiled.
    """

    compiled: frozenset[Use] = frozenset()

    def token_wise(self, part: Callable[..., Any], *values: Any) -> Any:
        """Call a part with tensors ``[tokens, ...]``, parameters, linear layers and numbers, in any order."""
        if ("training" if self.training else "inference") not in self.compiled:
            return part(*values)
        for value in values:
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                torch._dynamo.maybe_mark_dynamic(value, 0)
        # With its weights in place of the layers, one compilation serves all blocks.
        return _compiled(part)(*(value.weight if isinstance(value, nn.Linear) else value for value in values))


def apply_linear(x: Tensor, layer: Linear) -> Tensor:
    """A linear layer without bias, or the product with its weights."""
    return F.linear(x, layer) if isinstance(layer, Tensor) else layer(x)


def compile_token_wise(model: nn.Module, use: Use, compiled: bool = True) -> None:
    """Let a model train or answer with compiled parts from here on, or without."""
    for module in model.modules():
        if isinstance(module, TokenWise):
            module.compiled = module.compiled | {use} if compiled else module.compiled - {use}


def try_to_compile(model: nn.Module, use: Use, run: Callable[[], object]) -> str | None:
    """Compile a model's token-wise parts.

    Args:
        model: the model.
        use: what will run them.
        run: trains or answers once, in which parts are compiled.

    Returns:
        why that failed, or None. The model then runs without compiled parts.

    Raises:
        ReportedError: ``run`` has failed for a reason of its own.
    """
    try:
        if not can_compile():
            raise RuntimeError("there is no C++ compiler")
        compile_token_wise(model, use)
        run()
    except ReportedError:
        raise
    except Exception as error:  # torch's compiler raises errors of many kinds.
        compile_token_wise(model, use, False)
        return str(error).strip().split("\n")[0][:200]
    return None


def has_token_wise(model: nn.Module) -> bool:
    """Whether a model has parts that can be compiled."""
    return any(isinstance(module, TokenWise) for module in model.modules())


def can_compile() -> bool:
    """Whether this machine has what compilation for a CPU takes."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


@cache
def _compiled(part: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(part)
