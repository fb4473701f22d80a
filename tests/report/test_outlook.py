"""Would more training help: rising, flat and memorized curves, made by rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hrm_arc.report.outlook import outlook

RECIPE: dict[str, Any] = {"schedule": {"kind": "decay"}, "training": {"max_steps": 400}}


def rows(loss: np.ndarray, exact: np.ndarray | None = None) -> list[dict[str, Any]]:
    shares = np.zeros(len(loss)) if exact is None else exact
    noise = np.random.default_rng(0).normal(scale=0.01, size=len(loss))
    return [
        {
            "kind": "train",
            "step": 10 * n,
            "loss": float(each + noise[n - 1]),
            "exact_accuracy": float(share),
            "lr": 1e-3,
        }
        for n, (each, share) in enumerate(zip(loss, shares, strict=True), start=1)
    ]


def test_a_falling_loss_is_still_rising_training() -> None:
    (said, schedule) = outlook(rows(np.linspace(2, 1, 100)), RECIPE)
    assert said.startswith("still rising: since step 760 ")
    assert "100% of its peak" in schedule
    assert "--override training.max_steps" in schedule


def test_a_loss_that_stays_is_flat_since_it_came_there() -> None:
    (said, _) = outlook(rows(np.concatenate([np.linspace(2, 0.5, 40), np.full(160, 0.5)])), RECIPE)
    assert said.startswith("flat since step ")
    since = int(said.split()[3].rstrip(":").replace(",", ""))
    assert 380 <= since <= 600


def test_exact_training_samples_are_memorized() -> None:
    exact = np.concatenate([np.linspace(0, 1, 50), np.ones(100)])
    (said, _) = outlook(rows(np.linspace(1, 0.01, 150), exact), RECIPE)
    assert said.startswith("memorized: the training samples are exact since step ")


def test_held_out_scores_have_a_sentence() -> None:
    train = rows(np.linspace(2, 1, 100))
    for shares, expected in (
        ([0.1, 0.3, 0.2], "was highest at step 200: 30.0%, now 20.0%"),
        ([0.1, 0.2, 0.3], "still"),
    ):
        scored = [{"kind": "validation", "step": 100 * n, "exact_accuracy": s} for n, s in enumerate(shares, start=1)]
        assert any(expected in line for line in outlook([*train, *scored], RECIPE))


@pytest.mark.parametrize("count", [0, 5])
def test_few_rows_say_nothing(count: int) -> None:
    (said,) = outlook(rows(np.ones(count)), RECIPE)
    assert said.startswith(f"too few rows of metrics ({count})")


@pytest.mark.parametrize(("minutes", "limit"), [(1.0, "max_minutes"), (100.0, "max_steps")])
def test_the_limit_that_ended_a_run_is_the_one_to_raise(minutes: float, limit: str) -> None:
    train = [{**row, "seconds": 0.06 * row["step"]} for row in rows(np.linspace(2, 1, 100))]
    recipe = {"schedule": {"kind": "cosine"}, "training": {"max_steps": 1100, "max_minutes": minutes}}
    assert f"--override training.{limit}" in outlook(train, recipe)[-1]
