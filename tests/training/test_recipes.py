from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from hrm_arc.errors import UserError
from hrm_arc.models import MODELS
from hrm_arc.models.spec import find_model
from hrm_arc.runs.card import Card
from hrm_arc.training.build import load_corpus
from hrm_arc.training.config import LossConfig
from hrm_arc.training.packaged import recipe_folders
from hrm_arc.training.recipes import find_recipe, finetuning_recipe, known_keys, load_recipe, recipe_parser

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


@pytest.mark.parametrize("game", ["sudoku", "maze"])
def test_published_games_have_the_published_hyperparameters(game: str) -> None:
    hrm, trm = load_recipe(f"hrm-{game}"), load_recipe(f"trm-{game}")
    for recipe in (hrm, trm):
        assert (recipe.optimizer.lr, recipe.optimizer.puzzle_emb_lr) == (1e-4, 1e-4)
        assert (recipe.optimizer.weight_decay, recipe.optimizer.puzzle_emb_weight_decay) == (1.0, 1.0)
        assert (recipe.optimizer.betas, recipe.optimizer.grad_clip) == ((0.9, 0.95), 0.0)
        assert (recipe.training.batch_size, recipe.schedule.kind, recipe.model["segments"]) == (768, "constant", 16)
        assert (recipe.model["hidden_size"], recipe.model["num_heads"], recipe.model["expansion"]) == (512, 8, 4.0)
        assert (recipe.loss.kind, recipe.loss.halt_weight, recipe.halting.exploration_prob) == ("stablemax", 0.5, 0.1)
        # 2,000 updates of warm-up, and epochs of 1,000 boards; a step gives 16 updates.
        assert recipe.schedule.warmup_steps * 16 == 2000
        epochs = 20_000 if recipe is hrm else 50_000
        assert recipe.training.max_steps == round(epochs * 1000 / 768 / 16)
    assert (hrm.loss.halt_kind, trm.loss.halt_kind) == ("q-learning", "correct")
    assert (hrm.optimizer.ema, trm.optimizer.ema) == (0.0, 0.999)
    assert [hrm.model[key] for key in ("h_cycles", "l_cycles", "h_layers", "l_layers")] == [2, 2, 4, 4]
    # As TRM's README gives them: an MLP and six cycles of L for Sudoku, attention and four for Maze.
    mixing = {"sudoku": ("mlp", 6), "maze": ("attention", 4)}
    assert (trm.model["mixing"], trm.model["l_cycles"]) == mixing[game]
    assert (trm.model["h_cycles"], trm.model["layers"], trm.model["puzzle_emb_len"]) == (3, 2, 16)
    augment = {"sudoku": (1000, 1000), "maze": (0, 7)}
    assert (hrm.data.augment, trm.data.augment) == augment[game]
    assert game == "maze" or trm.model["cells"] == 81


@pytest.mark.parametrize("name", ["hrm", "trm"])
def test_published_recipes_of_arc_count_updates_as_published(name: str) -> None:
    recipe = load_recipe(name)
    puzzles = load_corpus(recipe).training_puzzles()
    pairs = sum(len(puzzle.drawn) for puzzle in puzzles)
    assert recipe.model["segments"] == 16
    assert recipe.schedule.warmup_steps * 16 == 2000
    # As many samples as 100,000 epochs of one variant of each task.
    assert recipe.training.max_steps == int(100_000 * pairs / 768 / 16)


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
        (["--training.batch_size", "1.5"], "training.batch_size: expected an int"),
        (["--data.canvas", "round"], "data.canvas: expected one of 'full', 'cropped', 'squares'. Got value: round"),
        (["--training.max_steps", "0"], "--training.max_steps: 0, expected at least 1"),
        (["--model.hidden_size", "33"], "--model.hidden_size: hidden_size 33 is not a multiple of 4 x 4 heads"),
        (["--data.smallest", "-3"], "--data.smallest: -3, expected at least 0"),
        (["--data.augment", "-1"], "--data.augment: -1"),
        (["--data.repeat", "0"], "--data.repeat: 0, expected at least 1"),
        (["--model.hidden_size", "-32"], "--model.hidden_size: -32"),
        (["--model.num_heads", "0"], "--model.num_heads: 0"),
        (["--model.expansion", "-1"], "--model.expansion: -1"),
        (["--training.max_minutes", "-1"], "--training.max_minutes: -1"),
        (["--training.checkpoint_every", "-1"], "--training.checkpoint_every: -1"),
        (["--optimizer.ema", "2"], "--optimizer.ema: 2"),
        (["--optimizer.lr", "-1"], "--optimizer.lr: -1"),
        (["--schedule.warmup_steps", "-1"], "--schedule.warmup_steps: -1"),
        (["--model.name", "gpt"], "model.name: no model 'gpt', expected one of dual-loop, grid-hrm"),
        (["--loss.kind", "hinge"], "loss.kind: no loss 'hinge', expected one of softmax, stablemax"),
        (["--data.transforms", "[blur]"], "data.transforms: no"),
        (["--evaluation.metrics", "[f1]"], "evaluation.metrics: no metric 'f1'"),
        (["--training.batch_size"], "expected one argument"),
        (["--training.max_step", "3"], "--training.max_step: no such flag; did you mean training.max_steps?"),
        (["--training.learning_rate", "3"], "--training.learning_rate: no such flag; its name here is optimizer.lr"),
        (["--model.zzz", "1"], "--model.zzz: no such flag; the model has model.hidden_size, "),
        (["--config", "x.yaml"], "--config: no such key of a recipe"),
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
        ("model: {name: grid-hrm}\ntraining: {max_steps: many}", "training.max_steps: expected an int"),
        ("model: {name: grid-hrm}\ntraining: 3", "'training' is a single value, expected a section of keys"),
        ("model: {name: grid-hrm}\ntraining: {trackers: }", "training.trackers has no value"),
        ("model: {name: grid-hrm, hidden_size: }", "model.hidden_size has no value"),
        ("model: {name: grid-hrm}\nseed:", "seed has no value"),
        ("model: {name: grid-hrm}\nname:", "name has no value"),
        ("model: {name: grid-hrm}\ndata: {augment: 10000000000000000000}", "augment is 10000000000000000000"),
        ("model: {name: grid-hrm}\nevaluation: {votes: 2000000000}", "votes is 2000000000"),
        ("model: &a {name: grid-hrm}\ndata: *a", "aliases (*name) are not supported"),
        ("- 1", "not a recipe"),
        ("model: grid-hrm", "not a recipe"),
        ("{]", "not YAML"),
        ("seed: !!bool maybe", "not YAML"),
        ("seed: !!timestamp never", "not YAML"),
        ("seed: !!int ''", "not YAML"),
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


# Every key of the published configurations: HRM's cfg_pretrain.yaml and hrm_v1.yaml, TRM's and its arch files.
PUBLISHED = [
    *("data_path", "data_paths", "data_paths_test", "evaluators", "global_batch_size", "epochs", "eval_interval"),
    *("min_eval_interval", "checkpoint_every_eval", "lr", "lr_min_ratio", "lr_warmup_steps", "beta1", "beta2"),
    *("weight_decay", "puzzle_emb_lr", "puzzle_emb_weight_decay", "seed", "project_name", "run_name"),
    *("checkpoint_path", "load_checkpoint", "eval_save_outputs", "ema", "ema_rate", "freeze_weights"),
    *("arch.name", "arch.loss.name", "arch.loss.loss_type", "arch.halt_exploration_prob", "arch.halt_max_steps"),
    *("arch.H_cycles", "arch.L_cycles", "arch.H_layers", "arch.L_layers", "arch.hidden_size", "arch.num_heads"),
    *("arch.expansion", "arch.puzzle_emb_ndim", "arch.puzzle_emb_len", "arch.pos_encodings", "arch.mlp_t"),
    *("arch.no_ACT_continue", "arch.forward_dtype", "arch.rms_norm_eps", "arch.rope_theta"),
]


@pytest.mark.parametrize("form", ["--{} 1", "--{}=1", "{}=1"])
@pytest.mark.parametrize("key", PUBLISHED)
def test_published_keys_are_taken_or_answered_with_the_name_here(key: str, form: str) -> None:
    flags = form.format(key).split()
    if key == "seed" and flags[0].startswith("--"):
        assert load_recipe("quickstart", flags).seed == 1
        return
    answer = "(its name here is .+|flags start with two dashes: --seed)"
    with pytest.raises(UserError, match=f"{re.escape(key)}: no such flag; {answer}"):
        load_recipe("quickstart", flags)


def test_every_answer_names_something_that_exists() -> None:
    keys = {action.dest for model in MODELS for action in recipe_parser(model)._actions}
    sections = {key.partition(".")[0] for key in keys}
    for former, ours in known_keys().items():
        named = re.findall(r"[a-z_]+\.[a-z_]+(?! *\w)", ours) if "." in ours and "jsonl" not in ours else []
        assert all(key in keys for key in named), (former, ours)
        assert named or ours in sections | {"seed", "name"} or ours.startswith(("--", "not ", "fixed ")), (former, ours)


@pytest.mark.parametrize(
    ("section", "key", "ours"),
    [
        ("optimiser", "name", "optimizer.name"),
        ("optimizer", "learning_rate", "optimizer.lr"),
        ("training", "batch", "training.batch_size"),
        ("model", "H_cycles", "model.h_cycles"),
    ],
)
def test_former_and_published_keys_in_files_are_answered(tmp_path: Path, section: str, key: str, ours: str) -> None:
    recipe: dict[str, dict[str, object]] = {"model": {"name": "grid-hrm"}}
    recipe.setdefault(section, {})[key] = 1
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(UserError, match=f"no key {section}.{key}; its name here is {ours}"):
        load_recipe(str(path))


def test_a_recipe_cannot_include_another_file(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("model: {name: grid-hrm}\nconfig: other.yaml")
    for flags in ([], ["--model.name", "dual-loop"], ["--model.name=dual-loop"]):
        with pytest.raises(UserError, match="a recipe cannot include another file"):
            load_recipe(str(path), flags)


def test_the_seconds_of_a_fine_tuning_are_never_rounded_to_no_limit() -> None:
    assert finetuning_recipe("0d3d703e", 1e-5, 0).training.max_minutes == pytest.approx(1e-5 / 60)


def test_a_loss_of_a_model_that_no_recipe_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card("grid-hrm", {}, ["a"], "full", False, [], [], 1, 1, 0, [], 5, "run", {})
    own = replace(find_model("grid-hrm"), loss={"ignore_padding": True, "kind": "stablemax"})
    monkeypatch.setitem(MODELS._known, "grid-hrm", own)
    loss = finetuning_recipe("0d3d703e", 60, 0, card).loss
    assert (loss.kind, loss.ignore_padding) == ("stablemax", False)
    monkeypatch.setitem(MODELS._known, "grid-hrm", replace(own, loss={"knd": "stablemax"}))
    with pytest.raises(UserError, match="grid-hrm: its loss is not one of a recipe"):
        finetuning_recipe("0d3d703e", 60, 0, card)


@pytest.mark.parametrize(
    ("model", "kind", "halts_by"),
    [("hrm", "stablemax", "q-learning"), ("trm", "stablemax", "correct"), ("grid-hrm", "softmax", "correct")],
)
def test_a_fine_tuning_goes_on_as_the_model_was_trained(model: str, kind: str, halts_by: str) -> None:
    options = dict(find_model(model).example_config)
    card = Card(model, options, ["a"], "full", True, [], [], 1, 1, 0, [], 5, "run", {}, halt_at=0.95)
    recipe = finetuning_recipe("0d3d703e", 60, 0, card, "cpu", "32-true")
    assert (recipe.loss.kind, recipe.loss.halt_kind, recipe.evaluation.halt_at) == (kind, halts_by, 0.95)
    assert (recipe.training.accelerator, recipe.training.precision) == ("cpu", "32-true")


def test_a_recipe_can_be_plain_data() -> None:
    recipe = load_recipe({"model": {"name": "grid-hrm", "hidden_size": 64}, "training": {"max_steps": 7}}, ["--seed=3"])
    assert (recipe.model["hidden_size"], recipe.training.max_steps, recipe.seed) == (64, 7, 3)
    assert load_recipe(recipe.as_dict()) == recipe


def test_a_fine_tuning_has_the_loss_of_the_training(tmp_path: Path) -> None:
    options = dict(find_model("trm").example_config)
    trained = LossConfig(kind="softmax", label_smoothing=0.1, halt_kind="none")
    card = Card("trm", options, ["a"], "full", False, [], [], 1, 1, 0, [], 5, "run", {}, loss=asdict(trained))
    assert finetuning_recipe("0d3d703e", 60, 0, card).loss == replace(trained, ignore_padding=False)
    own = {"kind": "no_such_module:loss"}
    with pytest.raises(UserError, match="no_such_module"):
        finetuning_recipe("0d3d703e", 60, 0, replace(card, loss=own))
    with pytest.raises(UserError, match="trm: its loss is not one of a recipe: halt_weight"):
        finetuning_recipe("0d3d703e", 60, 0, replace(card, loss={"halt_weight": -1}))


def test_boards_are_fine_tuned_on_by_the_symmetries_of_their_game() -> None:
    assert finetuning_recipe("sudoku-4x4", 60, 0, boards=True).data.boards == "symmetries"
    assert finetuning_recipe("0d3d703e", 60, 0).data.boards == "variants"
