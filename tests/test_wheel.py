"""The wheel: what is in it, and that it serves a person outside of the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

MY_MODEL = '''\
"""A model of one's own."""

from dataclasses import dataclass

import torch
from torch import nn

from hrm_arc import Batch, Carry, Output, Reasoner


@dataclass(frozen=True)
class MyConfig:
    size: int = 16
    segments: int = 2


class MyModel(Reasoner):
    def __init__(self, config: MyConfig):
        super().__init__()
        self.config, self.segments = config, config.segments
        self.tokens = nn.Embedding(12, config.size)
        self.mix = nn.Conv2d(config.size, config.size, 3, padding=1)
        self.head = nn.Linear(config.size, 13)

    def initial_carry(self, batch: Batch) -> Carry:
        return (torch.zeros(len(batch), self.config.size, batch.height, batch.width, device=batch.inputs.device),)

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        given = self.tokens(batch.inputs).transpose(1, 2).unflatten(2, (batch.height, batch.width))
        state = torch.tanh(self.mix(carry[0] + given) + given)
        answer: torch.Tensor = self.head(state.flatten(2).transpose(1, 2))
        return (state,), Output(answer[..., :12], answer[..., 12].mean(dim=1, keepdim=True))
'''
RECIPE = """\
model: {name: "my_model:MyModel", size: 8}
data: {solve: [tasks.json], augment: 8}
training: {max_steps: 4, batch_size: 8, log_every: 2, accelerator: cpu}
validation: {every: 2}
evaluation: {votes: 2}
"""
TASK = {
    "train": [{"input": [[1, 2], [3, 3]], "output": [[3, 3], [1, 2]]}],
    "test": [{"input": [[4, 5], [6, 4]], "output": [[6, 4], [4, 5]]}],
}
PROGRAM = '''\
"""A program that uses the public API; its last line is a mistake."""

import hrm_arc
from hrm_arc import Callback, Corpus, StepMetrics, Task, Trainer, load_recipe
from my_model import MyConfig, MyModel


class Losses(Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_step(self, metrics: StepMetrics) -> None:
        self.values.append(metrics.loss)


task = Task.from_lists("flip", train=[([[1, 2]], [[2, 1]])], test=[([[3, 4]], None)])
recipe = load_recipe({"model": {"name": "my_model:MyModel"}, "training": {"max_steps": 2}})
trainer = Trainer(recipe, corpus=Corpus(solve=[task]), model=MyModel(MyConfig()), callbacks=[Losses()])
trainer.fit()
solver = hrm_arc.Solver.from_model(trainer.model, trainer.card())
scores: dict[str, object] = hrm_arc.evaluate(solver, [task], votes=2)
attempts = [grid.tolist() for grids in solver.solve(task) for grid in grids]
hrm_arc.register_metric(hrm_arc.Metric("always", "one for each output", lambda outcome: 1.0))
hrm_arc.register_augmentation("none", lambda samples, keys: samples)
hrm_arc.register_source("mine", lambda rest: [task])
hrm_arc.register_model("mine", MyModel)
mistake: int = hrm_arc.load_tasks("arc-agi-1")
'''


class Installed(NamedTuple):
    """The wheel and the folder that it is installed in."""

    wheel: Path
    packages: Path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; it comes with the dev extra")
    root = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", root, ROOT], check=True)
    (wheel,) = root.glob("hrm_arc-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", root / "packages", wheel], check=True)
    return Installed(wheel, root / "packages")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a model, a recipe and a task."""
    (tmp_path / "my_model.py").write_text(MY_MODEL)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "tasks.json").write_text(json.dumps({"flip": TASK}))
    return tmp_path


def python(installed: Installed, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python in ``folder`` with the installed package before all others."""
    env = {**os.environ, "PYTHONPATH": str(installed.packages), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def hrm(installed: Installed, folder: Path, *arguments: object) -> dict[str, Any]:
    done = python(installed, folder, "-m", "hrm_arc", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_wheel_holds_what_the_package_reads(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as file:
        names = set(file.namelist())
    folder = ROOT / "hrm_arc"
    own = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".pyo")}
    assert {path.relative_to(ROOT).as_posix() for path in own} <= names
    recipes = {path.relative_to(ROOT).as_posix() for path in (ROOT / "recipes").rglob("*.yaml")}
    assert {f"hrm_arc/{recipe}" for recipe in recipes} <= names
    assert {"hrm_arc/py.typed", "hrm_arc/recipes/quickstart.yaml", "hrm_arc/report/templates/page.html"} <= names
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {"hrm_arc"}
    (entry,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "hrm = hrm_arc.__main__:entry" in zipfile.ZipFile(installed.wheel).read(entry).decode()


def test_packaged_recipes_are_those_of_the_wheel(installed: Installed, tmp_path: Path) -> None:
    program = "import hrm_arc, hrm_arc.training.recipes as b; print(hrm_arc.__file__, b.find_recipe('quickstart'))"
    done = python(installed, tmp_path, "-c", program)
    assert done.returncode == 0, done.stderr
    package = installed.packages / "hrm_arc"
    assert done.stdout.split() == [str(package / "__init__.py"), str(package / "recipes" / "quickstart.yaml")]


def test_the_weights_that_ship_are_loaded_by_name_and_score_what_they_say(installed: Installed, tmp_path: Path) -> None:
    (row,) = hrm(installed, tmp_path, "weights")["weights"]
    assert Path(row["folder"]).is_relative_to(installed.packages)
    files = [file for file in Path(row["folder"]).parent.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 15_000_000
    (said,) = row["scores"]
    submission = ROOT / "records/cpu-arc1/submission.json"
    recorded = hrm(installed, tmp_path, "eval", "--submission", submission, "--data", said["data"])
    assert (recorded["solved_pass2"], recorded["test_outputs"]) == (said["solved"], said["test_outputs"])
    # By the name, in an empty folder: an answer on which all votes of the record agree is the same here.
    task = "66e6c45b"
    (answered,) = hrm(installed, tmp_path, "solve", task, "--finetune-seconds", "0", "--votes", str(said["votes"]))[
        "attempts"
    ]
    known = json.loads(submission.read_text())[task][0]
    assert answered[0]["grid"] == known["attempt_1"]


def test_a_model_of_ones_own_from_training_to_answers(installed: Installed, work: Path) -> None:
    trained = hrm(installed, work, "train", "recipe.yaml")
    run = Path(str(trained["folder"]))
    card = json.loads(next((work / run / "checkpoints").glob("step-*/checkpoint.json")).read_text())
    assert "my_model:MyModel" in json.dumps(card)
    scores = hrm(installed, work, "eval", run, "--device", "cpu")
    assert (scores["tasks"], scores["test_outputs"], scores["votes"]) == (1, 1, 2)
    page = Path(hrm(installed, work, "report", run)["report"])
    assert "flip" in (work / page).read_text()
    solved = hrm(installed, work, "solve", "tasks.json", "--model", run, "--finetune-seconds", "1", "--votes", "2")
    assert len(solved["attempts"]) == 1
    # Without the file of the model the error names it.
    (work / "my_model.py").unlink()
    done = python(installed, work, "-m", "hrm_arc", "eval", run)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the model my_model:MyModel is not importable here: there is no module my_model" in line


def test_a_program_passes_a_strict_type_check(installed: Installed, work: Path) -> None:
    (work / "program.py").write_text(PROGRAM)
    arguments = ("--strict", "--verbose", "--no-error-summary", "--cache-dir", work / "cache", "program.py")
    done = python(installed, work, "-m", "mypy", *arguments)
    assert f"Parsing {installed.packages}/hrm_arc/__init__.py" in done.stderr, (
        "the installed package is checked against"
    )
    # The mistake shows that the types of the package are known.
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"program.py:{len(PROGRAM.splitlines())}: error: Incompatible types in assignment")
    assert '"tuple[Task, ...]"' in line
