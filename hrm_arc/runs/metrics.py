"""metrics.jsonl: one JSON object a row, appended as a run goes, in the order of its steps."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any

from hrm_arc.files import write_lines


class Metrics:
    """An open metrics.jsonl; each row has left this process when ``log`` returns.

    Args:
        path: the file.
        after: rows of later steps are dropped first. They were written by a process that
            was killed after its last checkpoint, and will be written again.
    """

    def __init__(self, path: Path, after: int = 0):
        write_lines(path, [row for row in read_metrics(path) if row["step"] <= after])
        self._file = path.open("a", encoding="utf-8")

    def log(self, **row: Any) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; one that a kill or a full disk cut short is none."""
    rows = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            with contextlib.suppress(ValueError):
                rows += [json.loads(line)] if line.endswith("\n") else []
    except OSError:
        return []
    return rows
