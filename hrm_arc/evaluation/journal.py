"""The journal of an evaluation: each prediction is written to disk, so that a stopped evaluation resumes.

Only the same evaluation resumes: same weights, tasks and settings. Any other one has a journal of its own, so
votes of an earlier evaluation are never counted.
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
from hrm_arc.files import exclusive_lock
from hrm_arc.puzzles.task import PuzzleError, Task


class Journal:
    """A hidden folder of predictions; each process writes its own file and reads all files.

    Args:
        folder: the folder of the evaluation's results; the journal is a hidden folder in it.
        fingerprint: of the evaluation, see :func:`fingerprint`.
        rank: of this process.
    """

    def __init__(self, folder: Path, fingerprint: str, rank: int = 0):
        self.folder = folder / f".answering-{fingerprint}"
        self._file = self.folder / f"{rank}.jsonl"

    def read(self) -> dict[Key, Prediction]:
        """All predictions that any process has written."""
        predictions = (prediction for path in sorted(self.folder.glob("*.jsonl")) for prediction in _read(path))
        return {(prediction.task, prediction.test): prediction for prediction in predictions}

    def add(self, prediction: Prediction) -> None:
        """Append a prediction.

        Raises:
            ReportedError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._file.open("a+b") as file:
                # After a line that a kill cut short, a new line begins.
                if file.tell() and file.seek(-1, os.SEEK_END) and file.read() != b"\n":
                    file.write(b"\n")
                file.write(json.dumps(prediction.as_row()).encode() + b"\n")
        except OSError as error:
            raise unwritable(self._file, error) from None

    @contextlib.contextmanager
    def exclusive_lock(self) -> Iterator[None]:
        """Refuse a second process that makes the same evaluation: the first to end would remove its predictions.

        Raises:
            UserError: another process makes this evaluation.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from None
        try:
            with exclusive_lock(self.folder, "making the evaluation in"):
                yield
        finally:
            with contextlib.suppress(OSError):  # It is removed only if it is empty.
                self.folder.rmdir()

    def remove(self) -> None:
        """Remove the journal, once the results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(checkpoint: str, tasks: Sequence[Task], settings: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that identify an evaluation.

    Args:
        checkpoint: the checksum of the checkpoint's card.
        tasks: the tasks to answer; their test outputs do not count.
        settings: everything else that the predictions depend on.
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
            continue  # A line that a kill cut short; this prediction is made again.
