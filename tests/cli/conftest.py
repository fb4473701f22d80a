"""A run for tests of what comes after training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import answer
from tests.made import tiny_recipe, write_tasks


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained and scored by the command."""
    root = tmp_path_factory.mktemp("run")
    tiny_recipe(write_tasks(root / "tasks"))
    trained = answer("train", root / "grid-hrm.yaml", "--out", root / "runs", "--training.max_steps", "10")
    assert set(trained) >= {"run_id", "folder", "steps", "best"}
    return Path(str(trained["folder"]))
