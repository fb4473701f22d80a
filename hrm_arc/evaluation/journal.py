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

from hrm_arc.errors import UserError, unwritable
from hrm_arc.evaluation.prediction import Key, Prediction
from hrm_arc.files import exclusive_lock, open_append, sealed_row
from hrm_arc.puzzles.task import PuzzleError, Task
from hrm_arc.reading import check_sealed_row, iterate_rows


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
        """All predictions that any process has written.

        Raises:
            UserError: a file is no regular file, or two answers to one test output differ.
        """
        found: dict[Key, Prediction] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for prediction in _read(path):
                known = found.setdefault((prediction.task, prediction.test), prediction)
                if known is not prediction and known.as_row() != prediction.as_row():
                    what = f"{prediction.task}, test {prediction.test + 1}, has two different answers"
                    raise UserError(self.folder, f"{what}; remove this folder, and the same command makes them anew")
        return found

    def add(self, prediction: Prediction) -> None:
        """Append a prediction.

        Raises:
            ReportedError: it cannot be written.
        """
        try:
            self._make_folder()
            with open_append(self._file) as file:
                # After a line that a kill cut short, a new line begins.
                file.write("\n" * _is_cut(self._file) + sealed_row(prediction.as_row()))
        except OSError as error:
            raise unwritable(self._file, error) from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Refuse a second process that makes the same evaluation: the first to end would remove its predictions.

        Raises:
            UserError: another process makes this evaluation.
        """
        try:
            self._make_folder()
        except OSError as error:
            raise unwritable(self.folder, error) from None
        try:
            with exclusive_lock(self.folder, "making the evaluation in"):
                yield
        finally:
            with contextlib.suppress(OSError):  # It is removed only if it is empty.
                self.folder.rmdir()

    def _make_folder(self) -> None:
        if self.folder.is_symlink():
            raise UserError(self.folder, "is a link, and is not written through; remove it")
        self.folder.mkdir(parents=True, exist_ok=True)

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
    for _, row in iterate_rows(path, check_sealed_row, within=path.parent.parent):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, PuzzleError):
            if not isinstance(row, ValueError):  # A line that a kill cut short; this prediction is made again.
                yield Prediction.from_row(row)


def _is_cut(path: Path) -> bool:
    """Whether the last line of a file has no line break."""
    with path.open("rb") as file:
        return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read() != b"\n"
