"""The progress file of a validation: sealed with a checksum, and every figure in it is checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hrm_arc import telemetry
from hrm_arc.checks import field, mapping, number, share, text, whole
from hrm_arc.errors import UserError
from hrm_arc.evaluation.baselines import BASELINE_NAMES
from hrm_arc.evaluation.prediction import MOST_SEGMENTS
from hrm_arc.files import write_sealed_json
from hrm_arc.puzzles.canvas import FULL
from hrm_arc.reading import MIB, read_sealed_json

LARGEST = 8 * MIB


@dataclass(frozen=True)
class Progress:
    """The progress of a validation.

    Attributes:
        fingerprint: of the validation (:attr:`~hrm_arc.deploy.agreement.Fingerprint.whole`).
        samples: the number of samples.
        done: the number of samples that are scored.
        correct_cells: correct cells, of 900 for each sample.
        exact: samples whose grid is exactly right.
        segments: segments of all samples together.
        seconds: time of all processes that worked on it.
        peak_memory: the largest peak of any of those processes, in bytes.
    """

    fingerprint: str
    samples: int
    done: int = 0
    correct_cells: int = 0
    exact: int = 0
    segments: int = 0
    seconds: float = 0.0
    peak_memory: int = 0

    def figures(self) -> dict[str, Any]:
        """The rates so far, which do not depend on the machine or on interruptions."""
        count = max(1, self.done)
        return {
            "samples": self.done,
            "progress": self.done / self.samples,
            "token_accuracy": self.correct_cells / (count * FULL.cells),
            "exact_accuracy": self.exact / count,
            "mean_segments": self.segments / count,
        }

    def speed(self) -> dict[str, Any]:
        """Figures that depend on the machine: time, speed, memory, temperature (degrees Celsius) and power (watts)."""
        return {
            "seconds": round(self.seconds, 2),
            "samples_per_second": self.done / self.seconds if self.seconds else 0.0,
            "peak_memory_bytes": self.peak_memory,
            "temperature": telemetry.temperature(),
            "watts": telemetry.power(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Progress:
        """The progress in a decoded file.

        Raises:
            ValueError: a figure is missing, or is not one that a validation can have.
        """
        known = {each.name: each for each in fields(cls)}
        for name in data:
            if name not in known:
                raise ValueError(f"has an unknown field {name!r:.40}")
        for name, each in known.items():
            if each.default is MISSING:
                field(data, name)
        progress = cls(**data)
        text("fingerprint", progress.fingerprint, 64)
        samples = whole("samples", progress.samples, 1)
        done = whole("done", progress.done, 0, samples)
        whole("correct_cells", progress.correct_cells, 0, done * FULL.cells)
        whole("exact", progress.exact, 0, done)
        whole("segments", progress.segments, done, done * MOST_SEGMENTS)
        number("seconds", progress.seconds, 0)
        whole("peak_memory", progress.peak_memory)
        return progress


def write_progress(file: Path, progress: Progress, result: Mapping[str, Any] | None = None) -> None:
    """Write a progress file.

    Args:
        file: the file.
        progress: the progress.
        result: of a finished validation.

    Raises:
        ReportedError: it cannot be written.
    """
    data = asdict(progress) if result is None else {**asdict(progress), "result": dict(result)}
    write_sealed_json(file, data, lasting=True)


def read_file(file: Path) -> tuple[Progress, dict[str, Any] | None]:
    """The progress in a file, and the result if the validation is finished.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is damaged, was edited, or is no progress file.
    """
    data = read_sealed_json(file, LARGEST)
    try:
        result = data.pop("result", None)
        progress = Progress.from_json(data)
        if result is not None:
            _check_result(mapping("result", result), progress)
    except (TypeError, ValueError) as error:
        raise UserError(file, str(error)) from None
    return progress, result


def _check_result(result: Mapping[str, Any], progress: Progress) -> None:
    """Raise a ValueError if a result is not that of its progress, or lacks what is shown of it."""
    if progress.done != progress.samples:
        raise ValueError("has a result, but is not finished")
    for name, value in progress.figures().items():
        if field(result, name) != value:
            raise ValueError(f"its result has {name} {result[name]!r:.40}, and its counts give {value}")
    baselines = mapping("baselines", field(result, "baselines"))
    for name in BASELINE_NAMES if progress.samples else ():
        for key in ("token_accuracy", "exact_accuracy"):
            share(f"{name}.{key}", field(mapping(name, field(baselines, name)), key))
    for name in ("seconds", "samples_per_second", "peak_memory_bytes"):
        number(name, field(result, name), 0)
    for name in ("temperature", "watts"):
        if field(result, name) is not None:
            number(name, result[name])
    for name in ("model", "run_id", "data", "checkpoint"):
        text(name, field(result, name))
    whole("step", field(result, "step"))
