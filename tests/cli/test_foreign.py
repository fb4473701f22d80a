"""What other programs set, forward or leave: variables of torchrun and matplotlib, signals, files of the same name."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from hrm_arc.cli.signals import Request
from hrm_arc.competition.submitting import challenge_of
from hrm_arc.errors import UserError
from hrm_arc.files import existing
from hrm_arc.runs.card import Card
from hrm_arc.training.failures import DivergedError
from hrm_arc.training.recipes import load_recipe
from hrm_arc.training.trainer import Trainer
from tests.cli.commands import answer, check_one_line, hrm
from tests.made import tiny_recipe, write_tasks


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0"),
        ({"WORLD_SIZE": "2"}, "RANK"),
        ({"RANK": "5"}, "RANK=5"),
        ({"LOCAL_WORLD_SIZE": "2"}, "LOCAL_WORLD_SIZE=2"),
        ({"TORCHELASTIC_RESTART_COUNT": "x"}, "TORCHELASTIC_RESTART_COUNT"),
    ],
    ids=str,
)
def test_variables_that_torchrun_did_not_set_are_one_line(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    where = "the environment" if "=" in named else named
    for verb in (("eval", "run"), ("train", "quickstart"), ("solve", "0d3d703e")):
        check_one_line(hrm(*verb), where, named)
    assert hrm("weights").returncode == 0, "where one process is enough nothing of it matters"


def test_a_backend_of_a_notebook_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://no_such_backend")
    done = hrm("data", "show", "0d3d703e", "--png", tmp_path / "task.png")
    assert (done.returncode, (tmp_path / "task.png").is_file()) == (0, True)


def test_a_forwarded_interrupt_is_the_same_request(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("hrm_arc.cli.signals.time.monotonic", lambda: now[0])
    request = Request()
    assert request.is_new(signal.SIGINT)
    now[0] += 0.01
    assert not request.is_new(signal.SIGINT)
    now[0] += 0.3
    assert request.is_new(signal.SIGINT), "pressed again"


def test_a_folder_with_the_name_of_a_source_is_that_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tasks(tmp_path / "arc-agi-1", count=3)
    for name in ("arc-agi-1", "./arc-agi-1"):
        assert challenge_of(Path(name)) == "./arc-agi-1"


def test_results_do_not_become_those_of_another_run(tmp_path: Path, run_folder: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(run_folder / "config.yaml", other)
    check_one_line(hrm("eval", run_folder, "--votes", "1", "--out", other), "--out", "is another run")
    assert [file.name for file in other.iterdir()] == ["config.yaml"]


def test_an_output_does_not_overwrite_its_input(tmp_path: Path) -> None:
    folder = write_tasks(tmp_path / "tasks", count=2)
    task = sorted(folder.glob("*.json"))[0]
    before = task.read_bytes()
    check_one_line(hrm("data", "show", task, "--png", task), "--png", "is the task itself")
    for source in (task, folder):
        flags = ("--minutes", "1", "--model", "nothing", "--out", task)
        check_one_line(hrm("submit", source, *flags), "--out", "which it would overwrite")
    assert task.read_bytes() == before


@pytest.mark.parametrize("flag", ["--config", "--print_config", "--model", "--data", "--training"])
def test_flags_of_the_parser_are_no_keys(flag: str, tmp_path: Path) -> None:
    for flags in ([flag, str(tmp_path / "x.yaml")], [f"{flag}={tmp_path / 'x.yaml'}"]):
        with pytest.raises(UserError, match=f"{flag}: no such key of a recipe"):
            load_recipe("quickstart", flags)


def test_a_dotted_key_of_a_recipe_belongs_into_its_section(tmp_path: Path) -> None:
    recipe = {**load_recipe("quickstart").as_dict(), "training.max_steps": 2}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    with pytest.raises(UserError, match=r"no key training\.max_steps at this place"):
        load_recipe(tmp_path / "recipe.yaml")
    assert load_recipe("quickstart", ["--model.name", "trm", "--model.name", "grid-hrm"]).model["name"] == "grid-hrm"


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    huge = ("--optimizer.lr", "1e38", "--optimizer.weight_decay", "1e38", "--schedule.warmup_steps", "0")
    flags = (*huge, "--training.max_steps", "1", "--validation.every", "0", "--model.segments", "1")
    trainer = Trainer(tiny_recipe(write_tasks(tmp_path / "tasks"), "grid-hrm", *flags), root=tmp_path)
    with pytest.raises(DivergedError, match="weights that are not finite; no checkpoint is written"):
        trainer.fit()
    assert trainer.folder.status()["state"] == "failed"
    assert not list(trainer.folder.checkpoints.glob("step-*"))


def test_results_are_json_also_where_a_number_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    from hrm_arc.cli.show import emit

    emit({"loss": float("nan"), "rows": [float("inf"), 1.0]}, True, lambda result: None)
    assert json.loads(capsys.readouterr().out) == {"loss": None, "rows": [None, 1.0]}


def test_a_name_with_a_nul_is_no_file() -> None:
    assert existing("~\0") is None


@pytest.mark.parametrize("digests", [[[]], [{}], 3, {"a": 1}], ids=str)
def test_a_fingerprint_is_text(digests: object) -> None:
    card = Card("grid-hrm", {}, ["a"], "full", True, [], [], 1, 1, 0, [], 5, "run", {})
    with pytest.raises(ValueError, match="fingerprints"):
        Card.from_json({**card.as_json(), "fingerprints": {"a": {"pairs": digests}}})


def test_a_width_that_is_none_shows_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert "arc-agi-1" in hrm("data", "list").stdout
    assert answer("data", "info", "0d3d703e", "--augment", "0")["tasks"] == 1
