"""Everything that a request can name: runs, models and sources of tasks.

A request names them by keys, which are looked up among what is here; no part of a request becomes a path.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hrm_arc.errors import UserError
from hrm_arc.puzzles.boards import GAMES
from hrm_arc.puzzles.paths import SPLITS
from hrm_arc.puzzles.sources import BUILT_IN, SOURCES
from hrm_arc.report.listing import RunList, signature_of
from hrm_arc.runs.folder import RunFolder
from hrm_arc.runs.named import SHIPPED, shipped_names
from hrm_arc.studio.exchange import RefusedError

# Run IDs that are their own keys; of any other name, such as one with control characters, the key is a digest.
PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
EXPORTED = ".onnx"
# Boards of a game that are shown.
BOARDS_SHOWN = 50


@dataclass(frozen=True)
class Model:
    """A model that can be chosen.

    Attributes:
        key: names it in requests.
        kind: shipped weights, a run, or an exported file.
        name: for people.
        path: what to load.
        has_weights: whether it has a checkpoint, and can think.
        scored: whether it is known which tasks it solved.
    """

    key: str
    kind: Literal["weights", "run", "file"]
    name: str
    path: Path
    has_weights: bool = True
    scored: bool = False

    def signature(self) -> tuple[int, ...] | None:
        """What changes when an exported file is replaced; a run gets new checkpoints, which is no fault."""
        return signature_of(self.path) if self.kind == "file" else None


class Places:
    """The folders and files that the command named, and what comes with the program.

    Args:
        root: the folder of the runs.
        tasks: further sources of tasks.
        models: exported files and checkpoints.
    """

    def __init__(self, root: Path, tasks: Sequence[str] = (), models: Sequence[Path] = ()):
        self.root = root
        self.list = RunList(root)
        games = [f"{game}:{BOARDS_SHOWN}" for game in GAMES]
        built_in = [f"{name}/{split}" for name in BUILT_IN for split in SPLITS]
        self.sources = [*dict.fromkeys([*tasks, *built_in, *SOURCES, *games])]
        self._models = tuple(models)

    def rows(self, seconds: float) -> dict[str, dict[str, Any]]:
        """The rows of all runs by key, oldest first; see :meth:`hrm_arc.report.listing.RunList.rows`."""
        if not self.root.is_dir():
            return {}
        return {key_of(Path(row["folder"]).name): row for row in self.list.rows(seconds)}

    def run(self, key: Any) -> RunFolder:
        """The run of a key.

        Raises:
            RefusedError: there is none.
        """
        try:
            found = next((entry.name for entry in os.scandir(self.root) if key_of(entry.name) == key), None)
        except OSError:
            found = None
        if found is None:
            raise RefusedError("run", f"there is no run {key!r:.60} in {self.root}", 404)
        return RunFolder(self.root / found)

    def models(self) -> list[Model]:
        """All models: shipped weights, exported files, and the newest runs first."""
        weights = [Model(f"weights:{name}", "weights", name, SHIPPED / name, scored=True) for name in shipped_names()]
        here = sorted(self.root.glob(f"*{EXPORTED}")) if self.root.is_dir() else []
        files = dict.fromkeys([*self._models, *here])
        found = [Model(f"file:{key_of(str(path))}", "file", path.name, path) for path in files]
        runs = [_of_run(key, row) for key, row in reversed(self.rows(0.5).items())]
        return [*weights, *found, *(run for run in runs if run.has_weights or run.scored)]

    def model(self, key: Any) -> Model:
        """The model of a key.

        Raises:
            RefusedError: there is none.
        """
        return _of(self.models(), key)

    def source(self, name: Any) -> str:
        """A source, if it is one of those that are here.

        Raises:
            RefusedError: it is not.
        """
        if name not in self.sources:
            raise RefusedError("source", f"{name!r:.60} is not a source here; hrm studio --tasks names more", 404)
        return str(name)


def key_of(name: str) -> str:
    """The key of a name: itself if it is plain, else a digest."""
    return name if PLAIN.fullmatch(name) else hashlib.sha256(os.fsencode(name)).hexdigest()[:24]


def _of_run(key: str, row: dict[str, Any]) -> Model:
    run = RunFolder(Path(row["folder"]))
    name = f"{row['name'] or ''} {row['run_id']}".strip()
    scored = run.scores_file.is_file() or (run.path / "scores").is_dir()
    return Model(f"run:{key}", "run", name, run.path, run.checkpoints.is_dir(), scored)


def _of(models: Sequence[Model], key: Any) -> Model:
    found = next((model for model in models if model.key == key), None)
    if found is None:
        raise RefusedError("model", f"there is no model {key!r:.60} here any more; choose another one", 404)
    return found


def check_files(files: Sequence[Path]) -> None:
    """Check that files that the command names are there.

    Raises:
        UserError: naming the first that is not.
    """
    for file in files:
        if not file.exists():
            raise UserError(file, "there is no such file; expected an exported .onnx file or a checkpoint folder")
