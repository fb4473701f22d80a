"""What is damaged, in which ways, and which commands are run on it."""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# NEWEST is the newest checkpoint. Names that end in / are folders.
RUN_FILES = (
    *("config.yaml", "status.json", "metrics.jsonl", "train.log", "predictions.jsonl", "scores.json"),
    *("submission.json", "report.html", "checkpoints/", "checkpoints/NEWEST/", "checkpoints/NEWEST/checkpoint.json"),
    *("checkpoints/NEWEST/model.safetensors", "checkpoints/NEWEST/training.safetensors"),
)
EXPORT_FILES = ("model.onnx", "model.validation.json")
LONGER = ["--training.max_steps=42", "--override=training.max_steps"]
# Arguments of each command; RUN, OTHER, TASKS, TASK, RECIPE, ONNX, THEIRS and OUT are filled in.
RUN_COMMANDS: dict[str, list[str]] = {
    "train --resume": ["train", "--resume", "RUN", *LONGER, "--json"],
    "train --init-from": ["train", "RECIPE", "--init-from", "RUN", "--out", "OUT/new", "--json"],
    "runs": ["runs", "RUN/..", "--json"],
    "watch": ["watch", "RUN", "--once"],
    "eval": ["eval", "RUN", "--votes=2", "--json"],
    "eval --submission predictions.jsonl": ["eval", "--submission", "RUN/predictions.jsonl", "--data=TASKS", "--json"],
    "eval --submission submission.json": ["eval", "--submission", "RUN/submission.json", "--data=TASKS", "--json"],
    "audit": ["audit", "RUN", "--json"],
    "analyze": ["analyze", "RUN", "--json"],
    "report": ["report", "RUN", "--json"],
    "report of two": ["report", "OTHER", "RUN", "--json", "--out", "OUT/versus.html"],
    "solve --model": ["solve", "TASK", "--model", "RUN", "--finetune-seconds=0", "--votes=2", "--json"],
    "validate": ["validate", "RUN", "--json"],
    # Reads what an export reads, and does not take the time of one.
    "export --check": ["export", "RUN", "--check", "ONNX", "--samples=6", "--json"],
}
EXPORT_COMMANDS: dict[str, list[str]] = {
    "validate": ["validate", "ONNX", "--resume", "--json"],
    "validate --against": ["validate", "ONNX", "--against", "THEIRS", "--out", "OUT/own.json", "--json"],
    "eval": ["eval", "ONNX", "--votes=2", "--json", "--out", "OUT/scores"],
    "solve --model": ["solve", "TASK", "--model", "ONNX", "--votes=2", "--json"],
    "export --check": ["export", "RUN", "--check", "ONNX", "--samples=6", "--json"],
}


def shown(file: str) -> str:
    """A file's name in the table."""
    return file.replace("NEWEST/", "newest/")


@dataclass(frozen=True)
class Case:
    """One damaged file and one command.

    Attributes:
        file: one of ``RUN_FILES`` or ``EXPORT_FILES``.
        mutation: one of ``MUTATIONS``.
        command: one of ``RUN_COMMANDS``, or of ``EXPORT_COMMANDS`` for a file of an export.
    """

    file: str
    mutation: str
    command: str

    def __str__(self) -> str:
        return f"{shown(self.file)}, {self.mutation}, {self.command}"

    @property
    def arguments(self) -> list[str]:
        return (EXPORT_COMMANDS if self.file in EXPORT_FILES else RUN_COMMANDS)[self.command]

    def damage(self, place: Path, outside: Path) -> None:
        """Damage the file.

        Args:
            place: a folder with a run in runs/run, and an export.
            outside: the folder that links lead to.
        """
        run = place / "runs" / "run"
        newest = max(path.name for path in (run / "checkpoints").iterdir())
        base = place if self.file in EXPORT_FILES else run
        MUTATIONS[self.mutation](base / self.file.replace("NEWEST", newest), outside)


def cases_of(file: str) -> list[Case]:
    """All cases of a file."""
    commands = EXPORT_COMMANDS if file in EXPORT_FILES else RUN_COMMANDS
    known = [name for name in MUTATIONS if not (file.endswith("/") and name in CONTENT)]
    return [Case(file, mutation, command) for mutation, command in itertools.product(known, commands)]


def sample(count: int) -> list[Case]:
    """At least ``count`` cases, always the same, in which every file, mutation and command occurs."""
    shuffled = [case for file in (*RUN_FILES, *EXPORT_FILES) for case in cases_of(file)]
    random.Random(0).shuffle(shuffled)
    chosen: list[Case] = []
    seen: set[str] = set()
    for case in shuffled:
        parts = {f"file {case.file}", f"mutation {case.mutation}", f"command {case.command}"}
        if not parts <= seen:
            seen |= parts
            chosen.append(case)
    rest = (case for case in shuffled if case not in chosen)
    return [*chosen, *itertools.islice(rest, max(0, count - len(chosen)))]


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _write(content: bytes) -> Callable[[Path, Path], None]:
    def damage(path: Path, outside: Path) -> None:
        _clear(path)
        path.write_bytes(content)

    return damage


def _cut(path: Path, outside: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _halve(path: Path, outside: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _flip(path: Path, outside: Path) -> None:
    """Change a digit near the middle, or a byte where there is none."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    places = [n for n in range(middle, len(content)) if chr(content[n]) in "12345678"]
    place = places[0] if places else middle
    content[place] ^= 1
    path.write_bytes(content)


def _fifo(path: Path, outside: Path) -> None:
    _clear(path)
    os.mkfifo(path)


def _device(path: Path, outside: Path) -> None:
    _clear(path)
    path.symlink_to("/dev/zero")


def _link_out(path: Path, outside: Path) -> None:
    target = outside / path.name
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copyfile(path, target)
    _clear(path)
    path.symlink_to(target)


def _directory(path: Path, outside: Path) -> None:
    _clear(path)
    path.mkdir()


def _remove(path: Path, outside: Path) -> None:
    _clear(path)


# Mutations of a content, which a folder has none of.
CONTENT: dict[str, Callable[[Path, Path], None]] = {"cut": _cut, "halved": _halve, "byte flipped": _flip}
MUTATIONS: dict[str, Callable[[Path, Path], None]] = {
    **CONTENT,
    "[]": _write(b"[]\n"),
    "5": _write(b"5\n"),
    "null": _write(b"null\n"),
    "{}": _write(b"{}\n"),
    "deep": _write(b"[" * 100_000),
    "binary": _write(bytes(range(256)) * 40),
    "FIFO": _fifo,
    "device": _device,
    "link outward": _link_out,
    "directory": _directory,
    "removed": _remove,
}
