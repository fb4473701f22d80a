"""The models that `hrm bench throughput` compares, each with one training step and one inference pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks._log_loop import LogLoop
from hrm_arc.models import build_model
from hrm_arc.models.compiled import compile_token_wise
from hrm_arc.models.dual_loop import DualLoopConfig
from hrm_arc.models.reasoner import Batch
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FULL, PAD, CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.training.config import LossConfig, OptimizerConfig
from hrm_arc.training.optim import build_optimizers
from hrm_arc.training.segments import ActiveBatch, max_cells_per_forward, microbatches, run_segment

# dual-loop is trained with the log's loss; all other models with the default loss.
LOSSES = {"dual-loop": LossConfig(ignore_padding=False, halt_kind="penalty", halt_weight=0.01)}
# dual-loop, HRM and TRM at their published sizes; grid-hrm with at most as many parameters as the log's model.
SHAPES: dict[str, dict[str, Any]] = {
    "dual-loop": {},
    "hrm": {},
    "trm": {},
    "grid-hrm": {"hidden_size": 352, "num_heads": 11},
}


class Contestant(Protocol):
    """A model with its optimizer and a fixed batch."""

    def train_step(self) -> None:
        """One training step: forward, backward, and an update of the weights."""

    def infer(self) -> None:
        """One segment without gradients."""


class Mix:
    """Pairs of ARC-AGI-1's training tasks, cropped to one canvas for each task, or padded to 900 cells.

    Attributes:
        pairs: number of pairs.
        non_padding: mean number of label cells of a pair that are not padding: its answer and the EOS tokens.
    """

    def __init__(self) -> None:
        self._puzzles = Corpus(study=tuple(load_tasks("arc-agi-1/training"))).training_puzzles()
        everything = self._samples("cropped")
        self.pairs = sum(len(samples) for samples in everything)
        self.non_padding = sum(np.count_nonzero(samples.labels != PAD) for samples in everything) / self.pairs
        self._cropped = sum(samples.inputs.size for samples in everything) / self.pairs
        squares = sum(samples.inputs.size * samples.canvas.cells for samples in everything)
        self._root_mean_square = (squares / self.pairs) ** 0.5

    def describe(self) -> str:
        """The mean sizes of a pair: they limit what cropping can save."""
        return (
            f"a pair has {self.non_padding:.0f} label cells that are not padding; its cropped canvas has "
            f"{self._cropped:.0f} cells (root mean square {self._root_mean_square:.0f}), the full canvas {FULL.cells}"
        )

    def batches(self, canvas: CanvasKind, count: int, device: torch.device) -> list[Batch]:
        """``count`` pairs, evenly spaced in the order of canvas size, as one batch for each canvas."""
        everything = sorted(self._samples(canvas), key=lambda samples: samples.inputs.shape[1])
        starts, chosen = 0, ((torch.arange(count) + 0.5) * self.pairs / count).long()
        found = []
        for samples in everything:
            here = chosen[(chosen >= starts) & (chosen < starts + len(samples))] - starts
            starts += len(samples)
            if len(here):
                found.append(Batch.from_samples(samples, device).select(here.to(device)))
        return found

    def _samples(self, canvas: CanvasKind) -> list[Samples]:
        data = AugmentedSet(self._puzzles, canvas=canvas)
        return data.samples(data.part(1.0))


class ProjectModel:
    """One of this project's models, with the forward passes that its trainer runs.

    Args:
        name: the model.
        batches: one batch for each canvas.
        options: fields of the model's configuration.
        compiled: with compiled token-wise parts, as in long runs and evaluations.
    """

    def __init__(
        self, name: str, batches: Sequence[Batch], options: Mapping[str, Any] | None = None, compiled: bool = False
    ):
        torch.manual_seed(0)
        device = batches[0].inputs.device
        tasks = len(load_tasks("arc-agi-1/training"))
        self._model = build_model(name, {**SHAPES[name], **(options or {})}, tasks).to(device)
        compile_token_wise(self._model, "training", compiled)
        compile_token_wise(self._model, "inference", compiled)
        self._max_cells = max_cells_per_forward(device)
        self._loss = LOSSES.get(name, LossConfig())
        self._optimizers = build_optimizers(self._model, OptimizerConfig())
        self._batches = batches
        self._samples = sum(len(batch) for batch in batches)

    def train_step(self) -> None:
        self._model.train()
        for group in self._microbatches():
            losses = run_segment(self._model.forward_packed, group, self._loss, last=True)
            (torch.cat([each.total for each in losses]).sum() / self._samples).backward()
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()

    @torch.inference_mode()
    def infer(self) -> None:
        self._model.eval()
        for group in self._microbatches():
            self._model.forward_packed([active.carry for active in group], [active.batch for active in group])

    def _microbatches(self) -> Iterator[list[ActiveBatch]]:
        return microbatches([ActiveBatch.start(self._model, batch) for batch in self._batches], self._max_cells)


class OtherModel:
    """A module that is not of this project, with its own loss, on one batch padded to 900 cells.

    Args:
        model: the module.
        loss: its loss from inputs and labels ``[batch, 900]``.
        infer: its forward pass in inference, from inputs.
        batch: the batch.
        compiled: run loss and inference through ``torch.compile``.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        infer: Callable[[Tensor], Any],
        batch: Batch,
        compiled: bool = False,
    ):
        self._model = model.to(batch.inputs.device)
        self._loss, self._infer = (torch.compile(loss), torch.compile(infer)) if compiled else (loss, infer)
        self._optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        assert batch.labels is not None
        self._inputs, self._labels = batch.inputs, batch.labels

    def train_step(self) -> None:
        self._model.train()
        self._loss(self._inputs, self._labels).backward()
        self._optimizer.step()
        self._optimizer.zero_grad()

    @torch.inference_mode()
    def infer(self) -> None:
        self._model.eval()
        self._infer(self._inputs)


def plain_loop(batch: Batch, compiled: bool = False) -> Contestant:
    """The straightforward form of the log's model, :mod:`benchmarks._log_loop`."""
    torch.manual_seed(0)
    model = LogLoop(DualLoopConfig())
    return OtherModel(model, model.loss, model, batch, compiled)


def hrm_package(batch: Batch, compiled: bool = False) -> Contestant:
    """hrm-pytorch with the hidden size, depth and cycles of the published HRM."""
    from HRM import HRM

    torch.manual_seed(0)
    level = {"dim": 512, "depth": 4, **_ENCODER}
    model = HRM([level, dict(level)], dim=512, num_tokens=12, reasoning_steps=2, relative_period=2)
    return OtherModel(model, lambda inputs, labels: model(inputs, labels=labels)[0], model, batch, compiled)


def trm_package(batch: Batch, compiled: bool = False) -> Contestant:
    """tiny-recursive-model with the hidden size, depth and cycles of the published TRM."""
    from tiny_recursive_model import TinyRecursiveModel
    from x_transformers import Encoder

    torch.manual_seed(0)
    network = Encoder(dim=512, depth=2, **_ENCODER)
    model = TinyRecursiveModel(
        dim=512, num_tokens=12, network=network, num_refinement_blocks=3, num_latent_refinements=4
    )

    def forward(inputs: Tensor, labels: Tensor | None = None) -> Any:
        return model(inputs, *model.get_initial(), labels=labels)

    return OtherModel(model, lambda inputs, labels: forward(inputs, labels)[0], forward, batch, compiled)


# As in this project's models: number of heads, gated feed-forward of the same inner size, rotary positions, fused
# attention.
_ENCODER: dict[str, Any] = {
    "heads": 8,
    "attn_dim_head": 64,
    "ff_mult": 3,
    "ff_glu": True,
    "ff_swish": True,
    "ff_no_bias": True,
    "use_rmsnorm": True,
    "rotary_pos_emb": True,
    "attn_flash": True,
}


def operations(step: Callable[[], None]) -> int:
    """Floating-point operations of the matrix products and attention in ``step``; recomputation inside fused
    attention kernels is not counted.
    """
    kinds = ("flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")
    mapping: dict[Any, Any] = {}
    for kind in kinds:
        mapping[getattr(torch.ops.aten, f"_scaled_dot_product_{kind}")] = _attention
        mapping[getattr(torch.ops.aten, f"_scaled_dot_product_{kind}_backward")] = _attention_backward
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        step()
    return counter.get_total_flops()


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Four matrix products. Kernels also recompute the attention scores, a fifth product, which is not counted."""
    return 2 * sdpa_flop_count(query, key, value)
