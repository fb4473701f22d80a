"""Settings for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Nothing is timed in a test; a slow machine is no fault. Examples are the same every time.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


@pytest.fixture
def concept_arc() -> Path:
    """ConceptARC's folder, where there is one; it is not part of this repository."""
    path = Path(os.environ.get("CONCEPT_ARC", Path(__file__).parents[2] / "shared" / "data" / "conceptarc"))
    if not path.is_dir():
        pytest.skip("ConceptARC is not here; set CONCEPT_ARC to its folder")
    return path
