"""The Hugging Face hub: folders of files that are downloaded and uploaded, with errors in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from hrm_arc.errors import ReportedError, UserError

Kind = Literal["model", "dataset"]
# What the hub's repositories are called here.
WORDS: dict[Kind, str] = {"model": "model", "dataset": "data set"}


def download(where: str, repository: str, kind: Kind, patterns: Sequence[str]) -> Path:
    """Download a repository's files, unless they are in the cache.

    Args:
        where: what the user has named, for errors.
        repository: ``owner/name``.
        kind: of the repository.
        patterns: of the names of the files that are wanted.

    Returns:
        their folder in the cache.

    Raises:
        UserError: huggingface_hub is not installed, or there is no such repository.
        ReportedError: the hub cannot be reached, or the download failed.
    """
    with _reported(where, repository, kind, "downloaded"):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repository, repo_type=kind, allow_patterns=list(patterns)))


def upload(folder: Path, repository: str, private: bool, message: str) -> str:
    """Upload a folder as a model's repository, which is made if there is none.

    Args:
        folder: all its files are uploaded.
        repository: ``owner/name``.
        private: whether a new repository is private.
        message: of the commit.

    Returns:
        the address of the repository.

    Raises:
        UserError: huggingface_hub is not installed, or nobody is logged in.
        ReportedError: the hub cannot be reached, or refuses.
    """
    with _reported(repository, repository, "model", "uploaded"):
        from huggingface_hub import HfApi

        api = HfApi()
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
        return str(address)


@contextlib.contextmanager
def _reported(where: str, repository: str, kind: Kind, done: str) -> Iterator[None]:
    """Report the errors of the client, which come from several HTTP libraries, in one line."""
    try:
        from huggingface_hub.errors import LocalEntryNotFoundError, LocalTokenNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise UserError(where, "needs the hub extra: pip install 'hrm-arc[hub]'") from None
    if repository.count("/") != 1:
        raise UserError(where, "expected owner/name of a repository on the hub")
    try:
        yield
    except RepositoryNotFoundError:
        raise UserError(where, f"the hub has no public {WORDS[kind]} {repository}") from None
    except LocalTokenNotFoundError:
        raise UserError(where, "nobody is logged in to the hub; run hf auth login, or set HF_TOKEN") from None
    except LocalEntryNotFoundError:
        what = "is not in the cache, and the hub cannot be reached; connect to a network, or copy the cache"
        raise ReportedError(where, what) from None
    except Exception as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise ReportedError(where, f"cannot be {done}: {first[0]}") from None
