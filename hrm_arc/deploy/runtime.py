"""ONNX Runtime in the place of torch: the same samples in, the same answers out.

The graph holds one segment of thought; halting stays here, and undoing and voting stay in
:mod:`hrm_arc.evaluation.predict`, which takes this backend as it takes torch's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hrm_arc.deploy.exported import INPUTS, KEY, OUTPUTS, Exported, read_sealed
from hrm_arc.errors import UserError
from hrm_arc.evaluation.predict import Answers
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.canvas import most_likely_grids

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# Attention matrices of one layer, in MB, that a forward pass may take.
MEMORY = 96


class _Segment(NamedTuple):
    """What one run of the graph gives."""

    logits: np.ndarray
    halt: np.ndarray
    think_on: np.ndarray
    h: np.ndarray
    l: np.ndarray


class OnnxBackend:
    """A :class:`~hrm_arc.evaluation.predict.Backend` around an exported file.

    Args:
        path: the file.
        provider: ``cpu``, ``cuda`` or ``tensorrt``.
        threads: of the processor; 0: all.
        memory: MB for one layer's attention matrices; it sets how many samples go at once. The log's
            model stops its loop for a batch as a whole, so its answers may depend on that.
        halting: whether a sample stops when the model says so, or thinks to the end.

    Raises:
        UserError: the file is damaged or another's, or the provider is not to be had here.
    """

    def __init__(self, path: Path, provider: str = "cpu", threads: int = 0, memory: int = MEMORY, halting: bool = True):
        content = read_sealed(path)
        self._session = _session(path, content, provider, threads)
        try:
            self.exported = Exported.from_text(self._session.get_modelmeta().custom_metadata_map[KEY])
        except (KeyError, TypeError, ValueError):
            raise UserError(path, "not a model that hrm export has written") from None
        self.card = self.exported.card
        # The last of the file's bytes: see exported.py.
        self.checksum = content[-64:].decode()
        self.halting = halting
        self._memory = memory

    def answer(self, samples: Samples) -> Answers:
        parts = [self._think(part) for part in self._parts(samples)]
        tokens, confidence, segments = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Answers(tokens, confidence, segments)

    def refine(self, samples: Samples) -> np.ndarray:
        """Tokens after each segment, halting put aside, ``[segments, n, cells]``."""
        whole = []
        for part in self._parts(samples):
            after, state = [], None
            for _ in range(self.exported.segments):
                segment = self._run(part, state)
                state = (segment.h, segment.l)
                after.append(self._tokens(segment.logits, part))
            whole.append(np.stack(after))
        return np.concatenate(whole, axis=1)

    def logits(self, samples: Samples) -> np.ndarray:
        """Logits after the first segment, ``[n, cells, 12]``."""
        return np.concatenate([self._run(part, None).logits for part in self._parts(samples)])

    def _think(self, samples: Samples) -> Answers:
        """Segments until each sample would rather halt; one that has leaves the batch."""
        thinking = np.arange(len(samples))
        segment = self._run(samples, None)
        logits, halt, taken = segment.logits, segment.halt, np.ones(len(samples), dtype=np.int64)
        for number in range(2, self.exported.segments + 1):
            going_on = segment.halt <= segment.think_on if self.halting else np.ones(len(thinking), dtype=bool)
            if not going_on.any():
                break
            thinking = thinking[going_on]
            segment = self._run(_part(samples, thinking), (segment.h[going_on], segment.l[going_on]))
            logits[thinking], halt[thinking], taken[thinking] = segment.logits, segment.halt, number
        return Answers(self._tokens(logits, samples), 1 / (1 + np.exp(-halt)), taken)

    def _run(self, samples: Samples, state: tuple[np.ndarray, np.ndarray] | None) -> _Segment:
        h, l = state or 2 * (self._blank(samples),)
        place = (len(samples), samples.canvas.height, samples.canvas.width)
        values = (
            samples.inputs.astype(np.int64).reshape(place),
            *(part.astype(np.int64) for part in (samples.task, samples.dihedral, samples.colours, samples.variant)),
            np.array(state is None),
            h,
            l,
        )
        # What a model has no use for is no input of its graph.
        wanted = {input.name for input in self._session.get_inputs()}
        given = {name: value for name, value in zip(INPUTS, values, strict=True) if name in wanted}
        try:
            return _Segment(*self._session.run(OUTPUTS, given))
        except Exception as error:  # ONNX Runtime has a class of error for each status, without a common one.
            raise UserError("ONNX Runtime", str(error).splitlines()[0]) from None

    def _blank(self, samples: Samples) -> np.ndarray:
        """A state's place; what is in it does not matter before the first segment."""
        cells = self.exported.prefix + samples.canvas.cells
        return np.zeros((len(samples), cells, self.exported.width), dtype=np.float32)

    def _parts(self, samples: Samples) -> Iterator[Samples]:
        """The samples, so many at once that their attention matrices fit the memory."""
        canvas = samples.canvas
        height, width = self.exported.canvas or (canvas.height, canvas.width)
        if (height, width) != (canvas.height, canvas.width):
            raise UserError(
                "canvas", f"this model takes {height} x {width} alone, not {canvas.height} x {canvas.width}"
            )
        matrices = 4 * self.exported.heads * (self.exported.prefix + canvas.cells) ** 2
        at_once = max(1, self._memory * 10**6 // matrices)
        for start in range(0, len(samples), at_once):
            yield _part(samples, np.arange(start, min(start + at_once, len(samples))))

    def _tokens(self, logits: np.ndarray, samples: Samples) -> np.ndarray:
        if self.card.ignores_padding:
            return most_likely_grids(logits, samples.canvas)
        return logits.argmax(axis=-1).astype(np.uint8)


def _part(samples: Samples, chosen: np.ndarray) -> Samples:
    labels = None if samples.labels is None else samples.labels[chosen]
    told = (samples.task[chosen], samples.dihedral[chosen], samples.colours[chosen], samples.variant[chosen])
    return Samples(samples.canvas, samples.inputs[chosen], labels, *told)


def _session(path: Path, content: bytes, provider: str, threads: int) -> Any:
    import onnxruntime

    here = onnxruntime.get_available_providers()
    name = PROVIDERS[provider]
    if name not in here:
        known = ", ".join(short for short, full in PROVIDERS.items() if full in here)
        raise UserError("--provider", f"{provider} is not to be had here; this ONNX Runtime has {known}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Memory goes back when a canvas was large; a small machine has little to spare.
    options.enable_cpu_mem_arena = False
    providers = list(dict.fromkeys([name, PROVIDERS["cpu"]]))
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # As above: no common class.
        raise UserError(path, f"cannot be run: {str(error).splitlines()[0]}") from None
    # It was compiled in, but its libraries may be missing; nobody should be told the processor's speed for it.
    if session.get_providers()[0] != name:
        raise UserError("--provider", f"{provider} does not start here: its libraries are missing or do not fit")
    return session
