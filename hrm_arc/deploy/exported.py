"""An exported model is one ONNX file: a segment of thought as a graph, and a card that describes it.

The file ends in a checksum of everything before it, written as one more metadata entry, so that
it stays a valid ONNX file (the parts of a protobuf message may simply be joined) and a single
altered byte is found before anything is run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hrm_arc.errors import UserError
from hrm_arc.runs.checkpoint import Card

Precision = Literal["fp32", "fp16", "int8"]
INPUTS = ("tokens", "task", "dihedral", "colours", "variant", "fresh", "h", "l")
OUTPUTS = ("logits", "halt", "think_on", "h_next", "l_next")
KEY = "hrm-arc"
# Field 14 of a ModelProto, metadata_props: an entry of key (field 1) and value (field 2).
_HEAD = b"\x72\x4a\x0a\x06sha256\x12\x40"
_TAIL = len(_HEAD) + 64


@dataclass(frozen=True)
class Exported:
    """What an exported file says of itself.

    Attributes:
        card: of the checkpoint that it was made from.
        checkpoint: that card's checksum.
        precision: of its weights.
        segments: most segments of thought.
        width: of a state's vectors.
        prefix: tokens of a state in front of the cells.
        heads: of its attention.
        canvas: height and width of the one canvas that it takes; None: any.
        floats: kinds of operation that an ``int8`` file leaves in floating point.
        float_layers: layers whose inputs are too uneven for eight bits; their weights are in eight bits.
        versions: of the software that made it.
        recipe: of the run that it comes from, as far as known.
    """

    card: Card
    checkpoint: str
    precision: Precision
    segments: int
    width: int
    prefix: int
    heads: int
    canvas: tuple[int, int] | None
    floats: dict[str, int]
    float_layers: list[str]
    versions: dict[str, str]
    recipe: dict[str, Any] | None

    def as_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Exported:
        """The inverse of :meth:`as_text`.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        fields = json.loads(text)
        canvas = fields.pop("canvas")
        return cls(card=Card(**fields.pop("card")), canvas=None if canvas is None else tuple(canvas), **fields)


def sealed(model: bytes) -> bytes:
    """A serialised ONNX model with its checksum at the end."""
    return model + _HEAD + hashlib.sha256(model).hexdigest().encode()


def read_sealed(path: Path) -> bytes:
    """A file's content, if it is whole.

    Raises:
        UserError: it cannot be read, was not exported by this project, or was altered since.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(path, f"cannot be read: {error.strerror}") from None
    model, tail = content[:-_TAIL], content[-_TAIL:]
    if not tail.startswith(_HEAD):
        raise UserError(path, "not a model that hrm export has written, or cut short")
    if tail[len(_HEAD) :] != hashlib.sha256(model).hexdigest().encode():
        raise UserError(path, "damaged: its checksum is not the one at its end")
    return content
