"""An exported file in a virtual environment without torch, and validations that are stopped and resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hrm_arc.deploy.validating import BATCH
from tests.cli.commands import answer, check_one_line, hrm
from tests.made import tiny_recipe, write_puzzles, write_tasks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported file; beside it the tasks that it was trained on, and the path of its run."""
    root = tmp_path_factory.mktemp("edge")
    tiny_recipe(write_tasks(root / "tasks"))
    trained = answer("train", root / "grid-hrm.yaml", "--out", root / "runs", "--training.max_steps", "10")
    done = answer("export", str(trained["folder"]), "--out", root / "model.onnx", "--samples", "24")
    assert set(done) >= {"bytes", "parity"}
    assert done["parity"]["tokens_different"] == 0  # type: ignore[index]
    (root / "run").write_text(str(trained["folder"]))
    return root / "model.onnx"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the edge extra only."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{ROOT}[edge]"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=900)
    if done.returncode:
        if any(word in done.stderr for word in ("NewConnectionError", "Temporary failure", "No matching distribution")):
            pytest.skip("packages cannot be downloaded here")
        pytest.fail(done.stderr)
    return folder / "bin"


def test_nothing_needs_torch(edge: Path, exported: Path, tmp_path: Path) -> None:
    missing = subprocess.run([edge / "python", "-c", "import torch"], capture_output=True, text=True)
    assert "No module named 'torch'" in missing.stderr

    def there(*arguments: str | Path) -> dict[str, Any]:
        command = [str(edge / "hrm"), *map(str, arguments), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run_folder = (exported.parent / "run").read_text()
    here = answer("eval", run_folder, "--votes", "8")
    scores = there("eval", exported, "--votes", "8", "--out", tmp_path / "scores")
    for name in ("pass@1", "pass@2", "exact_accuracy", "token_accuracy", "baselines", "groups", "refinement"):
        assert scores[name] == here[name], name
    task = exported.parent / "tasks" / "flip0.json"
    assert there("solve", task, "--model", exported)["answers_known"] == 1
    validated = there("validate", exported, "--augment", "3", "--out", tmp_path / "v.json")
    assert validated["samples"] > 3
    assert answer("validate", run_folder, "--augment", "3")["exact_accuracy"] == validated["exact_accuracy"]
    assert there("data", "info", "arc-agi-1/training")["tasks"] == 400
    refused = subprocess.run([edge / "hrm", "eval", run_folder], capture_output=True, text=True)
    check_one_line(refused, "torch", "pip install 'hrm-arc[train]'")
    learns = subprocess.run([edge / "hrm", "solve", task], capture_output=True, text=True)
    check_one_line(learns, "hrm-arc[train]", "not installed here")


def test_a_validation_killed_five_times_gives_the_same_figures(exported: Path, tmp_path: Path) -> None:
    source = write_puzzles_of_arc(tmp_path)
    flags = ["--data", str(source), "--augment", "20", "--fraction", "0.1"]
    whole = answer("validate", exported, *flags, "--out", tmp_path / "whole.json")
    assert int(str(whole["samples"])) > 6 * BATCH
    file = tmp_path / "killed.json"
    command = [sys.executable, "-m", "hrm_arc", "validate", str(exported), *flags, "--out", str(file)]
    for kill in range(5):
        before = done_so_far(file)
        process = subprocess.Popen([*command, *(["--resume"] if kill else [])], stderr=subprocess.DEVNULL)
        while done_so_far(file) <= before:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert 0 < done_so_far(file) < int(str(whole["samples"]))
    ended = answer("validate", exported, *flags, "--out", file, "--resume")
    for name in ("samples", "token_accuracy", "exact_accuracy", "mean_segments", "baselines"):
        assert ended[name] == whole[name], name


def test_a_stopped_validation_can_be_resumed(exported: Path, tmp_path: Path) -> None:
    source = write_puzzles_of_arc(tmp_path)
    flags = ["--data", str(source), "--augment", "60", "--out", str(tmp_path / "v.json")]
    command = [sys.executable, "-m", "hrm_arc", "validate", str(exported), *flags]
    before = 0
    for more in ([], ["--resume"]):
        process = subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True)
        while done_so_far(tmp_path / "v.json") <= before:
            assert process.poll() is None, "it ended before it was stopped"
            time.sleep(0.05)
        before = done_so_far(tmp_path / "v.json")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, "--resume continues" in errors) == (130, True), errors
    assert done_so_far(tmp_path / "v.json") >= before
    check_one_line(hrm("validate", exported, *flags), "v.json", "resume")
    check_one_line(
        hrm("validate", exported, *flags, "--fraction", "0.5", "--resume"), "v.json", "another model or other data"
    )


def done_so_far(file: Path) -> int:
    return json.loads(file.read_text())["done"] if file.is_file() else 0


def write_puzzles_of_arc(folder: Path) -> Path:
    from hrm_arc.puzzles.sources import load_tasks

    return write_puzzles(folder / "tasks", load_tasks("arc-agi-1/evaluation"))


@pytest.mark.parametrize(
    ("flags", "where", "what"),
    [
        (["--fraction", "0"], "--fraction", "more than 0"),
        (["--augment", "-1"], "--augment", "0 or more"),
        (["--resume"], "--resume", "no validation to resume"),
        (["--provider", "tensorrt"], "--provider", "not available here"),
        (["--device", "cuda"], "--device", "is for a run or checkpoint"),
        (["--precision", "32-true"], "--precision", "is for a run or checkpoint"),
        (["--data", "nowhere"], "nowhere", "no such source"),
        (["--against", "missing.json"], "missing.json", "cannot be read"),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_line(flags: list[str], where: str, what: str, exported: Path, tmp_path: Path) -> None:
    check_one_line(hrm("validate", exported, "--out", tmp_path / "v.json", *flags, cwd=tmp_path), where, what)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_of_export_are_one_line(exported: Path, tmp_path: Path) -> None:
    run_folder = (exported.parent / "run").read_text()
    check_one_line(hrm("export", run_folder), "hrm export", "expected --out")
    check_one_line(hrm("export", tmp_path, "--out", tmp_path / "x.onnx"), str(tmp_path), "no checkpoint here")
    checked = answer("export", run_folder, "--check", exported, "--samples", "24")
    assert checked["parity"]["grids_different"] == 0  # type: ignore[index]
    check_one_line(
        hrm("solve", "0d3d703e", "--model", exported, "--finetune-seconds", "5"),
        "--finetune-seconds",
        "cannot be trained",
    )


def test_two_machines_are_compared_on_the_same_samples_only(exported: Path, tmp_path: Path) -> None:
    run_folder = (exported.parent / "run").read_text()
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    answer("validate", exported, "--augment", "3", "--out", first)
    single = ["--precision", "32-true"]
    agreed = answer("validate", run_folder, "--augment", "3", *single, "--out", second, "--against", first)
    assert agreed["against"]["agree"] is True  # type: ignore[index]
    assert agreed["against"]["theirs"]["samples"] == agreed["samples"]  # type: ignore[index]
    second.unlink()
    for flags in (["--augment", "2"], ["--augment", "3", "--fraction", "0.5"]):
        refused = hrm("validate", run_folder, *flags, "--out", second, "--against", first)
        check_one_line(refused, str(first), "other samples")
        assert not second.exists()
    same_file = hrm("validate", exported, "--augment", "3", "--out", first, "--against", first)
    check_one_line(same_file, "--against", "name another one with --out")
