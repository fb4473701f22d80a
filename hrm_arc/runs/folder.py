"""A run is a folder: everything to resume, score and draw it without the process that made it.

config.yaml        the whole recipe, every default written out
status.json        where the run stands
metrics.jsonl      one object a row, in the order of steps
train.log          what happened, in lines for people
trace.json.gz      where a few steps went, if it was asked for
checkpoints/       one folder each
predictions.jsonl, scores.json, submission.json, report.html   once it is scored
scores/SOURCE/     the same for each other source it was scored on
"""

from __future__ import annotations

import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from hrm_arc.errors import UserError
from hrm_arc.files import write_text
from hrm_arc.runs.status import read_status


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def log_file(self) -> Path:
        return self.path / "train.log"

    @property
    def trace_file(self) -> Path:
        return self.path / "trace.json.gz"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def predictions_file(self) -> Path:
        return self.path / "predictions.jsonl"

    @property
    def scores_file(self) -> Path:
        return self.path / "scores.json"

    @property
    def submission_file(self) -> Path:
        return self.path / "submission.json"

    @property
    def report_file(self) -> Path:
        return self.path / "report.html"

    def scored(self, data: str | None) -> RunFolder:
        """Where scores on another source lie; without one, here."""
        if data is None:
            return self
        name = re.sub(r"[^\w.]+", "-", data).strip("-")
        if Path(data).exists():
            # Two folders of one name are two sources.
            whole = Path(data).resolve()
            name = f"{whole.name}-{zlib.crc32(str(whole).encode()):08x}"
        return RunFolder(self.path / "scores" / name)

    def owner(self) -> RunFolder:
        """The run itself, or the one whose scores on another source lie here."""
        return self if self.config_file.is_file() else RunFolder(self.path.resolve().parent.parent)

    def config(self) -> dict[str, Any]:
        """The recipe that the run was started with.

        Raises:
            UserError: this is no run folder.
        """
        try:
            config = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except OSError:
            raise UserError(self.path, "no run here: it has no config.yaml") from None
        except (UnicodeDecodeError, yaml.YAMLError):
            config = None
        if not isinstance(config, dict):
            raise UserError(self.config_file, "damaged: not a recipe in YAML")
        return config

    def status(self) -> dict[str, Any]:
        """What status.json says, or nothing where it is missing."""
        return read_status(self.status_file)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys under which two recipes, as plain data, say different things, with what each says; None: nothing."""
    flat = [_flat(recipe) for recipe in (one, other)]
    both = {key: (flat[0].get(key), flat[1].get(key)) for key in sorted(flat[0] | flat[1])}
    return {key: values for key, values in both.items() if values[0] != values[1]}


def _flat(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def new_run_id(now: datetime | None = None) -> str:
    """Date, time and eight hex digits: ``20250903_100435_3652c9d8``."""
    return f"{now or datetime.now():%Y%m%d_%H%M%S}_{secrets.token_hex(4)}"


def create_run(root: Path, config: dict[str, Any]) -> RunFolder:
    """Make a new run folder under ``root`` and write its config.yaml.

    Raises:
        UserError: it cannot be written there.
    """
    folder = RunFolder(root / new_run_id())
    write_text(folder.config_file, yaml.safe_dump(config, sort_keys=False))
    return folder
