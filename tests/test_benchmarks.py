"""Every benchmark can be imported and parses its options; their recipes and flags exist. No benchmark is run."""

from __future__ import annotations

import argparse
import importlib
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import (
    _hostile,
    _paired,
    _same,
    experiments,
    games,
    ladder,
    plateau,
    race,
    settings,
    throughput,
    transfer,
)
from benchmarks._processes import run
from benchmarks._runs import Scored
from hrm_arc.errors import UserError
from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.games import wilson
from hrm_arc.files import write_lines
from hrm_arc.models import MODELS, build_model
from hrm_arc.models.reasoner import parameter_counts
from hrm_arc.puzzles.canvas import visible_canvas
from hrm_arc.puzzles.leaks import shared
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.runs.metrics import Metrics
from hrm_arc.training.build import load_corpus
from hrm_arc.training.metrics import StepMetrics
from hrm_arc.training.recipes import load_recipe
from hrm_arc.training.trainer import Trainer

NAMES = sorted(f.stem for f in Path(race.__file__).parent.glob("*.py") if not f.name.startswith("_"))


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_help_and_defaults(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert module.__doc__
    assert callable(module.measure)
    assert vars(parser.parse_args([])) or name == "upkeep"
    assert parser.format_help()


def test_the_race_has_equal_conditions_for_every_model() -> None:
    assert set(race.MODELS) <= set(MODELS)
    recipes = [load_recipe(f"race/{name}") for name in race.MODELS]
    assert [recipe.model["name"] for recipe in recipes] == list(race.MODELS)
    assert len({json.dumps(recipe.as_dict()["data"]) for recipe in recipes}) == 1
    assert len({(r.training.batch_size, r.training.max_minutes, r.evaluation.votes) for r in recipes}) == 1


@pytest.mark.parametrize("game", games.GAMES)
def test_models_have_equal_conditions_on_a_game(game: str) -> None:
    assert set(games.MODELS) <= set(MODELS)
    parser = argparse.ArgumentParser()
    games.add_arguments(parser)
    options = parser.parse_args(["--boards", "20"])
    recipes = [load_recipe(f"games/{model}", games.flags_of(game, model, options)) for model in games.MODELS]
    assert [recipe.model["name"] for recipe in recipes] == list(games.MODELS)
    assert len({json.dumps(recipe.as_dict()["data"]) for recipe in recipes}) == 1
    assert (
        len({(r.training.batch_size, r.training.max_minutes, json.dumps(r.as_dict()["schedule"])) for r in recipes})
        == 1
    )
    assert recipes[0].data.solve == [f"{game}/test:20"]
    most = games.flags_of(game, "grid-hrm", parser.parse_args([]))
    # As many as the game's own recipe, which leaves boards to train on.
    assert load_recipe("games/grid-hrm", most).data.solve == load_recipe(game).data.solve
    # grid-hrm is the model of the game's own recipe.
    assert recipes[-1].model == load_recipe(game).model
    assert load_recipe(game).training.max_minutes == games.GAMES[game]


def test_boards_right_after_each_segment_are_counted_beyond_those_of_training(tmp_path: Path) -> None:
    recipe = load_recipe(
        "sudoku-4x4",
        [
            *("--data.solve", '["sudoku-4x4/test:6"]', "--training.max_minutes=0", "--training.max_steps=1"),
            *("--training.batch_size=4", "--model.hidden_size=16", "--model.segments=2"),
        ],
    )
    trainer = Trainer(recipe, root=tmp_path)
    trainer.fit()
    right = games.exact_after(trainer.folder.path, 3)
    assert (right.shape, right.dtype) == ((3, 6), bool)
    _, (batch,) = games.opened(trainer.folder.path, 3)
    assert batch.labels is not None
    tokens = batch.labels.copy()
    tokens[4, 0] += 1
    exact = games.exactly_right([Answers(tokens, np.ones(6), np.ones(6))], [batch])
    assert exact.tolist() == [True] * 4 + [False, True]
    # Of the boards with at least so many givens one is right second only, and one has no answer.
    (task,) = trainer.corpus.solve
    givens = [int((test.input > 0).sum()) for test in task.tests]
    fewest = sorted(givens)[3]
    asked = [n for n, count in enumerate(givens) if count >= fewest]
    grids = {n: [{"grid": test.output.tolist()}] for n, test in enumerate(task.tests)}
    wrong = {"grid": [[1]]}
    grids[asked[1]], grids[asked[2]] = [wrong, *grids[asked[1]]], []
    lines = [{"test": n, "candidates": found} for n, found in grids.items()]
    write_lines(trainer.folder.path / "predictions.jsonl", lines)
    assert games.exact_from(trainer.folder.path, fewest) == [True, False, False] + [True] * (len(asked) - 3)
    rows = [{"game": "sudoku-4x4", "trained with": 2, "_exact": [0.1, 0.2]}]
    games.draw(rows, tmp_path / "segments.png")
    groups = [{"from": 6, "to": 7, "mean_segments": 1.5}, {"from": 8, "to": 8, "mean_segments": None}]
    games.draw([{"game": "g", "model": "m", "_groups": groups, "_difficulty": "givens"}], tmp_path / "halting.svg")
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("segments.png", "halting.svg"))


def test_seeds_are_not_further_boards() -> None:
    right = np.random.default_rng(0).random(500) < 0.9
    one, three = (games.over_seeds(np.stack([right] * seeds)) for seeds in (1, 3))
    assert one == share_by_wilson(int(right.sum()), 500)
    # The same boards thrice: the interval is as wide as that of one seed, and not narrower by the root of three.
    width = {name: np.diff([float(end) for end in re.findall(r"[\d.]+(?=%)", name)[1:]])[0] for name in (one, three)}
    assert width[three] > 0.9 * width[one]
    assert games.over_seeds(np.ones((3, 500), dtype=bool)) == share_by_wilson(500, 500)
    assert games.over_seeds(np.ones((2, 0), dtype=bool)) == "none"


def share_by_wilson(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count / of:.1%} ({low:.1%} to {high:.1%})"


def test_a_record_of_another_scale_is_not_the_result(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    experiments.add_arguments(parser)
    folder = tmp_path / "record-arc1"
    folder.mkdir()
    (folder / "about.json").write_text(json.dumps({"scale": 0.001, "code": [], "seconds": 1.0}))
    (folder / "scores.json").write_text("{}")
    options = parser.parse_args(["--records", str(tmp_path), "--only", "record-arc1"])
    with pytest.raises(UserError, match=r"was begun with --scale 0\.001, not 1"):
        next(experiments.measure(options))
    # An earlier record has no scale.
    (folder / "about.json").write_text(json.dumps({"code": "1234567", "seconds": 1.0}))
    experiments._check_scale(folder, 1.0)
    experiments._describe(experiments.RECORD[0], folder, 1.0)
    assert json.loads((folder / "about.json").read_text())["code"][0] == "1234567"
    with pytest.raises(UserError, match="no experiment has such a name"):
        next(experiments.measure(parser.parse_args(["--only", "recrod"])))


def test_flags_of_benchmarks_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    games.add_arguments(parser)
    with pytest.raises(UserError, match="--halting"):
        next(games.measure(parser.parse_args(["--halting", "--only", "hrm"])))
    options = parser.parse_args(["--halting"])
    options.plot = tmp_path / "x.png"
    with pytest.raises(UserError, match="--plot"):
        next(games.measure(options))
    parser = argparse.ArgumentParser()
    plateau.add_arguments(parser)
    with pytest.raises(UserError, match="--rows: expected numbers from 1 to 7"):
        next(plateau.measure(parser.parse_args(["--rows", "9"])))
    parser = argparse.ArgumentParser()
    throughput.add_arguments(parser)
    with pytest.raises(UserError, match="--only: is for the table without --against"):
        next(throughput.measure(parser.parse_args(["--against", "HEAD", "--only", "hrm"])))
    with pytest.raises(UserError, match="--precision: is for the table of --against"):
        next(throughput.measure(parser.parse_args(["--precision", "32-true"])))


def test_what_ends_a_benchmark_ends_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, saved = (tmp_path / name for name in ("begun", "saved"))
    script = f"""
import pathlib, time
try:
    pathlib.Path({str(begun)!r}).touch()
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path({str(saved)!r}).touch()
"""
    communicate = subprocess.Popen.communicate

    def interrupted(self: Any) -> Any:
        if begun.exists():
            return communicate(self)
        while not begun.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", script])
    assert saved.exists()


@pytest.mark.parametrize("changes", [plateau.SMALL, plateau.LOG], ids=["small", "log"])
def test_every_row_of_the_plateau_is_a_recipe_that_differs_from_the_one_before(
    changes: list[tuple[str, str, list[str]]],
) -> None:
    before, flags, seen = "", [], []
    for _, recipe, more in changes:
        flags = [*flags, *more] if recipe == before else more
        before = recipe
        seen.append(json.dumps(load_recipe(recipe, flags).as_dict(), sort_keys=True))
    assert len(set(seen)) == len(seen)


def test_rows_of_the_plateau_on_cropped_canvases_have_equal_batches() -> None:
    raced = load_recipe("race/dual-loop")
    flags = load_recipe("race/dual-loop", plateau.FULL_SIZE)
    assert (flags.training.batch_size, flags.schedule) == (raced.training.batch_size, raced.schedule)
    assert load_recipe("race/grid-hrm").training.batch_size == raced.training.batch_size


@pytest.mark.parametrize("name", settings.SETTINGS)
def test_every_setting_is_a_recipe(name: str) -> None:
    load_recipe("quickstart", [*settings.COMMON, *settings.SETTINGS[name]])


@pytest.mark.parametrize("recipe", ["plateau/grid-hrm", "record-arc1"])
def test_models_at_the_size_of_the_log_have_no_more_numbers_than_its_model(recipe: str) -> None:
    loaded = load_recipe(recipe)
    corpus = load_corpus(loaded)
    _, numbers = parameter_counts(build_model(loaded.model["name"], loaded.model_options, len(corpus.tasks)))
    assert numbers <= 6_950_000


def test_every_experiment_is_a_recipe_and_has_a_record_of_its_own() -> None:
    names = [experiment.name for experiment in experiments.EXPERIMENTS]
    assert len(set(names)) == len(names)
    for experiment in experiments.EXPERIMENTS:
        recipe = load_recipe(experiment.recipe, list(experiment.flags))
        assert recipe.training.precision == "bf16-mixed"
        assert bool(experiment.minutes) != bool(experiment.steps)


def test_the_curve_of_a_race_has_validations_only(tmp_path: Path) -> None:
    with Metrics(tmp_path / "metrics.jsonl") as metrics:
        metrics.log(kind="train", step=10, seconds=60.0, exact_accuracy=0.9)
        metrics.log(kind="train", step=20, seconds=120.0, exact_accuracy=1.0)
        metrics.log(kind="validation", step=20, exact_accuracy=0.25)
        metrics.log(kind="validation", step=25, exact_accuracy=0.5)
    assert race._curve(tmp_path) == [(2.0, 0.25)]


def test_measurements_that_faults_ignores_are_metrics() -> None:
    assert set(_same.MEASURED) <= set(StepMetrics.__annotations__)


def test_a_run_that_solves_everything_has_no_interval_below_one() -> None:
    def seeds(solved: np.ndarray) -> list[dict[str, list[bool]]]:
        return [{f"task {n}": [bool(value)] for n, value in enumerate(row)} for row in solved]

    assert race._interval(seeds(np.ones((3, 10)))) == (1.0, 1.0)
    low, high = race._interval(seeds(np.eye(10)[:3]))
    assert 0 <= low < 0.1 < high < 0.4


def test_runs_are_compared_on_the_same_outputs() -> None:
    tasks = [f"task {n // 2}" for n in range(8)]
    single = np.array([[1, 0, 0, 0, 1, 1, 0, 0], [1, 0, 1, 0, 1, 0, 0, 0]], dtype=bool)
    assert _paired.paired(single, single, tasks) == (0, 0, 0)
    better = single.copy()
    # One output of one task, in one of two seeds: 1 of 16.
    better[0, 7] = True
    difference, low, high = _paired.paired(single, better, tasks)
    assert (difference, low) == (1 / 16, 0)
    assert 1 / 16 < high <= 1 / 4
    assert _paired.paired(better, single, tasks)[0] == -1 / 16


def test_right_votes_are_counted_in_predictions(tmp_path: Path) -> None:
    right, wrong = [[1]], [[2]]

    def row(task: str, truth: list[list[int]] | None, *votes: tuple[list[list[int]], int]) -> dict[str, object]:
        return {"task": task, "test": 0, "truth": truth, "candidates": [{"grid": g, "votes": n} for g, n in votes]}

    rows = [row("b", right, (wrong, 2), (right, 1)), row("a", right, (right, 3)), row("c", None, (right, 4))]
    write_lines(tmp_path / "predictions.jsonl", rows)
    # Four votes for each of two test outputs with an answer; one vote of the first was no readable grid.
    assert _paired.right_votes(Scored(tmp_path, {}, {"votes": 4})) == 4 / 8
    write_lines(tmp_path / "predictions.jsonl", [row("a", right, (wrong, 2), ([[3]], 1), (right, 1)), rows[0]])
    assert _paired.solved(tmp_path) == [False, True], "the third candidate is no attempt"


def test_every_rung_is_a_recipe_and_its_tasks_are_not_those_of_the_score() -> None:
    rungs = ladder.RUNGS | ladder.STUDY_RUNGS
    seen = [json.dumps(load_recipe("cpu-arc1", flags).as_dict()) for flags in rungs.values()]
    assert len(set(seen)) == len(seen)
    scored = transfer.new_tasks(transfer.SCORED + 2)
    assert len({task.id for task in scored}) == transfer.SCORED + 2
    assert ladder.stand_in_tasks(2, new=True) == [task.id for task in scored[transfer.SCORED :]]
    chosen = ladder.stand_in_tasks(40)
    assert len(set(chosen)) == 40
    by_id = {task.id: task for task in load_tasks("arc-agi-1/training")}
    cells = [visible_canvas(by_id[name]).cells for name in chosen]
    assert cells == sorted(cells)
    assert cells[-1] <= 196
    for recipe in ("quickstart", "race/trm"):
        assert not {task.id for task in load_corpus(load_recipe(recipe)).solve} & set(chosen)


def test_hostile_files_are_of_every_kind(tmp_path: Path) -> None:
    generator = random.Random(0)
    paths = [_hostile.hostile_file(tmp_path, number, generator) for number in range(1, 60)]
    assert len({path.read_bytes() for path in paths}) > 30
    assert {path.suffix for path in paths} == {".json", ".csv"}


def test_faults_sees_what_differs(tmp_path: Path) -> None:
    contents = {
        "a.json": '{"x": 1, "seconds": 2.5, "peak_memory": 3}',
        "rows.jsonl": '{"x": 1}\n{"x": 2}\n',
        "b.bin": "1",
        "c.log": "1",
    }
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        for name, content in contents.items():
            (tmp_path / folder / name).write_text(content)
    one, other = tmp_path / "one", tmp_path / "other"
    (other / "a.json").write_text('{"seconds": 1, "x": 1}')
    (other / "c.log").write_text("2")
    assert _same.snapshot(one) == _same.snapshot(other)
    for name, content in (("a.json", '{"x": 2}'), ("rows.jsonl", '{"x": 1}\n'), ("b.bin", "2")):
        (other / name).write_text(content)
        assert _same.snapshot(one) != _same.snapshot(other), name
        (other / name).write_text(contents[name])
    (other / ".answering").mkdir()
    assert _same.names(other) - _same.names(one) == {".answering"}


def test_kept_results_of_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "hrm", lambda *words: {"solved": 2, "answers_known": 3})
    assert transfer._solved(tmp_path, "a", "arc1-cpu", 60, 0) == 2
    monkeypatch.setattr(transfer, "hrm", lambda *words: pytest.fail("a kept result is made again"))
    assert transfer._solved(tmp_path, "a", "arc1-cpu", 60, 0) == 2
    (record,) = tmp_path.iterdir()
    record.write_text(json.dumps({"solved": 3, "weights": "another run"}))
    with pytest.raises(UserError, match="other weights"):
        transfer._solved(tmp_path, "a", "arc1-cpu", 60, 0)


def test_tasks_to_transfer_to_are_in_no_form_in_arc_agi_1() -> None:
    tasks = transfer.new_tasks(6)
    cells = [visible_canvas(task).cells for task in tasks]
    assert cells == sorted(cells)
    known = load_tasks("arc-agi-1")
    assert not {task.id for task in tasks} & {task.id for task in known}
    assert not shared(tasks, known)
