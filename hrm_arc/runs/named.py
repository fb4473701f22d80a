"""Trained weights that have a name: those that ship with the program, and those on the Hugging Face hub.

    hrm_arc/weights/arc1-cpu/
      checkpoint.json      the card of a checkpoint
      model.safetensors    its weights, in bfloat16
      recipe.yaml          the recipe that they were trained with
      about.json           what they learned from, what they score, and how to make them again

A name stands wherever a run or a checkpoint may stand. A file or folder of the same name comes first.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hrm_arc import hub
from hrm_arc.checks import field, listed, mapping, share, text, texts, whole
from hrm_arc.errors import UserError, unwritable
from hrm_arc.reading import MIB, read_json_object

ABOUT, RECIPE = "about.json", "recipe.yaml"
# All files of saved weights.
FILES = ("checkpoint.json", "model.safetensors", RECIPE, ABOUT)
SHIPPED = Path(__file__).parent.parent / "weights"


def shipped_names() -> list[str]:
    """The names of the weights that ship with the program, in alphabetical order."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{ABOUT}"))


def is_shipped(path: Path) -> bool:
    """Whether a path is the name of weights that ship, and not that of a file or folder here."""
    # In this order: a path of any length may be asked for.
    return path.name == str(path) and path.name in shipped_names() and not path.exists()


def folder_of(path: Path) -> Path:
    """The path itself, or the folder of the weights that it names."""
    return SHIPPED / path.name if is_shipped(path) else path


def read_about(folder: Path) -> dict[str, Any]:
    """What about.json says of weights.

    Returns:
        ``title``, ``license``, ``parameters``, ``steps``, ``learned_from``, ``made_with`` (commands), and ``scores``:
        rows with ``data``, ``tasks``, ``votes``, ``test_outputs``, ``solved``, ``pass@2`` and its ``interval``, and
        where it is known ``solved_tasks``: the tasks of which every test output was solved, and ``warnings``: why the
        score is not fair.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / ABOUT
    try:
        about = read_json_object(path, MIB, within=folder)
        for key in ("title", "license"):
            text(key, field(about, key))
        for key in ("learned_from", "made_with"):
            texts(key, field(about, key))
        for key in ("parameters", "steps"):
            whole(key, field(about, key))
        for row in listed("scores", field(about, "scores")):
            _check_score(mapping("scores", row))
    except FileNotFoundError:
        raise UserError(path, "missing: these are not weights to load by name") from None
    except ValueError as error:
        raise UserError(path, f"damaged: {error}") from None
    return about


def _check_score(row: dict[str, Any]) -> None:
    """Raise a ValueError if a row of scores is not one."""
    text("scores.data", field(row, "data"))
    outputs = whole("scores.test_outputs", field(row, "test_outputs"), 1)
    whole("scores.solved", field(row, "solved"), 0, outputs)
    for key in ("tasks", "votes"):
        whole(f"scores.{key}", field(row, key), 1)
    for key in ("solved_tasks", "warnings"):
        if key in row:
            texts(f"scores.{key}", row[key])
    share("scores.pass@2", field(row, "pass@2"))
    interval = listed("scores.interval", field(row, "interval"))
    if len(interval) != 2:
        raise ValueError("scores.interval is not [low, high]")
    for end in interval:
        share("scores.interval", end)


def pull(repository: str, out: Path) -> Path:
    """Download saved weights from the hub, through its local cache, into a folder, which must not exist.

    They are copied, because the cache consists of links, and a checkpoint's files have to be in its own folder.

    Raises:
        UserError: there are none, they are none of this program, the hub extra is not installed, or the folder exists
            or cannot be written.
        ReportedError: the hub cannot be reached.
    """
    if out.exists():
        raise UserError(out, "exists already; name another folder")
    folder = hub.download(repository, repository, "model", FILES)
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise UserError(repository, f"holds no weights of this program: it has no {missing[0]}")
    try:
        out.mkdir(parents=True)
        for name in FILES:
            shutil.copyfile(folder / name, out / name)
    except OSError as error:
        raise unwritable(out, error) from None
    return out
