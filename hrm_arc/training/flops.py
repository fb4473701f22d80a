"""Floating-point operations of a model, counted once and computed for every canvas."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hrm_arc.models.reasoner import Batch, Reasoner
from hrm_arc.puzzles.identity import Identity
from hrm_arc.puzzles.task import COLORS

# Operations of a sample on n cells are a polynomial of degree two in n: constant for what happens once for a
# sample, linear for token-wise layers, quadratic for attention. Three canvases determine it.
PROBES = ((3, 3), (4, 5), (6, 6))


class FlopCounter:
    """Floating-point operations of a model's segment, forward and backward, by torch's own counter.

    Args:
        model: its weights and gradients are left as they are.
        extra_forward: whether training runs a second forward pass for the targets of q_continue; only models with a
            logit of continuing get one.
    """

    def __init__(self, model: Reasoner, extra_forward: bool):
        self._model = model
        self._extra_forward = extra_forward
        self._by_cells: dict[int, float] = {}
        self._polynomial = self._fit()

    def of(self, batch: Batch) -> float:
        """Operations of one segment of a batch; not a number where the model could not be counted."""
        cells = batch.height * batch.width
        if cells not in self._by_cells:
            if self._polynomial is None:
                self._by_cells[cells] = self._try(batch.height, batch.width)
            else:
                self._by_cells[cells] = float(np.polyval(self._polynomial, cells))
        return len(batch) * self._by_cells[cells]

    def _fit(self) -> np.ndarray | None:
        counts = [self._try(*probe) for probe in PROBES]
        if not np.isfinite(counts).all():
            return None
        return np.polyfit([height * width for height, width in PROBES], counts, 2)

    def _try(self, height: int, width: int) -> float:
        try:
            return self._count(height, width)
        except Exception:  # A model may refuse a canvas, or use an operation that has no counter.
            return float("nan")

    def _count(self, height: int, width: int) -> float:
        """Operations for one sample."""
        parameters = [p for p in self._model.parameters() if p.requires_grad]
        device = parameters[0].device
        zeros = torch.zeros(1, height * width, dtype=torch.int64, device=device)
        first = zeros[:, 0]
        identity = Identity(first + 1, first, torch.arange(COLORS, device=device)[None], first)
        batch = Batch(height, width, zeros, zeros, identity)
        was_training = self._model.training
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices), sdpa_kernel(SDPBackend.MATH):
            self._model.eval()
            try:
                with torch.enable_grad(), FlopCounterMode(display=False) as counter:
                    _, output = self._model(self._model.initial_carry(batch), batch)
                    forward = counter.get_total_flops()
                    total = output.logits.float().sum() + output.q_halt.float().sum()
                    torch.autograd.grad(total, parameters, allow_unused=True)
            finally:
                self._model.train(was_training)
        again = self._extra_forward and output.q_continue is not None
        return float(counter.get_total_flops() + forward * again)
