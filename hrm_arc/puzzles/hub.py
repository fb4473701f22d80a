"""Public data sets by name, downloaded from the Hugging Face hub into its local cache."""

from __future__ import annotations

from pathlib import Path

from hrm_arc.errors import ReportedError, UserError

PREFIX = "hub:"
# Short names of the data sets that the published models were trained on.
NAMES = {
    "sudoku-extreme": "sapientinc/sudoku-extreme",
    "maze-30x30-hard": "sapientinc/maze-30x30-hard-1k",
}
FILES = ["*.csv", "*.json", "*.npy"]


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
        raise UserError(where, f"the hub has no public data set {repository}") from None
    except LocalEntryNotFoundError:
        what = "is not in the cache, and the hub cannot be reached; connect to a network, or copy the cache"
        raise ReportedError(where, what) from None
    except Exception as error:  # The client raises errors of several HTTP libraries.
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise ReportedError(where, f"cannot be downloaded: {first[0]}") from None
