"""Inference in ONNX Runtime: the same samples and the same answers as in torch, without torch.

The graph is one segment. Halting is :mod:`hrm_arc.evaluation.halting`, as in torch; voting is
:mod:`hrm_arc.evaluation.predict`, which takes any backend.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.deploy.exported import KEY, Exported, input_names, output_names, read_checked
from hrm_arc.errors import UserError
from hrm_arc.evaluation.backend import Answers, SegmentAnswer
from hrm_arc.evaluation.halting import HaltingController, SegmentOutput, run_until_halted
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.readings import Reading, read_tokens

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# Megabytes that one layer's attention matrices may take in a forward pass.
MEMORY = 96


class OnnxSegment:
    """A batch in ONNX Runtime between two segments; see :class:`~hrm_arc.evaluation.halting.Segment`.

    Args:
        session: an ONNX Runtime session of an exported file.
        exported: the file's description.
        samples: the samples.
    """

    def __init__(self, session: Any, exported: Exported, samples: Samples):
        self._session = session
        self._exported = exported
        self._samples = samples
        self._first = True
        shape = (len(samples), exported.prefix + samples.canvas.cells, exported.hidden_size)
        # In the first segment the graph uses its own initial carry instead of these values.
        self._carry = [np.zeros(shape, dtype=np.float32) for _ in exported.carry]

    def run(self) -> SegmentOutput[np.ndarray]:
        """See :class:`~hrm_arc.evaluation.halting.Segment`.

        Raises:
            UserError: ONNX Runtime cannot run the graph, such as for lack of memory.
        """
        samples = self._samples
        values = (
            samples.inputs.astype(np.int64).reshape(len(samples), samples.canvas.height, samples.canvas.width),
            *samples.identity.map(lambda part: part.astype(np.int64)).parts,
            np.array(self._first),
            *self._carry,
        )
        # The exporter removes inputs that a model does not use.
        used = {value.name for value in self._session.get_inputs()}
        names = input_names(self._exported.carry)
        given = {name: value for name, value in zip(names, values, strict=True) if name in used}
        try:
            outputs = self._session.run(output_names(self._exported.carry), given)
        except Exception as error:  # ONNX Runtime has an exception for each status, without a common base class.
            raise UserError("ONNX Runtime", str(error).splitlines()[0]) from None
        logits, q_halt, q_continue, *self._carry = outputs
        self._first = False
        return SegmentOutput(logits, q_halt, q_continue)

    def select(self, chosen: np.ndarray) -> None:
        self._samples = self._samples.select(chosen)
        self._carry = [tensor[chosen] for tensor in self._carry]

    def indices(self) -> np.ndarray:
        return np.arange(len(self._samples))


class OnnxBackend:
    """A :class:`~hrm_arc.evaluation.backend.Backend` around an exported file.

    Args:
        path: the file.
        provider: ``cpu``, ``cuda`` or ``tensorrt``.
        threads: CPU threads; 0: one for each core.
        memory: megabytes for one layer's attention matrices; they limit the batch size. dual-loop stops its
            loop for a whole batch, so its answers may depend on the batch size.
        early_exit: whether a sample stops when its halting logit says so; otherwise it runs every segment. None: see
            :attr:`hrm_arc.runs.card.Card.early_exit`.
        reading: how tokens are read as a grid.

    Raises:
        UserError: the file is damaged or was not written by ``hrm export``, or the provider is not available.
    """

    def __init__(
        self,
        path: Path,
        provider: str = "cpu",
        threads: int = 0,
        memory: int = MEMORY,
        early_exit: bool | None = None,
        reading: Reading = "likely",
    ):
        content = read_checked(path)
        self._session = _session(path, content, provider, threads)
        described = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if described is None:
            raise UserError(path, "not written by hrm export: it has no description")
        try:
            self.exported = Exported.from_text(described)
            _check_names(self._session, self.exported)
        except ValueError as error:
            raise UserError(path, f"not written by hrm export, or by another version of it: {error}") from None
        self.card = self.exported.card
        # The hexadecimal digits at the end of the file, see exported.py.
        self.checksum = content[-64:].decode()
        self.early_exit = self.card.early_exit if early_exit is None else early_exit
        self.reading = reading
        self.halt_at = self.card.halt_at
        self._memory = memory

    def answer(self, samples: Samples) -> Answers:
        """See :class:`~hrm_arc.evaluation.backend.Backend`."""
        parts = [self._answer(part) for part in self._parts(samples)]
        return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def set_halting(self, halt_at: float, segments: int | None = None) -> None:
        """See :class:`~hrm_arc.evaluation.backend.HaltingBackend`."""
        if segments is not None:
            raise UserError("--segments", "is for a run or checkpoint; the segments of an exported file are fixed")
        self.halt_at = halt_at

    def segment_answers(self, samples: Samples) -> Iterator[SegmentAnswer]:
        """See :class:`~hrm_arc.evaluation.backend.SegmentsBackend`."""
        controller, segment = HaltingController(self.exported.segments, halt_at=self.halt_at), self._segment(samples)
        for number in range(1, self.exported.segments + 1):
            logits, q_halt, q_continue = segment.run()
            halted = controller.halted(number, q_halt, q_continue)
            yield SegmentAnswer(self._tokens(logits, samples), _probability(q_halt), halted)

    def refine(self, samples: Samples) -> np.ndarray:
        """Tokens after each segment, without early exit, ``[segments, n, cells]``."""
        # Part by part: their carries are large.
        parts = [np.stack([each.tokens for each in self.segment_answers(part)]) for part in self._parts(samples)]
        return np.concatenate(parts, axis=1)

    def logits(self, samples: Samples) -> np.ndarray:
        """Logits after the first segment, ``[n, cells, 12]``."""
        return np.concatenate([self._segment(part).run().logits for part in self._parts(samples)])

    def _answer(self, samples: Samples) -> Answers:
        controller = HaltingController(self.exported.segments, self.early_exit, self.halt_at)
        output, segments = run_until_halted(self._segment(samples), controller)
        confidence = _probability(output.q_halt)
        # NaN or +infinity in any logit: the answer is none, and the confidence says so.
        broken = (np.isnan(output.logits) | np.isposinf(output.logits)).any(axis=(1, 2))
        confidence[broken], output.logits[broken] = np.nan, 0
        return Answers(self._tokens(output.logits, samples), confidence, segments)

    def _segment(self, samples: Samples) -> OnnxSegment:
        return OnnxSegment(self._session, self.exported, samples)

    def _parts(self, samples: Samples) -> Iterator[Samples]:
        """The samples in batches whose attention matrices fit the memory limit."""
        canvas = samples.canvas
        height, width = self.exported.canvas or (canvas.height, canvas.width)
        if (height, width) != (canvas.height, canvas.width):
            what = f"this model takes a canvas of {height} x {width} only, not {canvas.height} x {canvas.width}"
            raise UserError("canvas", what)
        matrices = 4 * self.exported.num_heads * (self.exported.prefix + canvas.cells) ** 2
        return samples.parts(self._memory * 10**6 // matrices)

    def _tokens(self, logits: np.ndarray, samples: Samples) -> np.ndarray:
        return read_tokens(logits, samples.canvas, self.card.ignores_padding, self.reading)


def _probability(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return 1 / (1 + np.exp(-logits))


def _check_names(session: Any, exported: Exported) -> None:
    """Raise a ValueError if a graph does not have the inputs and outputs of its description."""
    inputs, outputs = ({value.name for value in values} for values in (session.get_inputs(), session.get_outputs()))
    if unknown := sorted(inputs - set(input_names(exported.carry))):
        raise ValueError(f"the graph has an unknown input {unknown[0]!r:.60}")
    if missing := sorted(set(output_names(exported.carry)) - outputs):
        raise ValueError(f"the graph has no output {missing[0]!r:.60}")


def provider_options(provider: str, available: Collection[str]) -> list[tuple[str, dict[str, str]]]:
    """The providers of ONNX Runtime, with options. The next one does what one has no operation for.

    Products in single precision stay that: by default a GPU rounds their factors to ten bits (TF32), and a model that
    runs on its own outputs makes such differences larger.

    Args:
        provider: a key of :data:`PROVIDERS`.
        available: the providers of this ONNX Runtime, in its words.
    """
    order = {"tensorrt": ("tensorrt", "cuda", "cpu"), "cuda": ("cuda", "cpu"), "cpu": ("cpu",)}[provider]
    options = {"cuda": {"use_tf32": "0"}}
    return [(PROVIDERS[each], options.get(each, {})) for each in order if PROVIDERS[each] in available]


def _session(path: Path, content: bytes, provider: str, threads: int) -> Any:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    name = PROVIDERS[provider]
    if name not in available:
        known = ", ".join(short for short, full in PROVIDERS.items() if full in available)
        raise UserError("--provider", f"{provider} is not available here; this ONNX Runtime has {known}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Without an arena the memory of a large canvas is returned to the system; small machines need it.
    options.enable_cpu_mem_arena = False
    if provider == "tensorrt":
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=provider_options(provider, available), enable_fallback=0
        )
    except Exception as error:  # As above: no common base class.
        raise UserError(path, f"cannot be run: {str(error).splitlines()[0]}") from None
    # A provider that was compiled in may lack its libraries; the CPU must not replace it silently.
    if session.get_providers()[0] != name:
        raise UserError("--provider", f"{provider} does not start here: its libraries are missing or do not fit")
    return session
