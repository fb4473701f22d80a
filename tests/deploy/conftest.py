"""A fitted run and its exported file, made once for all tests of this folder; tests do not change them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm_arc.deploy.export import export
from tests.deploy.fitted import fitted_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted_run(tmp_path_factory.mktemp("grid") / "run", "grid-hrm", hidden_size=32, num_heads=4, segments=3)


@pytest.fixture(scope="session")
def exported_file(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "model.onnx"
    export(run_folder, file, samples=50)
    return file
