"""The check of any file ends with its tasks or with problems that name the file, never with an exception."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hrm_arc.puzzles.check import check
from hrm_arc.puzzles.task import task_problems

VALID = {
    "train": [{"input": [[1, 2], [3, 4]], "output": [[5]]}],
    "test": [{"input": [[6, 7]], "output": [[8]]}],
}

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner))


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside JSON, from the root to the leaves."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A valid task with another value in one place."""
    task: Any = copy.deepcopy(VALID)
    *path, last = draw(st.sampled_from(places(task)[1:]))
    inner = task
    for key in path:
        inner = inner[key]
    inner[last] = draw(values)
    return task


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.json"


again = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@again
@given(data=damaged())
def test_a_damaged_task_is_valid_or_has_a_named_problem(file: Path, data: Any) -> None:
    file.write_text(json.dumps(data))
    found = check([str(file)])
    assert bool(found.problems) != bool(found.tasks)
    assert bool(found.problems) == bool(list(task_problems(json.loads(file.read_text()))))
    assert found.problems or found.tasks
    assert all(path == file and problem.what for path, problem in found.problems)


@again
@given(data=values)
def test_any_json_can_be_checked(file: Path, data: Any) -> None:
    file.write_text(json.dumps(data))
    found = check([str(file)])
    assert found.problems or found.tasks
    assert all(path == file and problem.what for path, problem in found.problems)


@again
@given(content=st.binary(max_size=300))
@example(content=b"")
@example(content=b"\xef\xbb\xbf{}")
@example(content=b'{"train": ' * 5000)
@example(content=b"\x00")
def test_any_bytes_can_be_checked(file: Path, content: bytes) -> None:
    for path in (file, file.with_suffix(".csv")):
        path.write_bytes(content)
        problems = check([str(path)]).problems
        assert problems
        assert all(name == path and problem.what for name, problem in problems)


@again
@given(cut=st.integers(0, len(json.dumps(VALID)) - 1))
def test_a_file_that_was_cut_off_is_named(file: Path, cut: int) -> None:
    file.write_text(json.dumps(VALID)[:cut])
    ((path, problem),) = check([str(file)]).problems
    assert path == file
    assert problem.what.startswith("not JSON")
