"""Benchmarks are not run here; that they can be is."""

from __future__ import annotations

import argparse
import importlib
import json
import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks import _hostile, experiments, plateau, race
from hrm_arc.models import KINDS, build_model
from hrm_arc.models.reasoner import parameter_counts
from hrm_arc.training.recipe_files import load_recipe

NAMES = sorted(f.stem for f in Path(race.__file__).parent.glob("*.py") if not f.name.startswith("_"))


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_says_what_it_takes(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert module.__doc__
    assert callable(module.measure)
    parser.parse_args([])


def test_the_race_has_every_model_on_the_same_terms() -> None:
    assert set(race.MODELS) == set(KINDS)
    recipes = [load_recipe(f"race/{name}") for name in race.MODELS]
    assert [recipe.model["name"] for recipe in recipes] == list(race.MODELS)
    assert len({json.dumps(recipe.as_dict()["data"]) for recipe in recipes}) == 1
    assert len({(r.training.batch, r.training.minutes, r.evaluation.votes) for r in recipes}) == 1


@pytest.mark.parametrize("mends", [plateau.SMALL, plateau.LOG], ids=["small", "log"])
def test_every_mend_is_a_recipe_that_differs_from_the_one_before(mends: list[tuple[str, str, list[str]]]) -> None:
    before, flags, seen = "", [], []
    for _, recipe, more in mends:
        flags = [*flags, *more] if recipe == before else more
        before = recipe
        seen.append(json.dumps(load_recipe(recipe, flags).as_dict(), sort_keys=True))
    assert len(set(seen)) == len(seen)


def test_mends_on_cropped_canvases_learn_from_equal_batches() -> None:
    raced = load_recipe("race/dual-loop")
    flags = load_recipe("race/dual-loop", plateau.FULL_SIZE)
    assert (flags.training.batch, flags.schedule) == (raced.training.batch, raced.schedule)
    assert load_recipe("race/grid-hrm").training.batch == raced.training.batch


@pytest.mark.parametrize("recipe", ["plateau/grid-hrm", "record-arc1"])
def test_models_at_the_logs_size_are_no_larger_with_everything_counted(recipe: str) -> None:
    loaded = load_recipe(recipe)
    corpus = loaded.corpus()
    _, numbers = parameter_counts(build_model(loaded.model["name"], loaded.model_options, len(corpus.tasks)))
    assert numbers <= 6_950_000


def test_every_experiment_is_a_recipe_and_has_its_own_record() -> None:
    names = [experiment.name for experiment in experiments.EXPERIMENTS]
    assert len(set(names)) == len(names)
    for experiment in experiments.EXPERIMENTS:
        recipe = load_recipe(experiment.recipe, list(experiment.flags))
        assert recipe.training.precision == "bf16-mixed"
        assert bool(experiment.minutes) != bool(experiment.steps)


def test_a_run_that_solves_everything_has_no_interval_below_one() -> None:
    def seeds(solved: np.ndarray) -> list[dict[str, list[bool]]]:
        return [{f"task {n}": [bool(value)] for n, value in enumerate(row)} for row in solved]

    assert race._interval(seeds(np.ones((3, 10)))) == (1.0, 1.0)
    low, high = race._interval(seeds(np.eye(10)[:3]))
    assert 0 <= low < 0.1 < high < 0.4


def test_hostile_files_are_of_every_kind(tmp_path: Path) -> None:
    generator = random.Random(0)
    paths = [_hostile.hostile_file(tmp_path, number, generator) for number in range(1, 60)]
    assert len({path.read_bytes() for path in paths}) > 30
    assert {path.suffix for path in paths} == {".json", ".csv"}
