"""Runs that a benchmark trains and scores. With ``--keep`` they stay, so that a long benchmark can be resumed."""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._processes import hrm
from hrm_arc.cli.show import note
from hrm_arc.errors import UserError
from hrm_arc.files import write_json
from hrm_arc.models.spec import find_model
from hrm_arc.runs.checkpoint import newest_checkpoint, read_card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.training.recipes import load_recipe


@dataclass(frozen=True)
class Scored:
    """A run that was trained and scored.

    Attributes:
        folder: the run.
        trained: the result of ``hrm train``.
        scores: the result of ``hrm eval``.
    """

    folder: Path
    trained: dict[str, Any]
    scores: dict[str, Any]


def positive(text: str) -> float:
    """The type of a flag that takes a number above zero, such as minutes: none of them means no limit.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        if 0 < float(text) < float("inf"):
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r:.40}, expected a number above 0")


def add_keep(parser: argparse.ArgumentParser) -> None:
    """Add the flag ``--keep``."""
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep the runs in this folder; finished runs in it are reused, interrupted runs are resumed",
    )


@contextlib.contextmanager
def runs_folder(keep: Path | None) -> Iterator[Path]:
    """The folder to keep runs in, or a temporary one."""
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def updates(recipe: str, flags: Sequence[str]) -> int:
    """The optimizer updates of a step of a recipe under these flags: each segment is one."""
    loaded = load_recipe(recipe, list(flags))
    return int(find_model(loaded.model["name"]).config(**loaded.model_options).segments)


def scored_run(
    root: Path, name: str, recipe: str, flags: Sequence[str], scoring: Sequence[str] = (), start: Path | None = None
) -> Scored:
    """Train and score a run, or reuse it if ``root`` holds it; an interrupted run there is resumed.

    Args:
        root: the folder of runs.
        name: the name of this run in ``root``.
        recipe: a recipe.
        flags: dotted flags of ``hrm train``.
        scoring: flags of ``hrm eval``.
        start: a run, a checkpoint or the name of weights to begin with.

    Raises:
        UserError: the run in ``root`` was made with other settings.
    """
    # The whole recipe, not its name, because a recipe file may have changed since.
    made = {"recipe": load_recipe(recipe, list(flags)).as_dict(), "scoring": list(scoring)}
    if start is not None:
        made["start"] = read_card(newest_checkpoint(start)).run_id
    record = root / name / "benchmark.json"
    if record.is_file():
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["made"] != made:
            raise UserError(record, "was made with other settings; keep these runs in another folder")
        return Scored(root / name / known["run"], known["trained"], known["scores"])
    note(f"{name}: training")
    begun = sorted((root / name).glob("*/config.yaml"))
    if begun:
        if RunFolder(begun[-1].parent).begins_with() != made.get("start", ""):
            raise UserError(begun[-1].parent, "began with other weights; keep these runs in another folder")
        # hrm train refuses to resume it with other settings.
        trained = hrm("train", recipe, *flags, "--resume", str(begun[-1].parent))
    else:
        trained = hrm(
            "train", recipe, *flags, "--out", str(root / name), *([] if start is None else ["--init-from", str(start)])
        )
    folder = Path(trained["folder"])
    note(f"{name}: {trained['steps']:,} steps in {trained['seconds']:.0f} s; scoring")
    scores = hrm("eval", str(folder), *scoring)
    write_json(record, {"made": made, "run": folder.name, "trained": trained, "scores": scores})
    return Scored(folder, trained, scores)
