"""The output that pages show is what their commands print now."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.cli.commands import hrm
from tests.made import write_tasks

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("_samples", ROOT / "docs/_samples.py")
assert SPEC is not None
assert SPEC.loader is not None
pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pages)
# Commands whose numbers depend on the machine; their words do not.
MEASURED = ("train", "eval")
SAMPLES = [sample for page in pages.PAGES for sample in pages.samples(page.read_text())]


def is_measured(sample: str) -> bool:
    return any(command.split()[1] in MEASURED for command in pages.commands(sample))


def sample_of(command: str) -> str:
    (found,) = [sample for sample in SAMPLES if sample.startswith(f"$ {command}")]
    return found


@pytest.mark.parametrize("sample", [each for each in SAMPLES if not is_measured(each)], ids=lambda each: each[6:30])
def test_output_is_shown_as_it_is_printed(sample: str, request: pytest.FixtureRequest) -> None:
    if pages.CONCEPT_ARC in sample:
        path = request.getfixturevalue("concept_arc")
        request.getfixturevalue("monkeypatch").setenv("CONCEPT_ARC", str(path))
    assert pages.rerun(sample) == sample


def test_a_changed_output_is_noticed() -> None:
    sample = sample_of("hrm data check my-tasks/")
    assert pages.rerun(sample.replace("color 10", "color 11")) == sample


def test_the_live_view_is_shown_with_its_lines(tmp_path: Path) -> None:
    sample = sample_of("hrm train quickstart")
    short = ["--validation.every", "5", "--training.max_steps", "12", "--training.log_every", "1"]
    assert hrm("train", "quickstart", *short, cwd=tmp_path).returncode == 0
    now = pages.printed("hrm watch --once", tmp_path)

    def labels(view: str) -> list[str]:
        return re.findall(r"^│ (\S.*?)  ", view, re.MULTILINE)

    assert len(labels(now)) > 15
    assert labels(sample) == labels(now)


def test_scores_are_shown_with_their_lines(tmp_path: Path) -> None:
    sample = sample_of("hrm eval arc1-cpu")
    write_tasks(tmp_path / "tasks")  # Three tasks, so that words have their plural.
    now = pages.printed("hrm eval arc1-cpu --data tasks --votes 2", tmp_path)

    def lines(text: str) -> list[str]:
        """The words of each line, without numbers and where something was written."""
        words = (re.sub(r"-?[\d.,]+%?( to [\d.]+%)?", "", line) for line in text.splitlines()[1:])
        return [" ".join(line.split()) for line in words if not line.startswith("written to")]

    assert lines(sample) == lines(f"$\n{now}")
