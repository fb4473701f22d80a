from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hrm_arc.errors import UserError
from hrm_arc.training.build import find_recipe, load_recipe, recipe_folders

RECIPES = sorted(str(f.relative_to(root).with_suffix("")) for root in recipe_folders() for f in root.rglob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_parses_and_reads_back_as_it_is(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == Path(name).name or recipe.name == name
    written = tmp_path / "again.yaml"
    written.write_text(yaml.safe_dump(recipe.as_dict()))
    assert load_recipe(str(written)) == recipe


def test_the_logs_sessions_are_as_in_the_log() -> None:
    sessions = {n: load_recipe(f"log/session-{n}") for n in range(1, 6)}
    assert [s.training.batch_size for s in sessions.values()] == [24, 20, 20, 8, 20]
    assert [s.training.batch_size * s.training.grad_accum_steps for s in sessions.values()] == [24, 40, 40, 40, 40]
    assert [s.training.max_steps for s in sessions.values()] == [7_000, 24_500, 18_500, 125_500, 193_064]
    assert {s.optimizer.lr for s in sessions.values()} == {3e-4}
    assert sessions[5].loss.label_smoothing == 0.1
    assert (sessions[5].schedule.kind, sessions[5].schedule.restart_steps) == ("restarts", 20_000)
    assert {s.loss.ignore_padding for s in sessions.values()} == {False}
    assert {s.data.canvas for s in sessions.values()} == {"full"}


def test_flags_override_the_file() -> None:
    recipe = load_recipe("quickstart", ["--model.hidden_size=64", "--optimizer.betas", "[0.5, 0.6]", "--data.study+=x"])
    assert recipe.model["hidden_size"] == 64
    assert recipe.optimizer.betas == (0.5, 0.6)
    assert recipe.data.study == ["x"]


def test_the_model_can_be_changed_where_its_keys_fit(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("model: {name: grid-hrm, hidden_size: 64}\n")
    assert load_recipe(str(path), ["--model.name", "dual-loop"]).model["name"] == "dual-loop"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.hiden_size", "3"], "--model.hiden_size: no such flag; did you mean model.hidden_size?"),
        (["--foo", "1"], "--foo: no such flag"),
        (["stray"], "stray: no such flag"),
        (["--optimizer.lr", "fast"], "optimizer.lr: expected a float. Got value: fast"),
        (["--training.batch_size", "1.5"], "training.batch_size: expected a int"),
        (["--data.canvas", "round"], "data.canvas: expected one of 'full', 'cropped', 'squares'. Got value: round"),
        (["--training.max_steps", "0"], "training: max_steps is 0, expected at least 1"),
        (["--model.hidden_size", "33"], "model: hidden_size 33 is not a multiple of 4 x 4 heads"),
        (["--data.smallest", "-3"], "data: smallest is -3, expected at least 0"),
        (["--data.augment", "-1"], "data: augment is -1"),
        (["--data.repeat", "0"], "data: repeat is 0, expected at least 1"),
        (["--model.hidden_size", "-32"], "model: hidden_size is -32"),
        (["--model.num_heads", "0"], "model: num_heads is 0"),
        (["--model.expansion", "-1"], "model: expansion is -1"),
        (["--training.max_minutes", "-1"], "training: max_minutes is -1"),
        (["--training.checkpoint_every", "-1"], "training: checkpoint_every is -1"),
        (["--optimizer.ema", "2"], "optimizer: ema is 2"),
        (["--optimizer.lr", "-1"], "optimizer: lr is -1"),
        (["--schedule.warmup_steps", "-1"], "schedule: warmup_steps is -1"),
        (["--model.name", "gpt"], "model.name: no model 'gpt', expected one of dual-loop, grid-hrm"),
        (["--loss.kind", "hinge"], "loss.kind: no loss 'hinge', expected one of softmax, stablemax"),
        (["--data.transforms", "[blur]"], "data.transforms: no"),
        (["--evaluation.metrics", "[f1]"], "evaluation.metrics: no metric 'f1'"),
        (["--training.batch_size"], "expected one argument"),
    ],
)
def test_mistakes_in_flags_are_one_line(flags: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("quickstart", flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {name: grid-hrm, hiden_size: 3}", "no key model.hiden_size; did you mean model.hidden_size?"),
        ("model: {name: grid-hrm}\nfoo: 1", "no key foo"),
        ("model: {name: grid-hrm}\ntraining: {max_steps: many}", "training.max_steps: expected a int"),
        ("model: {name: grid-hrm}\ntraining: 3", "'training' is a single value, expected a section of keys"),
        ("- 1", "not a recipe"),
        ("model: grid-hrm", "not a recipe"),
        ("{]", "not YAML"),
    ],
)
def test_mistakes_in_files_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_recipe(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(UserError, match="quickstart"):
        find_recipe("nosuch")
