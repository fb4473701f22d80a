"""metrics.jsonl: one JSON object a row, appended as a run goes."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any


class Metrics:
    """An open metrics.jsonl; each row is on the disk's queue when ``log`` returns."""

    def __init__(self, path: Path):
        self._file = path.open("a", encoding="utf-8")

    def log(self, **row: Any) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
