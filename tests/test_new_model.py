"""A model inside the package is one file and one line: every test of models then covers it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
# The tests that run for every model of the registry.
PER_MODEL = [
    "tests/models",
    "tests/training/test_trainer.py",
    "tests/training/test_precision.py",
    "tests/training/test_resume.py",
    "tests/deploy/test_export.py",
]

# One part in its carry, no key named hidden_size, no task table, no export.
RIPPLE = '''\
"""A convolution that is applied again and again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner
from hrm_arc.models.spec import ModelSpec


@dataclass(frozen=True)
class RippleConfig:
    """The configuration.

    Attributes:
        channels: size of a cell's vector.
        segments: the most segments.
    """

    channels: int = 32
    segments: int = 4


class Ripple(Reasoner):
    """The state of a cell depends on its neighbors and on its input token."""

    def __init__(self, config: RippleConfig, num_tasks: int, num_variants: int):
        super().__init__()
        self.config, self.segments = config, config.segments
        self.tokens = nn.Embedding(12, config.channels)
        self.mix = nn.Conv2d(config.channels, config.channels, 3, padding=1)
        self.head = nn.Linear(config.channels, 12)
        self.halt = nn.Linear(config.channels, 1)

    def initial_carry(self, batch: Batch) -> Carry:
        return (torch.zeros(len(batch), self.config.channels, batch.height, batch.width, device=batch.inputs.device),)

    def forward(self, carry: Carry, batch: Batch) -> tuple[Carry, Output]:
        given = self.tokens(batch.inputs).transpose(1, 2).unflatten(2, (batch.height, batch.width))
        state = torch.tanh(self.mix(carry[0] + given) + given)
        cells = state.flatten(2).transpose(1, 2)
        return (state,), Output(self.head(cells), self.halt(cells.mean(dim=1)))


SPEC = ModelSpec(RippleConfig, Ripple, example_config={"channels": 8, "segments": 2})
'''
LAST = '        "trm": "hrm_arc.models.trm:SPEC",\n'
LINE = '        "ripple": "hrm_arc.models.ripple:SPEC",\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the repository with one more model."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("hrm_arc", "tests", "benchmarks", "recipes"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    spec = tree / "hrm_arc" / "models" / "spec.py"
    before = spec.read_text()
    assert before.count(LAST) == 1
    spec.write_text(before.replace(LAST, LAST + LINE))
    (tree / "hrm_arc" / "models" / "ripple.py").write_text(RIPPLE)
    return tree


def test_a_model_in_the_package_is_one_file_and_one_line(tree: Path) -> None:
    report = tree / "report.xml"
    # Its name is in the id of its tests, and in no other name.
    command = [sys.executable, "-m", "pytest", "-q", "-k", "ripple", f"--junit-xml={report}", *PER_MODEL]
    # Threads that wait for each other would take most of the time of models as small as these.
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    others = [case.attrib["name"] for case in cases if "[ripple" not in case.attrib["name"]]
    assert others == [], "every id of a per-model test begins with the model's name"
    skipped = [reason for case in cases if (reason := case.find("skipped")) is not None]
    assert all("export" in reason.attrib["message"] for reason in skipped)
    ran = {case.attrib["classname"].rpartition(".")[2] for case in cases if case.find("skipped") is None}
    assert ran == {"test_protocol", "test_meta", "test_trainer", "test_precision", "test_resume"}
    assert len(cases) >= 12
    assert len(skipped) == 1
