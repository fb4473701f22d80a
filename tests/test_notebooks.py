"""The notebooks run from the first cell to the last, offline, as a reader would run them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from hrm_arc.evaluation.submission import submission_problems
from hrm_arc.puzzles.formats import task_json
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CHALLENGES = "arc-agi_evaluation_challenges.json"
# Of ARC-AGI-1, mostly with small grids; some have several test inputs.
SOLVE = ("0d3d703e", "a85d4709", "25ff71a9", "d0f5fe59", "a416b8f3", "3c9b0459", "ff28f65a")
STUDY = ("25d8a9c8", "67a3c6ac")
TINY = ["--model.hidden_size", "16", "--model.num_heads", "2", "--model.segments", "2", "--training.batch_size", "8"]


def executed(name: str, folder: Path, **parameters: Any) -> Any:
    """A notebook after a run of all its cells in ``folder``, with other values for its parameters."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    if parameters:
        (place,) = (n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
        source = notebook.cells[place].source
        assert all(f"\n{key} = " in f"\n{source}" for key in parameters), "a parameter that the notebook does not have"
        given = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(given))
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook


def printed(notebook: Any) -> str:
    """All that the cells printed on standard output."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def pictures(notebook: Any) -> int:
    """The number of pictures that the cells drew."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in."""
    # Models as small as these gain nothing from threads that wait for each other.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def competition(folder: Path) -> Path:
    """A folder in the layout of the competition's input; the answers of the tasks to be solved are not in it."""
    folder.mkdir()

    def challenges(tasks: tuple[Task, ...]) -> str:
        hidden = {task.id: task_json(task.blind()) for task in tasks}
        assert all("output" not in pair for task in hidden.values() for pair in task["test"])
        return json.dumps(hidden)

    solve, study = (tuple(load_tasks(name)[0] for name in names) for names in (SOLVE, STUDY))
    (folder / CHALLENGES).write_text(challenges(solve))
    # One task to be solved is among those with answers: the notebook has to leave it out.
    study = (*study, solve[0])
    (folder / "arc-agi_training_challenges.json").write_text(challenges(study))
    solutions = {task.id: [test["output"] for test in task_json(task)["test"]] for task in study}
    (folder / "arc-agi_training_solutions.json").write_text(json.dumps(solutions))
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_valid_and_hold_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_a_model_of_ones_own_is_trained_drawn_and_scored(folder: Path) -> None:
    notebook = executed("train-your-own.ipynb", folder)
    assert pictures(notebook) == 2
    text = printed(notebook)
    assert "steps and" in text
    assert "pass@2 " in text
    for row in ("this model", "pad_only", "copy_input"):
        assert row in text
    assert "Solver(__main__:Painter" in text
    assert len(list((folder / "runs").iterdir())) == 1


def kaggle(folder: Path, minutes: float) -> tuple[Any, dict[str, Any]]:
    """Kaggle's notebook after a run on a small competition, and its submission, checked against the challenges."""
    given = competition(folder.parent / "input")
    notebook = executed(
        "kaggle.ipynb",
        folder,
        INPUT=str(given),
        CHALLENGES=CHALLENGES,
        OUTPUT=str(folder),
        INSTALL=False,
        MINUTES=minutes,
        VOTES=8,
        FLAGS=TINY,
    )
    content = json.loads((folder / "submission.json").read_text())
    assert list(submission_problems(content, load_tasks(str(given / CHALLENGES)))) == []
    # The format, spelled out.
    tasks = json.loads((given / CHALLENGES).read_text())
    assert list(tasks) == list(SOLVE)
    assert {name: len(task["test"]) for name, task in tasks.items()} == {name: len(e) for name, e in content.items()}
    assert all(set(each) == {"attempt_1", "attempt_2"} for outputs in content.values() for each in outputs)
    return notebook, content


def test_a_submission_answers_every_challenge_within_the_time(folder: Path) -> None:
    notebook, content = kaggle(folder, minutes=0.5)
    text = printed(notebook)
    inputs = sum(map(len, content.values()))
    assert inputs > len(SOLVE), "a task has several test inputs"
    assert f"{len(SOLVE)} tasks to solve with {inputs} test inputs; 0 answers are known" in text
    assert "2 study tasks; 1 left out" in text
    assert f"{len(SOLVE)} of {len(SOLVE)} tasks answered with 4 votes" in text
    assert "no problems; 0 tasks without an answer of the model" in text
    left = re.search(r"^(\S+) seconds left", text, re.MULTILINE)
    assert left
    assert float(left[1]) >= 0
    assert pictures(notebook) == 1


def test_a_submission_is_complete_when_no_time_is_left_for_answers(folder: Path) -> None:
    notebook, content = kaggle(folder, minutes=0.001)
    assert f"{len(SOLVE)} tasks without an answer of the model" in printed(notebook)
    assert {str(grid) for outputs in content.values() for each in outputs for grid in each.values()} == {"[[0]]"}
