"""Whether a command that was disturbed has ended as one that was not: the same files, apart from measured times."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from hrm_arc.runs.checkpoint import LATEST, TRAINING, WEIGHTS, list_checkpoints
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.metrics import read_metrics

HRM = [sys.executable, "-m", "hrm_arc"]
TRAIN = [
    *(*HRM, "train", "quickstart"),
    *("--data.smallest", "2", "--data.augment", "20", "--model.hidden_size", "32", "--model.num_heads", "2"),
    *("--training.max_minutes", "0", "--training.batch_size", "8", "--training.checkpoint_every", "2"),
    *("--validation.every", "40", "--training.accelerator", "cpu"),
]
# Values of metrics.jsonl that differ between two runs of one recipe.
MEASURED = ("seconds", "timing", "samples_per_sec", "cells_per_sec", "model_flops_per_sec", "peak_memory_bytes")
# Further ones of other files; and a checksum, which covers them.
ALSO_MEASURED = ("samples_per_second", "peak_memory", "temperature", "watts", "last_update", "crc32")


@dataclass
class Tally:
    """How often a command was disturbed, and how it ended.

    Attributes:
        times: disturbances.
        same: of them, those after which the command ended as an undisturbed one.
        leftovers: files that an undisturbed command does not leave.
    """

    times: int = 0
    same: int = 0
    leftovers: int = 0

    def row(self, what: str, details: str = "") -> dict[str, Any]:
        """A row of the table."""
        ended = f"{self.same} of {self.times}"
        found = {"times": self.times, "ended as undisturbed": ended, "leftovers": self.leftovers}
        return {"what": what, **found, "details": details}


def names(folder: Path) -> set[str]:
    """The files and folders in a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def snapshot(folder: Path) -> dict[str, str]:
    """What every file of a folder holds, without measured values; of pages and logs only that they are there."""
    return {
        path.relative_to(folder).as_posix(): _content(path, str(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _content(path: Path, place: str) -> str:
    if path.suffix in (".html", ".log"):
        return ""
    if path.suffix in (".json", ".jsonl"):
        return plain(path.read_text(encoding="utf-8"), path.suffix == ".jsonl").replace(place, "PLACE")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(text: str, is_rows: bool = False) -> str:
    """JSON without measured values."""
    rows = text.splitlines() if is_rows else [text]
    return "\n".join(json.dumps(_without_measured(json.loads(row)), sort_keys=True) for row in rows)


def _without_measured(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key not in (*MEASURED, *ALSO_MEASURED)}
        return {key: _without_measured(each) for key, each in kept.items()}
    return [_without_measured(each) for each in value] if isinstance(value, list) else value


def finish(command: Sequence[str], root: Path) -> RunFolder:
    """Train to the end; returns the one run in ``root``."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return only_run(root)


def only_run(root: Path) -> RunFolder:
    """The one run in a folder."""
    (path,) = root.iterdir()
    return RunFolder(path)


def progress(root: Path) -> int:
    """A number that changes whenever a checkpoint of a run in ``root`` was written; 0 without any."""
    return sum(path.stat().st_mtime_ns for path in root.glob("*/checkpoints"))


def tensors(run: RunFolder) -> dict[str, Any]:
    """All tensors of a run's newest checkpoint."""
    newest = list_checkpoints(run.checkpoints, LATEST)[-1]
    return load_file(newest / WEIGHTS) | load_file(newest / TRAINING)


def differing(one: RunFolder, other: RunFolder) -> int:
    """Number of tensors that differ between two runs."""
    a, b = tensors(one), tensors(other)
    return len(a.keys() ^ b.keys()) + sum(a[name].tobytes() != b[name].tobytes() for name in a.keys() & b.keys())


def differing_rows(one: RunFolder, other: RunFolder) -> int:
    """Number of rows of metrics that differ, are missing or come twice; ``MEASURED`` values are ignored."""
    a, b = (
        [{key: value for key, value in row.items() if key not in MEASURED} for row in read_metrics(run.metrics_file)]
        for run in (one, other)
    )
    return abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b, strict=False))


def is_same_run(one: RunFolder, other: RunFolder) -> bool:
    """Whether two runs are finished and have the same tensors and metrics."""
    is_finished = all(run.status().get("state") == "finished" for run in (one, other))
    return is_finished and not differing(one, other) and not differing_rows(one, other)


def leftovers(run: RunFolder, straight: RunFolder) -> int:
    """Number of files and folders of a run that an undisturbed run does not have."""
    return len(names(run.path) - names(straight.path))
