"""The log's model in its straightforward form: torch's own encoder layers, without any optimization.

`hrm bench throughput` compares with it. Its parameters have the names of
:class:`hrm_arc.models.dual_loop.DualLoop`'s, and a test checks that both have the same loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_arc.models.dual_loop import POSITIONS, DualLoopConfig
from hrm_arc.models.layers import sinusoids
from hrm_arc.puzzles.canvas import VOCABULARY


class LogLoop(nn.Module):
    """Two levels of post-norm layers, run for up to eight cycles with gradients through all of them."""

    positions: Tensor

    def __init__(self, config: DualLoopConfig):
        super().__init__()
        self.config = config
        hidden_size = config.hidden_size
        self.token_embedding = nn.Embedding(VOCABULARY, hidden_size)
        self.register_buffer("positions", sinusoids(POSITIONS, hidden_size))
        self.dropout = nn.Dropout(config.dropout)
        self.h_layers = nn.ModuleList(_layer(config) for _ in range(config.h_layers))
        self.h_norm = nn.LayerNorm(hidden_size)
        self.l_layers = nn.ModuleList(_layer(config) for _ in range(config.l_layers))
        self.l_norm = nn.LayerNorm(hidden_size)
        self.h_to_l = nn.Linear(hidden_size, hidden_size)
        self.l_to_h = nn.Linear(hidden_size, hidden_size)
        self.halt_predictor = nn.Linear(2 * hidden_size, 1)
        self.output = nn.Linear(hidden_size, VOCABULARY)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``[batch, 900]`` to logits ``[batch, 900, 12]`` and halting probabilities ``[batch, cycles]``."""
        h = l = self.dropout(self.token_embedding(inputs) + self.positions[: inputs.shape[1]])
        halts = []
        for cycle in range(self.config.h_cycles):
            for layer in self.h_layers:
                h = layer(h)
            h = self.h_norm(h)
            l = l + self.h_to_l(h)
            for layer in self.l_layers:
                l = layer(l)
            l = self.l_norm(l)
            h = h + self.l_to_h(l)
            halts.append(self.halt_predictor(torch.cat([h.mean(dim=1), l.mean(dim=1)], dim=-1)).sigmoid())
            if cycle > 0 and halts[-1].mean() > self.config.halt_threshold:
                break
        return self.output(l), torch.cat(halts, dim=1)

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy over every position, padding included, plus 0.01 times the mean halting probability."""
        logits, halts = self(inputs)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten()) + 0.01 * halts.mean()


def _layer(config: DualLoopConfig) -> nn.Module:
    return nn.TransformerEncoderLayer(
        config.hidden_size, config.num_heads, 4 * config.hidden_size, config.dropout, batch_first=True
    )
