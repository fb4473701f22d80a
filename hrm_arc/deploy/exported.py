"""The file format of an exported model: one ONNX file with the graph of a segment and a description of it.

The description (:class:`Exported`) is JSON in one of ONNX's metadata entries. The last metadata entry is a SHA-256
checksum of everything before it. The file is still a valid ONNX file, because a serialized protobuf message may be
extended by appending fields, and any altered byte is found before the graph is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from hrm_arc.checks import listed, mapping, text, texts, whole
from hrm_arc.errors import UserError
from hrm_arc.puzzles.task import MAX_SIDE
from hrm_arc.reading import parse_json, read_bytes
from hrm_arc.runs.card import Card

Precision = Literal["fp32", "fp16", "int8"]
# Inputs and outputs of every graph; the tensors of the carry follow.
INPUTS = ("tokens", "task", "dihedral", "colors", "variant", "first_segment")
OUTPUTS = ("logits", "q_halt", "q_continue")
KEY = "hrm-arc"
# Field 14 of a ModelProto, metadata_props: an entry of key (field 1) and value (field 2).
_HEAD = b"\x72\x4a\x0a\x06sha256\x12\x40"
_TAIL = len(_HEAD) + 64
# Upper bounds for a model: no model has a longer loop or a larger size, and one would hang or exhaust the memory.
LARGEST_SEGMENTS, LARGEST_SIZE = 65_536, 65_536
# ONNX files of two gigabytes or more need external data, which is not supported here.
LARGEST_FILE = 2**31


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
            ValueError: the text is not such a description; saying what is wrong with it.
        """
        data = mapping("the description", parse_json(text))
        known = [each.name for each in fields(cls)]
        if unknown := [name for name in data if name not in known]:
            raise ValueError(f"the description has an unknown field {unknown[0]!r:.60}")
        if missing := [name for name in known if name not in data]:
            raise ValueError(f"the description has no {missing[0]}")
        values = {name: _CHECKS[name](name, data[name]) for name in known}
        made = cls(**values)
        options = made.card.options
        if options.get("segments", made.segments) != made.segments:
            raise ValueError(f"segments is {made.segments}, and {options['segments']!r:.40} in the model's options")
        return made


def _canvas(name: str, value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if len(listed(name, value)) != 2:
        raise ValueError(f"{name} is not [height, width]")
    return (whole(name, value[0], 1, MAX_SIDE), whole(name, value[1], 1, MAX_SIDE))


def _precision(name: str, value: Any) -> str:
    if value not in get_args(Precision):
        raise ValueError(f"{name} is {value!r:.40}, expected one of {', '.join(get_args(Precision))}")
    return str(value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "card": lambda name, value: Card.from_json(value),
    "checkpoint": text,
    "precision": _precision,
    "segments": lambda name, value: whole(name, value, 1, LARGEST_SEGMENTS),
    "carry": lambda name, value: tuple(texts(name, value)),
    "hidden_size": lambda name, value: whole(name, value, 0, LARGEST_SIZE),
    "prefix": lambda name, value: whole(name, value, 0, LARGEST_SIZE),
    "num_heads": lambda name, value: whole(name, value, 1, LARGEST_SIZE),
    "canvas": _canvas,
    "float_ops": lambda name, value: {key: whole(f"{name}.{key}", n) for key, n in mapping(name, value).items()},
    "float_layers": texts,
    "versions": lambda name, value: {key: text(f"{name}.{key}", v) for key, v in mapping(name, value).items()},
    "recipe": lambda name, value: None if value is None else mapping(name, value),
}


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
        content = read_bytes(path, LARGEST_FILE)
    except FileNotFoundError:
        raise UserError(path, "cannot be read: there is no such file") from None
    model, tail = content[:-_TAIL], content[-_TAIL:]
    if not tail.startswith(_HEAD):
        raise UserError(path, "not written by hrm export, or incomplete")
    if tail[len(_HEAD) :] != hashlib.sha256(model).hexdigest().encode():
        raise UserError(path, "damaged: its content does not match its checksum")
    return content
