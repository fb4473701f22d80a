"""The file format of an exported model: one ONNX file with the graph of a segment and a description of it.

The description (:class:`Exported`) is JSON in one of ONNX's metadata entries. The last metadata entry is a SHA-256
checksum of everything before it. The file is still a valid ONNX file, because a serialized protobuf message may be
extended by appending fields, and any altered byte is found before the graph is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hrm_arc.errors import UserError
from hrm_arc.runs.card import Card

Precision = Literal["fp32", "fp16", "int8"]
# Inputs and outputs of every graph; the tensors of the carry follow.
INPUTS = ("tokens", "task", "dihedral", "colors", "variant", "first_segment")
OUTPUTS = ("logits", "q_halt", "q_continue")
KEY = "hrm-arc"
# Field 14 of a ModelProto, metadata_props: an entry of key (field 1) and value (field 2).
_HEAD = b"\x72\x4a\x0a\x06sha256\x12\x40"
_TAIL = len(_HEAD) + 64


@dataclass(frozen=True)
class Exported:
    """The description of an exported file.

    Attributes:
        card: the card of the exported checkpoint.
        checkpoint: the checksum of that card.
        precision: the precision of the weights.
        segments: the most segments.
        carry: names of the carry's tensors, each ``[batch, prefix + cells, hidden_size]``, float32.
        hidden_size: size of each token's vector.
        prefix: tokens of the carry in front of the cells.
        num_heads: attention heads.
        canvas: height and width of the only canvas that the graph takes; None: any canvas.
        float_ops: for ``int8``: how many operations of each kind are computed in floating point.
        float_layers: for ``int8``: layers that are computed in floating point, because eight bits are too
            coarse for their inputs; their weights are stored in eight bits.
        versions: versions of the software that exported it.
        recipe: the recipe of the run, or None if it is not known.
    """

    card: Card
    checkpoint: str
    precision: Precision
    segments: int
    carry: tuple[str, ...]
    hidden_size: int
    prefix: int
    num_heads: int
    canvas: tuple[int, int] | None
    float_ops: dict[str, int]
    float_layers: list[str]
    versions: dict[str, str]
    recipe: dict[str, Any] | None

    def as_text(self) -> str:
        """The description as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Exported:
        """The inverse of :meth:`as_text`.

        Raises:
            ValueError, TypeError, KeyError: the text is not such a description.
        """
        fields = json.loads(text)
        card, canvas = Card(**fields.pop("card")), fields.pop("canvas")
        carry = tuple(fields.pop("carry"))
        return cls(card=card, canvas=None if canvas is None else tuple(canvas), carry=carry, **fields)


def input_names(carry: Sequence[str]) -> tuple[str, ...]:
    """Names of a graph's inputs, in order.

    ``tokens`` ``[batch, height, width]``, the parts of an
    :class:`~hrm_arc.puzzles.identity.Identity`, ``first_segment`` (a bool), then the carry. All integers are int64.

    Args:
        carry: names of the carry's tensors.
    """
    return (*INPUTS, *carry)


def output_names(carry: Sequence[str]) -> tuple[str, ...]:
    """Names of a graph's outputs, in order.

    ``logits`` ``[batch, height * width, 12]``, ``q_halt`` and ``q_continue`` ``[batch]``, then the next carry.

    Args:
        carry: names of the carry's tensors.
    """
    return (*OUTPUTS, *(f"{name}_next" for name in carry))


def with_checksum(model: bytes) -> bytes:
    """A serialized ONNX model, its checksum appended."""
    return model + _HEAD + hashlib.sha256(model).hexdigest().encode()


def read_checked(path: Path) -> bytes:
    """The content of an exported file, after its checksum was verified.

    Raises:
        UserError: the file cannot be read, was not written by ``hrm export``, or was altered since.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}") from None
    model, tail = content[:-_TAIL], content[-_TAIL:]
    if not tail.startswith(_HEAD):
        raise UserError(path, "not written by hrm export, or incomplete")
    if tail[len(_HEAD) :] != hashlib.sha256(model).hexdigest().encode():
        raise UserError(path, "damaged: its content does not match its checksum")
    return content
