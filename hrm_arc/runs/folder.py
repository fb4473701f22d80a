"""A run is a folder: everything to resume, score and draw it without the process that made it.

config.yaml        the whole recipe, every default written out
accepted.json      keys of it that were changed by a resume, with their values, if there are any
begins-with.txt    the run whose weights it began with, if there was one
status.json        where the run stands
metrics.jsonl      one object a row, in the order of steps
train.log          what happened, in lines for people
trace.json.gz      where a few steps went, if it was asked for
checkpoints/       one folder each
predictions.jsonl, scores.json, submission.json, report.html   once it is scored
scores/SOURCE/     the same for each other source it was scored on
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hrm_arc.errors import UserError, printable
from hrm_arc.files import write_sealed_json, write_text
from hrm_arc.reading import LARGEST_YAML, kind_of, parse_yaml, read_sealed_json, read_text
from hrm_arc.runs.status import read_status

log = logging.getLogger(__name__)

# The first line of config.yaml, with the checksum of the lines below.
SEAL = re.compile(r"# The recipe of this run; crc32 ([0-9a-f]{8})\n")


# Bytes of the name of a run.
LONGEST_NAME = 1000


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        # Also of a path such as ".".
        return os.path.basename(os.path.abspath(self.path))

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def accepted_file(self) -> Path:
        return self.path / "accepted.json"

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
    def start_file(self) -> Path:
        """The name of the run whose weights it began with, if there was one."""
        return self.path / "begins-with.txt"

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

    @property
    def is_run(self) -> bool:
        """Whether a run was made here; the config.yaml of another program begins with another line."""
        try:
            return SEAL.match(read_text(self.config_file, LARGEST_YAML)) is not None
        except (OSError, UserError):
            return False

    def owner(self) -> RunFolder:
        """The run itself, or the one whose scores on another source lie here."""
        # Also if the recipe is damaged, which whoever reads it will be told. An imported checkpoint has none.
        is_run = any(os.path.lexists(each) for each in (self.config_file, self.checkpoints))
        return self if is_run else RunFolder(self.path.resolve().parent.parent)

    def config(self) -> dict[str, Any]:
        """The recipe of the run: as it was started, with the changes since then. An edit is logged as a warning.

        Raises:
            UserError: this is no run folder, or the recipe is damaged.
        """
        try:
            text = read_text(self.config_file, LARGEST_YAML, within=self.path)
        except FileNotFoundError:
            raise UserError(self.path, "no run here: it has no config.yaml") from None
        config = parse_yaml(text, self.config_file)
        if (wrong := _config_problem(config)) is not None:
            raise UserError(self.config_file, f"damaged: {wrong}")
        seal = SEAL.match(text)
        if seal is None or seal[1] != _sum(text[seal.end() :]):
            _warn_of_edit(self.config_file)
        for key, value in self.accepted().items():
            *sections, name = key.split(".")
            place = config
            for section in sections:
                place = place.setdefault(section, {})
                if not isinstance(place, dict):
                    raise UserError(self.accepted_file, f"damaged: {key} is no key of the recipe")
            place[name] = value
        if (wrong := _config_problem(config)) is not None:
            raise UserError(self.accepted_file, f"damaged: {wrong}")
        return config

    def accepted(self) -> dict[str, Any]:
        """The dotted keys of the recipe that were changed by a resume (``--override``), with their values.

        Raises:
            UserError: the file is damaged.
        """
        try:
            return read_sealed_json(self.accepted_file, LARGEST_YAML, within=self.path)
        except FileNotFoundError:
            return {}

    def accept(self, changes: Mapping[str, Any]) -> None:
        """Keep changed keys of the recipe, which are the run's from here on.

        Raises:
            ReportedError: they cannot be written.
        """
        write_sealed_json(self.accepted_file, {**self.accepted(), **changes})

    def begins_with(self) -> str:
        """The name of the run whose weights it began with, or ""."""
        try:
            return printable(read_text(self.start_file, LONGEST_NAME, within=self.path).strip())
        except FileNotFoundError:
            return ""

    def status(self) -> dict[str, Any]:
        """What status.json says, or nothing where it is missing."""
        return read_status(self.status_file)


@cache
def _warn_of_edit(file: Path) -> None:
    """Warn once of a file."""
    log.warning("%s was edited or damaged after the run had started", file)


def _config_problem(config: Any) -> str | None:
    """What is wrong with a run's recipe, as far as views read it."""
    if not isinstance(config, dict):
        return f"holds {kind_of(config)}, expected a recipe"
    model, training = config.get("model"), config.get("training")
    if not isinstance(config.get("name"), str):
        return "it has no name"
    if not isinstance(model, dict) or not isinstance(model.get("name"), str):
        return "it has no model.name"
    if not isinstance(training, dict) or type(training.get("max_steps")) is not int:
        return "it has no training.max_steps"
    if type(training.get("max_minutes", 0)) not in (int, float):
        return "training.max_minutes is not a number"
    return _plain_problem(config)


def _plain_problem(value: Any, key: str = "") -> str | None:
    """What of a recipe is no plain data, such as a date, which nothing that reads a recipe can write."""
    if isinstance(value, dict):
        if odd := [each for each in value if not isinstance(each, str)]:
            return f"{key or 'it'} has the key {odd[0]!r:.40}, expected text"
        parts = [(each, f"{key}.{name}".strip(".")) for name, each in value.items()]
    elif isinstance(value, list):
        parts = [(each, key) for each in value]
    else:
        is_plain = value is None or isinstance(value, str | bool | int | float)
        return None if is_plain else f"{key} is {type(value).__name__}, expected text, numbers or lists of them"
    return next((wrong for each, name in parts if (wrong := _plain_problem(each, name)) is not None), None)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys under which two recipes, as plain data, say different things, with what each says; None: nothing."""
    flat = [dotted(recipe) for recipe in (one, other)]
    both = {key: (flat[0].get(key), flat[1].get(key)) for key in sorted(flat[0] | flat[1])}
    return {key: values for key, values in both.items() if values[0] != values[1]}


def dotted(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A recipe as plain data by dotted keys, such as ``optimizer.lr``."""
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def new_run_id(now: datetime | None = None) -> str:
    """Date and time (UTC) and eight hex digits: ``20250903_100435_3652c9d8``."""
    return f"{now or datetime.now(UTC):%Y%m%d_%H%M%S}_{secrets.token_hex(4)}"


def create_run(root: Path, config: dict[str, Any], begins_with: str = "") -> RunFolder:
    """Make a new run folder under ``root`` and write its config.yaml.

    Args:
        root: where run folders are.
        config: the recipe as plain data.
        begins_with: the run whose weights it begins with, or "".

    Raises:
        UserError: it cannot be written there, or ``root`` is a run itself.
    """
    if RunFolder(root).is_run:
        raise UserError(root, "is a run, expected a folder for runs; hrm train --resume goes on with a run")
    folder = RunFolder(root / new_run_id())
    # First, because a folder with a recipe is a run.
    if begins_with:
        write_text(folder.start_file, begins_with + "\n")
    text = yaml.safe_dump(config, sort_keys=False)
    write_text(folder.config_file, f"# The recipe of this run; crc32 {_sum(text)}\n{text}")
    return folder


def _sum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
