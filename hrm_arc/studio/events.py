"""What a worker says: one JSON object a line on its standard output."""

from __future__ import annotations

import json
import os
from typing import Any


class EventWriter:
    """Writes objects to what was standard output; what anything else prints goes to standard error."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def __call__(self, event: str, **fields: Any) -> None:
        self._file.write(json.dumps({"event": event, **fields}) + "\n")
        self._file.flush()
