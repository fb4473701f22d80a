from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hrm_arc.errors import UserError
from hrm_arc.training.recipe_files import find_recipe, load_recipe, recipe_folders

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
    assert [s.training.batch for s in sessions.values()] == [24, 20, 20, 8, 20]
    assert [s.training.batch * s.training.accumulate for s in sessions.values()] == [24, 40, 40, 40, 40]
    assert [s.training.steps for s in sessions.values()] == [7_000, 24_500, 18_500, 125_500, 193_064]
    assert {s.optimiser.learning_rate for s in sessions.values()} == {3e-4}
    assert sessions[5].loss.label_smoothing == 0.1
    assert (sessions[5].schedule.kind, sessions[5].schedule.period) == ("restarts", 20_000)
    assert {s.loss.ignore_padding for s in sessions.values()} == {False}
    assert {s.data.canvas for s in sessions.values()} == {"full"}


def test_flags_override_the_file() -> None:
    recipe = load_recipe("quickstart", ["--model.width", "64", "--optimiser.betas", "[0.5, 0.6]", "--data.study+=x"])
    assert recipe.model["width"] == 64
    assert recipe.optimiser.betas == (0.5, 0.6)
    assert recipe.data.study == ["x"]


def test_the_model_can_be_changed_where_its_keys_fit(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("model: {name: grid-hrm, width: 64}\n")
    assert load_recipe(str(path), ["--model.name", "dual-loop"]).model["name"] == "dual-loop"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.widht", "3"], "--model.widht: no such flag; did you mean model.width?"),
        (["--foo", "1"], "--foo: no such flag"),
        (["stray"], "stray: no such flag"),
        (["--optimiser.learning_rate", "fast"], "optimiser.learning_rate: expected a float. Got value: fast"),
        (["--training.batch", "1.5"], "training.batch: expected a int"),
        (["--data.canvas", "round"], "data.canvas: expected one of 'full', 'cropped', 'squares'. Got value: round"),
        (["--training.steps", "0"], "training: steps is 0, expected at least 1"),
        (["--model.width", "33"], "model: width 33 is no multiple of 4 x 4 heads"),
        (["--data.smallest", "-3"], "data: smallest is -3, expected at least 0"),
        (["--data.augment", "-1"], "data: augment is -1"),
        (["--data.copies", "0"], "data: copies is 0, expected at least 1"),
        (["--model.width", "-32"], "model: width is -32"),
        (["--model.heads", "0"], "model: heads is 0"),
        (["--model.expansion", "-1"], "model: expansion is -1"),
        (["--training.minutes", "-1"], "training: minutes is -1"),
        (["--training.checkpoint_every", "-1"], "training: checkpoint_every is -1"),
        (["--optimiser.ema", "2"], "optimiser: ema is 2"),
        (["--optimiser.learning_rate", "-1"], "optimiser: learning_rate is -1"),
        (["--model.name", "gpt"], "model.name: no model 'gpt', expected one of dual-loop, grid-hrm"),
        (["--training.batch"], "expected one argument"),
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
        ("model: {name: grid-hrm, widht: 3}", "no key model.widht; did you mean model.width?"),
        ("model: {name: grid-hrm}\nfoo: 1", "no key foo"),
        ("model: {name: grid-hrm}\ntraining: {steps: many}", "training.steps: expected a int"),
        ("model: {name: grid-hrm}\ntraining: 3", "'training' is one value, expected keys of its own"),
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
