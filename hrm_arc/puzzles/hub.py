"""Public data sets by name, downloaded from the Hugging Face hub into its local cache."""

from __future__ import annotations

from pathlib import Path

from hrm_arc import hub
from hrm_arc.errors import UserError

PREFIX = "hub:"
# Short names of the data sets that the published models were trained on.
NAMES = {
    "sudoku-extreme": "sapientinc/sudoku-extreme",
    "maze-30x30-hard": "sapientinc/maze-30x30-hard-1k",
}
FILES = ("*.csv", "*.json", "*.npy")


def download(name: str) -> Path:
    """Download a data set, unless it is in the cache.

    Args:
        name: a key of ``NAMES``, or ``owner/name`` of any public data set on the hub.

    Returns:
        The folder of the data set in the cache.

    Raises:
        UserError: huggingface_hub is not installed, or there is no such data set.
        ReportedError: the hub cannot be reached, or the download failed.
    """
    repository = NAMES.get(name, name)
    if repository.count("/") != 1:
        known = ", ".join(NAMES)
        raise UserError(f"{PREFIX}{name}", f"no such data set, expected owner/name or one of {known}")
    return hub.download(f"{PREFIX}{name}", repository, "dataset", FILES)
