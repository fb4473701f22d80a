"""What `hrm bench throughput` sets side by side: things that learn from a batch, and answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks._log_loop import LogLoop
from hrm_arc.models import build_model
from hrm_arc.models.dual_loop import DualLoopConfig
from hrm_arc.models.reasoner import Batch
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import FULL, PAD, CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.training.halting import Thought, cells_at_once, portions, think_segment
from hrm_arc.training.losses import LossConfig
from hrm_arc.training.optimisers import OptimiserConfig, build_optimisers

# The log's own loss, and the same for all others.
LOSSES = {"dual-loop": LossConfig(ignore_padding=False, halt="penalty", halt_weight=0.01)}
# Published sizes; the log's; and ours at the log's, everything counted.
SHAPES: dict[str, dict[str, Any]] = {
    "dual-loop": {},
    "hrm": {},
    "trm": {},
    "grid-hrm": {"width": 352, "heads": 11},
}


class Contestant(Protocol):
    """A model with its optimiser and a batch of its own."""

    def learn(self) -> None:
        """One step: forward, backward, and a move of the weights."""

    def answer(self) -> None:
        """One segment of thought without gradients."""


class Mix:
    """Pairs of ARC-AGI-1's training tasks, one canvas for each task, cropped or padded to 900."""

    def __init__(self) -> None:
        self._puzzles = Corpus(study=tuple(load_tasks("arc-agi-1/training"))).training_puzzles()
        everything = self._samples("cropped")
        self.pairs = sum(len(samples) for samples in everything)
        #: cells of a pair that matter: its answer and the marks of its end, on average.
        self.matter = sum(int((samples.labels != PAD).sum()) for samples in everything) / self.pairs
        self._cropped = sum(samples.inputs.size for samples in everything) / self.pairs
        squares = sum(samples.inputs.size * samples.canvas.cells for samples in everything)
        self._root_mean_square = (squares / self.pairs) ** 0.5

    def describe(self) -> str:
        """What cropping can leave out."""
        return (
            f"a pair has {self.matter:.0f} cells that matter, on a cropped canvas of {self._cropped:.0f} "
            f"(root mean square {self._root_mean_square:.0f}), or on one of {FULL.cells}"
        )

    def batches(self, canvas: CanvasKind, count: int, device: torch.device) -> list[Batch]:
        """So many pairs, evenly spread from the smallest canvas to the largest, a batch for each canvas."""
        everything = sorted(self._samples(canvas), key=lambda samples: samples.inputs.shape[1])
        starts, chosen = 0, ((torch.arange(count) + 0.5) * self.pairs / count).long()
        found = []
        for samples in everything:
            here = chosen[(chosen >= starts) & (chosen < starts + len(samples))] - starts
            starts += len(samples)
            if len(here):
                found.append(Batch.of(samples, device).part(here.to(device)))
        return found

    def _samples(self, canvas: CanvasKind) -> list[Samples]:
        data = AugmentedSet(self._puzzles, canvas=canvas)
        return data.samples(data.part(1.0))


class Ours:
    """One of this project's models, trained as its trainer does: canvases end to end, or one padded to 900."""

    def __init__(
        self, name: str, batches: Sequence[Batch], options: Mapping[str, Any] | None = None, compiled: bool = False
    ):
        torch.manual_seed(0)
        device = batches[0].inputs.device
        tasks = len(load_tasks("arc-agi-1/training"))
        self._model = build_model(name, {**SHAPES[name], **(options or {})}, tasks).to(device)
        self._think = _compiled(self._model) if compiled else self._model
        self._at_once = cells_at_once(device)
        self._loss = LOSSES.get(name, LossConfig())
        self._optimisers = build_optimisers(self._model, OptimiserConfig())
        self._batches = batches
        self._samples = sum(len(batch) for batch in batches)

    def learn(self) -> None:
        self._model.train()
        for together in portions([Thought.of(self._model, batch) for batch in self._batches], self._at_once):
            losses = think_segment(self._think, together, self._loss, last=True)
            (torch.cat([each.total for each in losses]).sum() / self._samples).backward()
        for optimiser in self._optimisers:
            optimiser.step()
            optimiser.zero_grad()

    @torch.inference_mode()
    def answer(self) -> None:
        self._model.eval()
        for together in portions([Thought.of(self._model, batch) for batch in self._batches], self._at_once):
            self._think([thought.state for thought in together], [thought.batch for thought in together])


def _compiled(model: nn.Module) -> Any:
    """The model compiled, without giving up in silence where there are many shapes: a row says what it is."""
    torch._dynamo.config.recompile_limit = 256
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return torch.compile(model)


class Theirs:
    """A module with a loss and an answer of its own, on one batch padded to 900."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        answer: Callable[[Tensor], Any],
        batch: Batch,
    ):
        self._model, self._loss, self._answer = model.to(batch.inputs.device), loss, answer
        self._optimiser = torch.optim.AdamW(model.parameters())
        assert batch.labels is not None
        self._inputs, self._labels = batch.inputs, batch.labels

    def learn(self) -> None:
        self._model.train()
        self._loss(self._inputs, self._labels).backward()
        self._optimiser.step()
        self._optimiser.zero_grad()

    @torch.inference_mode()
    def answer(self) -> None:
        self._model.eval()
        self._answer(self._inputs)


def plain_loop(batch: Batch) -> Contestant:
    """The log's loop as in :mod:`benchmarks._log_loop`."""
    torch.manual_seed(0)
    model = LogLoop(DualLoopConfig())
    return Theirs(model, model.loss, model, batch)


def hrm_package(batch: Batch) -> Contestant:
    """hrm-pytorch at the published HRM's width, depth and cycles."""
    from HRM import HRM

    torch.manual_seed(0)
    level = {"dim": 512, "depth": 4, **_ENCODER}
    model = HRM([level, dict(level)], dim=512, num_tokens=12, reasoning_steps=2, relative_period=2)
    return Theirs(model, lambda inputs, labels: model(inputs, labels=labels)[0], model, batch)


def trm_package(batch: Batch) -> Contestant:
    """tiny-recursive-model at TRM's width, depth and cycles."""
    from tiny_recursive_model import TinyRecursiveModel
    from x_transformers import Encoder

    torch.manual_seed(0)
    network = Encoder(dim=512, depth=2, **_ENCODER)
    model = TinyRecursiveModel(
        dim=512, num_tokens=12, network=network, num_refinement_blocks=3, num_latent_refinements=4
    )

    def think(inputs: Tensor, labels: Tensor | None = None) -> Any:
        return model(inputs, *model.get_initial(), labels=labels)

    return Theirs(model, lambda inputs, labels: think(inputs, labels)[0], think, batch)


# Heads, gated feed-forward of the same inner width, rotary positions and fused attention, as in ours.
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
    """Floating-point operations of a step's matrix products and attention, as the maths asks for them."""
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
    """Four products; that kernels compute a fifth, the scores, once more is their own business."""
    return 2 * sdpa_flop_count(query, key, value)
