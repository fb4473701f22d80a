"""The three ways of docs/first-hour.md, as a person would type them, with shorter limits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import HRM
from tests.made import tiny_recipe, write_tasks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/first-hour.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def section(title: str) -> list[tuple[str, str]]:
    """The code blocks of a section: language and content."""
    (text,) = [part for part in PAGE.split("\n## ") if part.startswith(title)]
    return BLOCK.findall(text)


def run(line: str, where: Path, **replaced: str) -> str:
    """Run a line of the page, with shorter limits and other names; returns what it printed."""
    words = [replaced.get(word, word) for word in line.split()]
    assert words[0] == "hrm"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    done = subprocess.run(
        [*HRM, *words[1:]], capture_output=True, text=True, cwd=where, env=environment, timeout=400, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def lines(title: str) -> list[str]:
    return [line for language, block in section(title) if not language for line in block.strip().splitlines()]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "my-tasks")


def test_a_folder_and_a_time_limit(tasks: Path, tmp_path: Path) -> None:
    known = {file.stem: json.loads(file.read_text()) for file in tasks.iterdir()}
    (tmp_path / "competition").mkdir()
    (tmp_path / "rehearsal").mkdir()
    solutions = {name: [test["output"] for test in task["test"]] for name, task in known.items()}
    hidden = {n: {**t, "test": [{"input": test["input"]} for test in t["test"]]} for n, t in known.items()}
    (tmp_path / "competition/arc-agi_test_challenges.json").write_text(json.dumps(hidden))
    (tmp_path / "rehearsal/arc-agi_evaluation_challenges.json").write_text(json.dumps(hidden))
    (tmp_path / "rehearsal/arc-agi_evaluation_solutions.json").write_text(json.dumps(solutions))
    submit, score = lines("A competition's folder")
    said = run(submit, tmp_path, **{"60": "1"})
    assert re.search(r"\d of 3 tasks trained on until the end", said)
    assert "submission.json: complete and checked" in said
    assert "of 3 test outputs solved in two attempts" in run(score, tmp_path)


def test_a_run_that_fails_somewhere(tasks: Path, tmp_path: Path) -> None:
    tiny_recipe(tasks)
    run("hrm train grid-hrm.yaml --training.max_steps 300", tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    names = {"runs/RUN": f"runs/{folder.name}", "TASK": "flip0", "2000": "310"}
    said = {line: run(line, tmp_path, **names) for line in lines("A run that fails")}
    assert "solved in two attempts" in said["hrm eval runs/RUN"]
    assert "would more training help?" in said["hrm analyze runs/RUN"]
    assert "demonstrations" in said["hrm analyze runs/RUN TASK"]
    assert any("310 steps" in each for each in said.values())


def test_tasks_of_your_own(tasks: Path, tmp_path: Path) -> None:
    ((_, code),) = [block for block in section("A few tasks") if block[0] == "python"]
    script = code.replace("seconds=60", "seconds=2") + "print({name: len(each) for name, each in answers.items()})\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300
    )
    assert done.stdout.endswith("{'flip0': 1, 'flip1': 1, 'flip2': 1}\n"), done.stderr
    (solve,) = lines("A few tasks")
    assert "3 test outputs with a known answer" in run(solve, tmp_path, **{"60": "2"})
