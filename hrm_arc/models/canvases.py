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

    Canvases follow each other, on each canvas its samples, of each sample ``prefix`` tokens without a position
    and then the cells, row by row. Token-wise layers run once for all of them; attention and convolutions
    ``split`` them by canvas.

    Attributes:
        sizes: number of samples, height and width of each canvas.
        prefix: tokens in front of each sample's cells.
    """

    sizes: tuple[tuple[int, int, int], ...]
    prefix: int

    @classmethod
    def of(cls, batches: Sequence[Batch], prefix: int) -> Canvases:
        """The layout of batches, each on its own canvas, with ``prefix`` tokens in front of each sample."""
        return cls(tuple((len(batch), batch.height, batch.width) for batch in batches), prefix)

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of one sample, for each canvas."""
        return [self.prefix + height * width for _, height, width in self.sizes]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Join tensors ``[samples, tokens, ...]``, one for each canvas, into ``[all tokens, ...]``."""
        flat = [part.flatten(0, 1) for part in parts]
        return flat[0] if len(flat) == 1 else torch.cat(flat)

    def split(self, x: Tensor) -> list[Tensor]:
        """The inverse of :meth:`join`."""
        if len(self.sizes) == 1:
            return [x.view(self.sizes[0][0], self.lengths[0], *x.shape[1:])]
        counts = [count for count, _, _ in self.sizes]
        # One split for all canvases: its gradient is one concatenation.
        parts = torch.split(x, [count * length for count, length in zip(counts, self.lengths, strict=True)])
        return [
            part.view(count, length, *x.shape[1:])
            for part, count, length in zip(parts, counts, self.lengths, strict=True)
        ]

    def rotation(self, tables: Sequence[Rotation]) -> Rotation:
        """Rotary angles of every token, from each canvas's table: ``[tokens, 1, head_size / 2]``."""
        cos, sin = (
            torch.cat([table.repeat(count, 1) for table, (count, _, _) in zip(each, self.sizes, strict=True)])
            for each in zip(*tables, strict=True)
        )
        return cos[:, None], sin[:, None]
