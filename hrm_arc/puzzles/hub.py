"""Public puzzle sets by name, from the Hugging Face hub, kept in its cache."""

from __future__ import annotations

from pathlib import Path

from hrm_arc.errors import ReportedError, UserError

PREFIX = "hub:"
# Short names for the sets that the published models were trained on.
NAMES = {
    "sudoku-extreme": "sapientinc/sudoku-extreme",
    "maze-30x30-hard": "sapientinc/maze-30x30-hard-1k",
}
FILES = ["*.csv", "*.json", "*.npy"]


def download(name: str) -> Path:
    """The folder of a data set, fetched once.

    Args:
        name: a key of ``NAMES``, or ``owner/name`` of any data set on the hub.

    Raises:
        UserError: huggingface_hub is not installed, or there is no such set.
        ReportedError: there is no network, or the download failed.
    """
    where = f"{PREFIX}{name}"
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise UserError(where, "needs the hub extra: pip install 'hrm-arc[hub]'") from None
    repository = NAMES.get(name, name)
    if repository.count("/") != 1:
        known = ", ".join(NAMES)
        raise UserError(where, f"no such data set, expected owner/name or one of {known}")
    try:
        return Path(snapshot_download(repository, repo_type="dataset", allow_patterns=FILES))
    except RepositoryNotFoundError:
        raise UserError(where, f"the hub has no data set {repository}, or does not show it to everybody") from None
    except LocalEntryNotFoundError:
        what = "is not in the cache, and the hub cannot be reached; download it elsewhere"
        raise ReportedError(where, what) from None
    except Exception as error:  # The hub's client lets through errors of several HTTP libraries.
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise ReportedError(where, f"cannot be downloaded: {first[0]}") from None
