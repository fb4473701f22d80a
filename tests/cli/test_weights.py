"""Weights that are given away: saved from a run, loaded by name, shared through a stand-in of the hub."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import hrm_arc
from hrm_arc.cli.main import main
from hrm_arc.deploy.packing import _command, _learned_from, add_scores
from hrm_arc.deploy.sharing import model_card
from hrm_arc.runs import named
from hrm_arc.runs.checkpoint import newest_checkpoint, read_card
from hrm_arc.runs.folder import RunFolder
from hrm_arc.training.recipes import load_recipe
from hrm_arc.training.trainer import Trainer
from tests.cli.commands import answer, check_one_line, hrm, one_line
from tests.cli.hub_server import TOKEN, Hub, serving
from tests.made import tiny_recipe, write_tasks


@pytest.fixture(scope="module")
def saved(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of the run, saved by the command in a folder of shipped weights."""
    folder = tmp_path_factory.mktemp("shipped") / "tiny"
    result = answer("weights", "save", run_folder, folder, "--title", "A tiny model", "--votes", "2")
    assert result["title"] == "A tiny model"
    assert result["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    return folder


@pytest.fixture
def shipped(saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of weights that ship, in an empty working directory."""
    monkeypatch.setattr(named, "SHIPPED", saved.parent)
    monkeypatch.chdir(tmp_path)
    return saved.name


def test_weights_are_those_of_the_run_in_bfloat16(run_folder: Path, saved: Path) -> None:
    ours = load_file(saved / "model.safetensors")
    theirs = load_file(newest_checkpoint(run_folder) / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, theirs[name].to(torch.bfloat16))
    assert {file.name for file in saved.iterdir()} == set(named.FILES)


def test_commands_that_make_weights_again_have_the_flags_that_differ(tmp_path: Path) -> None:
    """From the run's recipe; what ``auto`` stood for is not among them."""
    flags = ["--seed", "3", "--data.largest", "300", "--training.max_minutes", "5.5", "--data.study", '["a b"]']
    recipe = load_recipe("cpu-arc1", flags).resolve_auto("32-true", "never").as_dict()
    shown = shlex.split(_command(recipe, ""))
    assert shown[:3] == ["hrm", "train", "cpu-arc1"]
    assert load_recipe("cpu-arc1", shown[3:]).resolve_auto("32-true", "never").as_dict() == recipe
    assert "--training.precision" not in shown
    assert _command(load_recipe("cpu-arc1").as_dict(), "") == "hrm train cpu-arc1"
    assert _command({**recipe, "name": "mine"}, "") == "hrm train recipe.yaml"
    assert _command({**recipe, "name": "mine"}, "first") == "hrm train recipe.yaml --init-from runs/first"


def test_the_scores_are_those_of_the_rounded_weights(saved: Path, tmp_path: Path) -> None:
    (row,) = named.read_about(saved)["scores"]
    scores = answer("eval", saved, "--votes", "2", "--out", tmp_path)
    assert row["votes"] == 2
    assert (row["solved"], row["test_outputs"]) == (scores["solved_pass2"], scores["test_outputs"])
    assert row["pass@2"] == scores["pass@2"]
    assert row["interval"] == scores["intervals"]["pass@2"]  # type: ignore[index]


def test_a_name_stands_where_a_run_may_stand(
    shipped: str, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["weights"]
    assert row["name"] == shipped
    assert main(["eval", shipped, "--json"]) == 0
    by_name = json.loads(capsys.readouterr().out)
    # Votes are those of the recipe; the results lie in the working directory, not in the installed package.
    assert by_name["votes"] == 8
    assert by_name["folder"] == f"{shipped}.scores"
    assert {file.name for file in saved.iterdir()} == set(named.FILES)
    assert main(["export", shipped, "--out", "model.onnx", "--samples", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "grid-hrm"
    assert hrm_arc.Solver.load(shipped).card.tasks == hrm_arc.Solver.load(saved).card.tasks
    for value in hrm_arc.Pretrained.load(shipped).weights.values():
        assert value.dtype == torch.float32


def test_a_validation_by_name_leaves_the_name(shipped: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = hrm_arc.Solver.load(saved).card.solve
    for _ in range(2):
        assert main(["validate", shipped, "--data", source, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["file"] == f"{shipped}.scores/validation.json"
    assert main(["eval", shipped, "--votes", "2", "--json"]) == 0


def test_weights_are_not_saved_before_it_is_known_what_to_score_them_on(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    assert "no such source" in one_line(capsys, "weights", "save", run_folder, out, "--data", "nowhere")
    assert not out.exists()


def test_weights_of_study_tasks_alone_are_saved_without_scores(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        write_tasks(tmp_path / "tasks"), "grid-hrm", "--data.solve", "[]", "--data.study", "[0d3d703e]"
    )
    run = Trainer(recipe, root=tmp_path / "runs").fit()["folder"]
    about = answer("weights", "save", run, tmp_path / "mine")
    assert about["scores"] == []
    assert about["learned_from"] == ["1 tasks of 0d3d703e with their test outputs"]


def test_weights_say_what_they_began_with(run_folder: Path, tmp_path: Path) -> None:
    card = read_card(newest_checkpoint(run_folder))
    begun = replace(card, earlier={"names": ["a", "b"], "imported": True})
    said = _learned_from(begun)
    assert "before, in the training that it began with: 2 tasks with their test outputs" in said
    assert "what a published checkpoint was trained on, which is not known here" in said
    assert len(_learned_from(card)) == len(said) - 2


def test_a_run_that_was_moved_with_its_tasks_is_saved_with_scores(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "here" / "tasks")
    recipe = tiny_recipe(tasks, "grid-hrm", "--training.max_steps", "1", "--validation.every", "0")
    run = Trainer(recipe, root=tmp_path / "here" / "runs")
    run.fit()
    (tmp_path / "here").rename(tmp_path / "there")
    moved = tmp_path / "there" / "runs" / run.folder.run_id
    about = answer("weights", "save", moved, tmp_path / "mine", "--votes", "1")
    assert about["scores"][0]["test_outputs"] == 3


def test_what_scoring_needs_is_known_before_weights_are_written(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    RunFolder(copy).accept({"evaluation.metrics": ["no_such_module:metric"]})
    assert "no_such_module" in one_line(capsys, "weights", "save", str(copy), str(tmp_path / "mine"))
    assert not (tmp_path / "mine").exists()


def test_a_score_that_is_not_fair_says_so_wherever_weights_are_described(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unfair"
    shutil.copytree(saved, folder)
    unfair = "trained on the test outputs of 400 of these tasks: not a fair score"
    scores = {
        "tasks": 1,
        "votes": 2,
        "test_outputs": 1,
        "solved_pass2": 1,
        "pass@2": 1.0,
        "intervals": {"pass@2": [0, 1]},
    }
    add_scores(folder, "arc-agi-1/training", {**scores, "warnings": [unfair]})
    about = named.read_about(folder)
    assert about["scores"][-1]["warnings"] == [unfair]
    card = replace(read_card(folder), leaks=["a leak"], solve=["/home/somebody/tasks", "arc-agi-1/evaluation"])
    text = model_card("me/unfair", card, about)
    assert f"Note: {unfair}" in text
    assert "Note: a leak" in text
    assert yaml.safe_load(text.split("---\n")[1])["datasets"] == ["arc-agi-1"]


def test_a_folder_of_the_same_name_comes_first(shipped: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(shipped).mkdir()
    assert "no checkpoint here" in one_line(capsys, "eval", shipped)


def test_solve_begins_with_what_ships(shipped: str, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = hrm_arc.Solver.load(saved).card.solve
    assert main(["solve", source, "--finetune-seconds", "0", "--json"]) == 0
    given = json.loads(capsys.readouterr().out)
    assert main(["solve", source, "--finetune-seconds", "0", "--model", str(saved), "--json"]) == 0
    assert given == json.loads(capsys.readouterr().out)
    assert "needs a trained --model" in one_line(
        capsys, "solve", source, "--model", "nothing", "--finetune-seconds", "0"
    )


def test_mistakes_are_one_line(run_folder: Path, saved: Path, tmp_path: Path) -> None:
    check_one_line(hrm("weights", "save", run_folder, saved), str(saved), "exists already")
    check_one_line(hrm("weights", "save", tmp_path, tmp_path / "x"), str(tmp_path), "no checkpoint here")
    check_one_line(hrm("weights", "push", run_folder, "me/tiny"), str(run_folder), "save its weights first")
    check_one_line(hrm("weights", "push", saved, "tiny"), "tiny", "expected owner/name")
    check_one_line(hrm("train", "--resume", saved), str(saved), "no run here")


GOOD_SCORE = {
    "data": "here",
    "tasks": 1,
    "votes": 2,
    "test_outputs": 3,
    "solved": 1,
    "pass@2": 0.5,
    "interval": [0.0, 1.0],
}
GOOD = {
    "title": "a",
    "license": "b",
    "learned_from": [],
    "made_with": [],
    "parameters": 1,
    "steps": 1,
    "scores": [GOOD_SCORE],
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD, None),
        ([], "expected a JSON object"),
        ({**GOOD, "title": None}, "title is null"),
        ({**GOOD, "parameters": "many"}, "parameters is 'many'"),
        ({key: value for key, value in GOOD.items() if key != "steps"}, "has no steps"),
        ({**GOOD, "scores": 3}, "scores is a number"),
        ({**GOOD, "scores": [{**GOOD_SCORE, "pass@2": 50}]}, "scores.pass@2 is 50"),
        ({**GOOD, "scores": [{**GOOD_SCORE, "solved": 4}]}, "scores.solved is 4"),
        ({**GOOD, "scores": [{**GOOD_SCORE, "interval": ["0", "1"]}]}, "scores.interval is '0'"),
        ({**GOOD, "scores": [{**GOOD_SCORE, "interval": [0.5]}]}, "scores.interval is not [low, high]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_description_is_one_line(
    shipped: str,
    saved: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: object,
    said: str | None,
) -> None:
    copy = tmp_path / "shipped" / shipped
    copy.mkdir(parents=True)
    (copy / named.ABOUT).write_text(json.dumps(content))
    monkeypatch.setattr(named, "SHIPPED", copy.parent)
    if said is None:
        assert main(["weights"]) == 0
        assert "50.00% (0.0% to 100.0%)" in capsys.readouterr().out
    else:
        assert said in one_line(capsys, "weights")


def test_weights_without_a_title_have_the_name_of_their_recipe(run_folder: Path, tmp_path: Path) -> None:
    result = answer("weights", "save", run_folder, tmp_path / "mine", "--votes", "1")
    assert result["title"] == "tiny"
    (row,) = result["scores"]  # type: ignore[misc]
    assert row["data"].startswith("its 3 solve tasks of ")
    check_one_line(hrm("weights", "save", run_folder, tmp_path / "more", "--votes", "0"), "--votes", "expected 1 to")
    assert not (tmp_path / "more").exists()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A stand-in of the hub that the command talks to, with an empty cache."""
    with serving() as served:
        for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield served


def test_weights_go_to_the_hub_and_come_back(hub: Hub, saved: Path, tmp_path: Path) -> None:
    assert answer("weights", "push", saved, "me/tiny")["address"] == f"{hub.address}/me/tiny"
    held = hub.repositories["me/tiny"]
    # The layout of the hub: safetensors, config.json, and a model card with its metadata in YAML.
    assert set(held) == {*named.FILES, "config.json", "README.md"}
    assert held["model.safetensors"] == (saved / "model.safetensors").read_bytes()
    _, head, text = held["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "apache-2.0"
    assert 'Solver.from_pretrained("me/tiny")' in text
    assert json.loads(held["config.json"])["library_name"] == "hrm-arc"

    pulled = tmp_path / "pulled"
    answer("weights", "pull", "me/tiny", pulled)
    for name in named.FILES:
        assert (pulled / name).read_bytes() == (saved / name).read_bytes()
    code = "import hrm_arc; print(hrm_arc.Solver.from_pretrained('me/tiny').card.model)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "grid-hrm\n", done.stderr


def test_what_the_hub_refuses_is_one_line(
    hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_one_line(hrm("weights", "pull", "me/nothing", tmp_path / "x"), "me/nothing", "the hub has no public model")
    hub.repositories["me/other"] = {"README.md": b"something else"}
    # The client of the hub says more than one line here.
    done = hrm("weights", "pull", "me/other", tmp_path / "x")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert last == "error: me/other: holds no weights of this program: it has no checkpoint.json"
    # A download that misses a file leaves no folder behind.
    hub.repositories["me/half"] = {name: (saved / name).read_bytes() for name in named.FILES if name != "about.json"}
    done = hrm("weights", "pull", "me/half", tmp_path / "x")
    assert done.stderr.splitlines()[-1] == "error: me/half: holds no weights of this program: it has no about.json"
    assert not (tmp_path / "x").exists()
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    check_one_line(hrm("weights", "push", saved, "me/tiny"), "me/tiny", "cannot be uploaded", status=1)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    check_one_line(hrm("weights", "pull", "me/tiny", tmp_path / "x"), "me/tiny", "cannot be reached", status=1)
