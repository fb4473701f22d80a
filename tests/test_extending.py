"""The code of docs/extending.md works, from a folder outside the tree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import answer, check_one_line, hrm
from tests.made import write_tasks

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"


def snippets() -> dict[str, str]:
    """The page's Python and YAML: a first line ``# NAME`` names the file; ``""`` is the one without a name."""
    blocks = re.findall(r"^```(?:python|yaml)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    named = {}
    for block in blocks:
        match = re.match(r"# (\w+\.(?:py|yaml))\n", block)
        name = match[1] if match else ""
        assert name not in named, f"two snippets named {name or 'nothing'}"
        named[name] = block
    return named


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extending")
    for name, code in snippets().items():
        if name:
            (folder / name).write_text(code)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """A run of the page's recipe, with the model, loss, source, metric and augmentation by reference."""
    return folder / str(answer("train", "recipe.yaml", cwd=folder)["folder"])


def test_the_page_has_a_snippet_of_each_kind() -> None:
    files = {f"my_{kind}.py" for kind in ("model", "losses", "tasks", "metrics", "transforms")}
    assert set(snippets()) == {*files, "recipe.yaml", ""}


def test_a_run_is_scored_and_reported(folder: Path, run: Path) -> None:
    (card,) = run.glob("checkpoints/*/checkpoint.json")
    assert json.loads(card.read_text())["model"] == "my_model:MyModel"
    scores = answer("eval", run, cwd=folder)
    assert scores["tasks"] == 3
    assert "right_colors" in scores
    (run / "report.html").unlink()
    answer("report", run, cwd=folder)
    assert "best grids with the right colors" in (run / "report.html").read_text()


def test_a_missing_model_is_named(tmp_path: Path, run: Path) -> None:
    done = hrm("eval", run, cwd=tmp_path)
    check_one_line(done, "model.name", "the model my_model:MyModel is not importable here")


def test_a_checkpoint_is_where_solving_starts(tmp_path: Path, folder: Path) -> None:
    flags = ("--model.name", "my_model:SPEC", "--training.max_steps", "1", "--out", tmp_path)
    start = folder / str(answer("train", "recipe.yaml", *flags, cwd=folder)["folder"])
    tasks = write_tasks(tmp_path / "tasks", count=1)
    solved = answer("solve", tasks, "--model", start, "--finetune-seconds", "1", "--votes", "2", cwd=folder)
    assert solved["answers_known"] == 1
    assert solved["attempts"]


def test_names_work_in_a_program(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", snippets()[""]], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) <= 1
