from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.puzzles.sources import load_tasks


class NotInCacheError(Exception):
    pass


class NoSuchSetError(Exception):
    pass


class NobodyLoggedInError(Exception):
    pass


def fake_hub(monkeypatch: pytest.MonkeyPatch, answer: Path | Exception) -> list[str]:
    """Stand in for huggingface_hub, which needs a network; returns the names that are requested."""
    requested: list[str] = []

    def snapshot_download(repository: str, **options: object) -> str:
        requested.append(repository)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    hub, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    hub.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    errors.LocalEntryNotFoundError = NotInCacheError  # type: ignore[attr-defined]
    errors.RepositoryNotFoundError = NoSuchSetError  # type: ignore[attr-defined]
    errors.LocalTokenNotFoundError = NobodyLoggedInError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    return requested


def test_a_download_is_a_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The cache has a folder for each version, and a game keeps its name in the next one.
    for version in ("3f2a", "77b0"):
        folder = tmp_path / "snapshots" / version
        folder.mkdir(parents=True)
        (folder / "train.csv").write_text("question,answer\n1.34,1234\n1234,1234\n")
        requested = fake_hub(monkeypatch, folder)
        (game,) = load_tasks("hub:sudoku-extreme:2")
        assert (game.id, game.boards) == ("sudoku-extreme", True)
        assert load_tasks("hub:me/boards:2")[0].id == "boards"
        # A short name and the name of its repository are one game.
        short, whole = (
            load_tasks(f"hub:{name}:2")[0].id for name in ("maze-30x30-hard", "sapientinc/maze-30x30-hard-1k")
        )
        assert short == whole == "maze-30x30-hard-1k"
        assert requested[:2] == ["sapientinc/sudoku-extreme", "me/boards"]


@pytest.mark.parametrize(
    ("name", "error", "status", "message"),
    [
        ("sudoku-extreme", NotInCacheError(), 1, "is not in the cache, and the hub cannot be reached"),
        ("someone/else", OSError("connection refused\nmore"), 1, "cannot be downloaded: connection refused"),
        ("someone/nosuch", NoSuchSetError(), 2, "the hub has no public data set someone/nosuch"),
        ("nosuch", None, 2, "no such data set, expected owner/name or one of sudoku-extreme"),
    ],
)
def test_a_failed_download_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, error: Exception | None, status: int, message: str
) -> None:
    fake_hub(monkeypatch, error or tmp_path)
    with pytest.raises(ReportedError) as caught:
        load_tasks(f"hub:{name}")
    assert str(caught.value).startswith(f"hub:{name}: {message}")
    assert "\n" not in str(caught.value)
    assert caught.value.status == status


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"needs the hub extra: pip install"):
        load_tasks("hub:sudoku-extreme")
