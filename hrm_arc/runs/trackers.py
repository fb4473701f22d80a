"""Trackers: further places for a run's metrics: CSV, TensorBoard, Weights & Biases offline.

A tracker gets the rows of metrics.jsonl and nothing else. Training needs none of them.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

from hrm_arc.errors import UserError
from hrm_arc.files import open_append, write_text
from hrm_arc.reading import read_text

TrackerName = Literal["csv", "tensorboard", "wandb"]


class Tracker(Protocol):
    """Something that takes rows of figures until it is closed."""

    def log(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class CsvTracker:
    """``metrics.csv``: one value per line, so that rows of any kind fit."""

    def __init__(self, folder: Path, run_id: str, config: dict[str, Any], after: int):
        path = folder / "metrics.csv"
        # Atomically, because a process may be killed here, too.
        kept = io.StringIO()
        csv.writer(kept).writerows([_COLUMNS, *_rows_until(path, after)])
        write_text(path, kept.getvalue())
        self._file = open_append(path, newline="")
        self._writer = csv.writer(self._file)

    def log(self, row: dict[str, Any]) -> None:
        for name, value in _figures(row).items():
            self._writer.writerow([row["kind"], row["step"], name, value])
        self._file.flush()

    def close(self) -> None:
        self._file.close()


_COLUMNS = ["kind", "step", "name", "value"]


def _rows_until(path: Path, step: int) -> list[list[str]]:
    """Rows of a metrics.csv up to a step, without damaged ones: a killed process may leave an unfinished last row."""
    if not path.exists():
        return []
    rows = _readable_rows(read_text(path, within=path.parent))
    return [row for row in rows if len(row) == len(_COLUMNS) and _is_step(row[1]) and int(row[1]) <= step]


def _readable_rows(text: str) -> Iterator[list[str]]:
    """The rows of a CSV text, without those that the csv module refuses, such as one of a very long field."""
    reader = csv.reader(io.StringIO(text))
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            continue  # The reader goes on with the next line.


def _is_step(text: str) -> bool:
    """Whether a text is the number of a step: a short one of the digits 0 to 9."""
    return text.isascii() and text.isdecimal() and len(text) < 20


class TensorBoardTracker:
    """Event files under ``tensorboard/``."""

    def __init__(self, folder: Path, run_id: str, config: dict[str, Any], after: int):
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=after + 1)

    def log(self, row: dict[str, Any]) -> None:
        for name, value in _figures(row).items():
            self._writer.add_scalar(f"{row['kind']}/{name}", value, row["step"])
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandbTracker:
    """An offline run under ``wandb/``; ``wandb sync`` sends it on when there is a network."""

    def __init__(self, folder: Path, run_id: str, config: dict[str, Any], after: int):
        # Without a home directory, W&B prints a page of warnings about its own cache.
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            if "HOME" not in os.environ:
                os.environ.setdefault(name, str(folder / "wandb"))
        import wandb

        settings = wandb.Settings(mode="offline", silent=True, console="off")
        self._run = wandb.init(
            project="hrm-arc", id=run_id, name=run_id, dir=str(folder), config=config, settings=settings
        )

    def log(self, row: dict[str, Any]) -> None:
        self._run.log({f"{row['kind']}/{name}": value for name, value in _figures(row).items()}, step=row["step"])

    def close(self) -> None:
        self._run.finish()


_KINDS: dict[str, Callable[[Path, str, dict[str, Any], int], Tracker]] = {
    "csv": CsvTracker,
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
}


def open_tracker(name: TrackerName, folder: Path, run_id: str, config: dict[str, Any], after: int = 0) -> Tracker:
    """A tracker by name.

    Args:
        name: see :data:`TrackerName`.
        folder: the run's.
        run_id: the run's ID.
        config: its recipe.
        after: rows of later steps, which a killed process wrote after its last checkpoint, will
            come again; CSV and TensorBoard drop them, W&B has no way to.

    Raises:
        UserError: the package it needs is not installed.
    """
    try:
        return _KINDS[name](folder, run_id, config, after)
    except ImportError:
        raise UserError("training.trackers", f"{name} is not installed; pip install 'hrm-arc[{name}]'") from None


def _figures(row: dict[str, Any]) -> dict[str, float]:
    return {
        name: value for name, value in row.items() if name not in ("kind", "step") and isinstance(value, int | float)
    }
