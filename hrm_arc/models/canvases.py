"""The layout of samples on several canvases as one sequence of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrm_arc.models.fused import Rotation
from hrm_arc.models.reasoner import Batch


@dataclass(frozen=True)
class Canvases:
    """The layout of samples on several canvases as one sequence of tokens, ``[tokens, ...]``.

    The order is canvas by canvas, and on each canvas sample by sample. A sample has ``prefix`` tokens without a
    position, and then its cells, row by row. Token-wise layers run once for all of them; attention and convolutions
    ``split`` them by canvas.

    Behind the samples follow tokens of zeros, up to one of few lengths (:func:`padded_length`), where lengths vary: if
    there are several canvases, and in inference on a CPU, where each test input has another canvas. They belong to no
    sample and have no gradient.

    Attributes:
        sizes: number of samples, height and width of each canvas.
        prefix: tokens in front of each sample's cells.
        pads: whether padding follows a single canvas, too.
    """

    sizes: tuple[tuple[int, int, int], ...]
    prefix: int
    pads: bool = False

    @classmethod
    def of(cls, batches: Sequence[Batch], prefix: int) -> Canvases:
        """The layout of batches, each on its own canvas, with ``prefix`` tokens in front of each sample."""
        sizes = tuple((len(batch), batch.height, batch.width) for batch in batches)
        return cls(sizes, prefix, pads=_is_cpu_inference(batches[0].inputs))

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of one sample, for each canvas."""
        return [self.prefix + height * width for _, height, width in self.sizes]

    @property
    def counts(self) -> list[int]:
        """The number of tokens of all samples, for each canvas."""
        return [count * length for (count, _, _), length in zip(self.sizes, self.lengths, strict=True)]

    @property
    def padding(self) -> int:
        """The number of tokens behind the samples."""
        if len(self.sizes) == 1 and not self.pads:
            return 0
        tokens = sum(self.counts)
        return padded_length(tokens) - tokens

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Join tensors ``[samples, tokens, ...]``, one for each canvas, into ``[all tokens, ...]``."""
        flat = [part.flatten(0, 1) for part in parts]
        if len(flat) == 1 and not self.padding:
            return flat[0]
        if self.padding:
            flat.append(flat[0].new_zeros(self.padding, *flat[0].shape[1:]))
        return torch.cat(flat)

    def split(self, x: Tensor) -> list[Tensor]:
        """The inverse of :meth:`join`."""
        if len(self.sizes) == 1:
            return [x[: self.counts[0]].view(self.sizes[0][0], self.lengths[0], *x.shape[1:])]
        # One split for all canvases: its gradient is one concatenation.
        *parts, _ = torch.split(x, [*self.counts, self.padding])
        return [
            part.view(count, length, *x.shape[1:])
            for part, (count, _, _), length in zip(parts, self.sizes, self.lengths, strict=True)
        ]

    def rotation(self, tables: Sequence[Rotation]) -> Rotation:
        """Rotary angles of every token, from each canvas's table: ``[tokens, 1, head_size / 2]``."""
        cos, sin = (
            self.join([table.expand(count, -1, -1) for table, (count, _, _) in zip(each, self.sizes, strict=True)])
            for each in zip(*tables, strict=True)
        )
        return cos[:, None], sin[:, None]


def _is_cpu_inference(inputs: Tensor) -> bool:
    """Whether this is inference on a CPU, outside of a graph that is made for other batches."""
    graph = torch.compiler.is_compiling() or torch.compiler.is_exporting()
    return inputs.device.type == "cpu" and not torch.is_grad_enabled() and not graph


def padded_length(tokens: int) -> int:
    """The next of few lengths: for a new size of a product oneDNN builds a kernel, which takes milliseconds.

    From 512 tokens on there are 16 lengths for each doubling, so less than 1/16 is padding; below, multiples of 32.
    """
    step = 1 << max(5, tokens.bit_length() - 5)
    return -(-tokens // step) * step
