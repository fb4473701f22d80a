"""The command as people run it: in a process of its own."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hrm_arc.cli.main import main
from hrm_arc.cli.signals import FORWARDED_SECONDS
from hrm_arc.hardware import chosen_precision
from hrm_arc.training.trainer import Trainer
from tests.cli.commands import HRM, answer, check_one_line, hrm
from tests.made import tiny_recipe, write_tasks


def test_help_teaches(tmp_path: Path) -> None:
    for arguments in ([], ["--help"]):
        done = hrm(*arguments)
        assert done.returncode == 0
        assert "hrm quickstart" in done.stdout
    keys = hrm("train", "--help").stdout
    assert "--optimizer.lr" in keys
    # What is refused is not shown.
    assert not re.search(r"^ *--(config|print_config|model|data|training) ", keys, re.MULTILINE)
    assert "warm" in keys


def test_an_interrupt_while_the_program_is_loaded_ends_it_without_a_word() -> None:
    # A verb is the last thing to be loaded.
    code = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'hrm_arc.cli.analyze': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from hrm_arc.__main__ import entry; entry()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["data", "list"],
        ["data", "show", "0d3d703e"],
        ["data", "show", "0d3d703e", "--png", "x.png"],
        ["data", "info", "arc-agi-1/training"],
    ],
    ids=" ".join,
)
def test_looking_at_puzzles_loads_no_torch(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from hrm_arc.cli.main import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'\n"
        "assert 'lightning_fabric' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr


def test_importing_puzzles_loads_no_torch() -> None:
    code = "import sys, hrm_arc, hrm_arc.puzzles, hrm_arc.puzzles.sources; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_data_show_draws_the_task() -> None:
    done = hrm("data", "show", "0d3d703e", "--answers")
    assert "813  →  " in done.stdout
    assert done.stdout.count("312") == 3


def test_data_info_counts_and_scores_empty_answers() -> None:
    info = answer("data", "info", "arc-agi-1", "--augment", "2")
    assert (info["tasks"], info["tasks_to_solve"]) == (800, 400)
    assert set(info["baselines"]) == {"pad_only", "copy_input", "position_mode"}  # type: ignore[call-overload]
    twice = answer("data", "info", "arc-agi-1", "--augment", "2", "--copies", "2")
    assert twice["train_samples"] == 2 * info["train_samples"]  # type: ignore[operator]
    assert twice["baselines"] == info["baselines"]


def test_data_info_on_the_logs_set(concept_arc: Path) -> None:
    info = answer("data", "info", "arc-agi-1", "--augment", "500", "--concept-arc", concept_arc)
    assert (info["train_samples"], info["test_samples"]) == (1_943_946, 204_495)
    assert info["baselines"]["pad_only"]["token_accuracy"] == pytest.approx(0.7136, abs=5e-4)  # type: ignore[index]


def test_the_quickstart_from_end_to_end(tmp_path: Path) -> None:
    result = answer("quickstart", "--minutes", "0.05", "--out", tmp_path / "runs")
    assert set(result) >= {
        *("test_outputs", "solved_pass1", "solved_pass2", "token_accuracy", "baselines", "seconds", "report")
    }
    assert result["tasks"] == 12
    assert Path(str(result["report"])).is_file()


def test_weights_to_begin_with_are_learned_from_study_tasks_alone(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    tiny_recipe(tasks)
    recipe = tmp_path / "grid-hrm.yaml"
    flags = ["--data.solve", "[]", "--data.study", f"[{tasks}]", "--out", tmp_path / "runs"]
    done = hrm("train", recipe, *flags)
    run = next((tmp_path / "runs").iterdir())
    assert done.stdout.splitlines()[-1] == f"begin with its weights: hrm train RECIPE --init-from {run}"
    check_one_line(hrm("eval", run), "--data", "nothing held out from it")
    begun = answer("train", recipe, "--init-from", run, "--data.solve", f"[{tasks}]", "--out", tmp_path / "more")
    assert begun["held_out"] == 3


def test_an_interrupted_run_saves_its_state_and_says_so(tmp_path: Path) -> None:
    tiny_recipe(write_tasks(tmp_path / "tasks"))
    command = [*HRM, "train", "grid-hrm.yaml", "--training.max_steps", "1000000"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not any((tmp_path / "runs").glob("*/metrics.jsonl")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    (status,) = (tmp_path / "runs").glob("*/status.json")
    assert json.loads(status.read_text())["state"] == "interrupted"


def test_resuming_a_finished_run_says_that_nothing_was_trained(tmp_path: Path) -> None:
    recipe = tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", "--training.max_steps", "2")
    run = Path(Trainer(recipe, root=tmp_path / "runs").fit()["folder"])
    again = hrm("train", "--resume", run)
    assert again.returncode == 0
    assert "it was finished at step 2, and nothing was trained; a longer run takes --training.max_steps" in again.stderr
    # A folder for runs is none of them.
    inside = hrm("train", "quickstart", "--out", run)
    check_one_line(inside, str(run), "is a run, expected a folder for runs")
    (tmp_path / "config.yaml").write_text("of: another program\n")
    assert hrm("train", tmp_path / "grid-hrm.yaml", "--training.max_steps", "1", "--out", tmp_path).returncode == 0


def test_a_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    tiny_recipe(write_tasks(tmp_path / "tasks"))
    # One step that takes minutes.
    command = [*HRM, "train", "grid-hrm.yaml", "--training.max_steps", "1", "--training.batch_size", "100000"]
    command += ["--model.segments", "100", "--validation.every", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "run " not in process.stderr.readline():
        assert process.poll() is None
    while not any((tmp_path / "runs").glob("*/status.json")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    while "once more to quit at once" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(2 * FORWARDED_SECONDS)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False)
    (status,) = (tmp_path / "runs").glob("*/status.json")
    assert json.loads(status.read_text())["state"] == "failed"


def test_a_run_that_diverged_is_one_line_and_no_mistake_in_what_was_given(tmp_path: Path) -> None:
    tiny_recipe(write_tasks(tmp_path / "tasks"))
    # Clipped or not, the first update takes the weights beyond what single precision holds.
    done = hrm("train", "grid-hrm.yaml", "--optimizer.lr", "1e38", cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: step 0: the loss or a gradient is not finite")
    assert "Traceback" not in done.stderr


def test_the_value_of_a_key_is_no_recipe(tmp_path: Path) -> None:
    tiny_recipe(write_tasks(tmp_path / "tasks"))
    run = answer("train", "--training.max_steps", "2", "grid-hrm.yaml", "--seed", "3", cwd=tmp_path)
    assert run["steps"] == 2
    more = ["--training.max_steps", "3", "--override", "training.max_steps"]
    assert answer("train", "--resume", str(run["folder"]), *more, cwd=tmp_path)["steps"] == 3


BAD_FILES = {
    "ragged": ('{"train": [{"input": [[1, 2], [3]], "output": [[1]]}], "test": [{"input": [[1]]}]}', "ragged"),
    "color": ('{"train": [{"input": [[10]], "output": [[1]]}], "test": [{"input": [[1]]}]}', "color 10"),
    "rows": (
        json.dumps({"train": [{"input": [[1]] * 31, "output": [[1]]}], "test": [{"input": [[1]]}]}),
        "31 rows, expected 1 to 30",
    ),
    "empty": ('{"train": [], "test": [{"input": [[1]]}]}', "train: empty"),
    "json": ("{", "not JSON"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_puzzles_are_one_line(name: str, tmp_path: Path) -> None:
    content, what = BAD_FILES[name]
    (tmp_path / f"{name}.json").write_text(content)
    check_one_line(hrm("data", "show", f"{name}.json", cwd=tmp_path), f"{name}.json", what)


@pytest.mark.parametrize(
    ("arguments", "where", "what"),
    [
        (["data", "show", "missing.json"], "missing.json", "no such source or path"),
        (["data", "info", "arc-agi-9"], "arc-agi-9", "no such source"),
        (["data", "info", "arc-agi-1", "--augmnt", "5"], "--augmnt", "no such argument"),
        (["data", "info", "arc-agi-1", "--augment", "many"], "--augment", "invalid int value"),
        (["data", "info", "arc-agi-1", "--augment", "-1"], "--augment", "expected"),
        (["train", "missing.yaml"], "missing.yaml", "no such recipe"),
        (["train"], "hrm train", "name a recipe"),
        (["train", "quickstart", "--model.hiden_size", "3"], "--model.hiden_size", "did you mean model.hidden_size?"),
        (["train", "quickstart", "--data.solve", "[nowhere]"], "nowhere", "no such source"),
        (["eval", "nowhere"], "nowhere", "no checkpoint here"),
        (["audit", "--claim", "71"], "--claim", "between 0 and 1"),
        (["quickstart", "--minutes", "0"], "--minutes", "more than 0"),
        (["frobnicate"], "hrm", "invalid choice"),
        (["eval", "--submission", "x.json", "--data", "arc-agi-1", "--seed", "5"], "--seed", "has its answers already"),
        (["eval", "--submission", "x.json", "--data", "arc-agi-1", "--out", "y"], "--out", "has its answers already"),
        (
            ["eval", "--submission", "x.json", "--data", "arc-agi-1", "--threads", "2"],
            "--threads",
            "its answers already",
        ),
        (["eval", "arc1-cpu", "--threads", "2"], "--threads", "it is for an exported file"),
        (["validate", "arc1-cpu", "--provider", "cuda"], "--provider", "it is for an exported file"),
        (["train", "--resume", "runs/x", "--out", "other"], "--out", "is for a new run"),
        (["export", "arc1-cpu", "--out", "model"], "--out", "does not end in .onnx"),
        (["export", "arc1-cpu", "--check", "x.onnx", "--int8"], "--int8", "--check compares a file as it is"),
        (["train", "quickstart", "--override", "training.max_steps"], "--override", "a run that is resumed"),
        (["solve", "0d3d703e", "--finetune-seconds", "0", "--out", "kept"], "--out", "learns nothing"),
        (["solve", "0d3d703e", "--device", "cuda:99"], "--device", "not available here"),
        (["solve", "0d3d703e", "--threads", "4"], "--threads", "it is for an exported file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(arguments: list[str], where: str, what: str, tmp_path: Path) -> None:
    check_one_line(hrm(*arguments, cwd=tmp_path), where, what)
    assert list(tmp_path.iterdir()) == []


def test_no_permission_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    # A file where a folder should be is refused even to a superuser.
    (tmp_path / "occupied").write_text("")
    tiny_recipe(write_tasks(tmp_path / "tasks"))
    done = hrm("train", "grid-hrm.yaml", "--out", "occupied", cwd=tmp_path)
    check_one_line(done, "occupied", "cannot be written")
    done = hrm("data", "show", "0d3d703e", "--png", "occupied/x.png", cwd=tmp_path)
    check_one_line(done, "occupied", "cannot be written")
    assert (tmp_path / "occupied").read_text() == ""


def test_a_module_that_exits_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "needs_env.py").write_text('import sys\nsys.exit("set MY_DATA first")\n')
    check_one_line(
        hrm("data", "list", "needs_env:load", cwd=tmp_path), "needs_env:load", "SystemExit: set MY_DATA first"
    )


def test_json_may_stand_before_the_verb_of_a_verb(tmp_path: Path) -> None:
    done = hrm("weights", "--json", "save", "arc1-cpu", tmp_path / "mine", "--no-scores")
    assert json.loads(done.stdout)["folder"] == str(tmp_path / "mine")


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EAGAIN, errno.EMFILE])
def test_a_machine_that_has_no_more_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def starts_a_process(options: argparse.Namespace) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hrm_arc.cli.doctor.run", starts_a_process)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == f"error: this machine: {os.strerror(number)}\n"


def test_the_doctor_says_what_is_chosen_and_why() -> None:
    result = answer("doctor")
    assert result["processor"]["cores"] >= 1
    assert result["versions"]["torch"]
    assert result["speeds"]["products_fp32_flops"] > 0
    assert result["choices"]["precision"] == chosen_precision("auto", result["choices"]["device"])
    assert result["choices"]["precision_because"]
    assert "training.precision" in hrm("doctor").stdout
