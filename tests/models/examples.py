"""Batches and small models for tests of models."""

from __future__ import annotations

import torch

from hrm_arc.models import build_model, find_model
from hrm_arc.models.reasoner import Batch, Reasoner
from hrm_arc.puzzles.identity import Identity


def example_model(name: str, num_tasks: int = 3, num_variants: int = 1, **options: object) -> Reasoner:
    """A model with its example configuration and some options, no weight at zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return stirred(build_model(name, {**find_model(name).example_config, **options}, num_tasks, num_variants))


def made_batch(size: int = 3, height: int = 4, width: int = 5) -> Batch:
    """Random tokens, and identities that differ from sample to sample."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 12, (2, size, height * width), generator=generator)
    colors = torch.stack([torch.cat([torch.zeros(1), torch.randperm(9, generator=generator) + 1]) for _ in range(size)])
    ids = torch.arange(size)
    return Batch(height, width, cells[0], cells[1], Identity(ids % 3, ids % 8, colors.long(), ids % 2))


def plain_identity(task: torch.Tensor, variant: torch.Tensor | None = None) -> Identity[torch.Tensor]:
    """Samples of some tasks, not turned and not recolored."""
    zeros = torch.zeros_like(task)
    return Identity(task, zeros, torch.arange(10).repeat(len(task), 1), zeros if variant is None else variant)


def stirred(model: Reasoner) -> Reasoner:
    """The model with no weight at zero, as after some training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model
