"""Predictions on disk as they are made, so that an evaluation that was stopped goes on.

Only the same evaluation goes on: the same weights, tasks and settings. Anything else begins
anew, so that no vote of an earlier one is ever counted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hrm_arc.errors import unwritable
from hrm_arc.evaluation.predict import Key, Prediction
from hrm_arc.files import claimed
from hrm_arc.puzzles.task import PuzzleError, Task


class Journal:
    """Where an evaluation's processes write each prediction as soon as they have it.

    Args:
        folder: of the evaluation's results; the journal lies in a hidden folder within.
        fingerprint: of the evaluation, see :func:`fingerprint`.
        rank: which process this is; each writes a file of its own and reads all.
    """

    def __init__(self, folder: Path, fingerprint: str, rank: int = 0):
        self.folder = folder / f".answering-{fingerprint}"
        self._file = self.folder / f"{rank}.jsonl"

    def read(self) -> dict[Key, Prediction]:
        """Every prediction that any process has written."""
        predictions = (prediction for path in sorted(self.folder.glob("*.jsonl")) for prediction in _read(path))
        return {(prediction.task, prediction.test): prediction for prediction in predictions}

    def add(self, prediction: Prediction) -> None:
        """Write a prediction down.

        Raises:
            ReportedError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._file.open("a+b") as file:
                # A line that a kill has cut short is left to itself.
                if file.tell() and file.seek(-1, os.SEEK_END) and file.read() != b"\n":
                    file.write(b"\n")
                file.write(json.dumps(prediction.as_row()).encode() + b"\n")
        except OSError as error:
            raise unwritable(self._file, error) from None

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep the same evaluation from being made twice at once: the first to end would remove the other's answers.

        Raises:
            UserError: another process has it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from None
        try:
            with claimed(self.folder, "making the evaluation in"):
                yield
        finally:
            with contextlib.suppress(OSError):  # Nothing was answered.
                self.folder.rmdir()

    def remove(self) -> None:
        """Once the results are whole, it has done its work."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(checkpoint: str, tasks: Sequence[Task], settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that stand for an evaluation.

    Args:
        checkpoint: the checksum of its card.
        tasks: what is to be answered; their answers have no part in it.
        settings: what else decides the predictions.
    """
    digest = hashlib.sha256(json.dumps([checkpoint, settings], sort_keys=True).encode())
    for task in tasks:
        digest.update(repr((task.id, len(task.demonstrations))).encode())
        for grid in task.visible_grids():
            digest.update(repr(grid.shape).encode() + grid.tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path) -> Iterator[Prediction]:
    for line in path.read_bytes().split(b"\n"):
        try:
            yield Prediction.from_row(json.loads(line))
        except (ValueError, KeyError, TypeError, PuzzleError):
            continue  # The end of a killed process; it is answered again.
