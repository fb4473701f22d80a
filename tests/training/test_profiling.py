from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from hrm_arc.training.trainer import Trainer
from tests.made import tiny_recipe, write_tasks


def trained(root: Path, steps: int, profile: bool = True) -> tuple[dict, Trainer]:
    recipe = tiny_recipe(write_tasks(root / "tasks"), "grid-hrm", "--training.max_steps", str(steps))
    trainer = Trainer(recipe, root=root / "runs", profile=profile)
    return trainer.fit(), trainer


def test_a_profile_says_where_five_steps_went(tmp_path: Path) -> None:
    result, trainer = trained(tmp_path, 10)
    profile = result["profile"]
    assert profile["steps"] == 5
    assert {"data", "forward", "backward", "optimizer"} <= set(profile["parts"])
    # Parts lie beside each other, and so does the time that operations spend on their own.
    assert 0.5 < sum(profile["parts"].values()) <= 1
    assert 0 < sum(each["share"] for each in profile["operations"]) <= 1
    assert [each["share"] for each in profile["operations"][:-1]] == sorted(
        (each["share"] for each in profile["operations"][:-1]), reverse=True
    )
    assert any(each["name"] == "aten::mm" for each in profile["operations"])
    events = json.loads(gzip.decompress(trainer.folder.trace_file.read_bytes()))["traceEvents"]
    assert sum(event["name"] == "optimizer" for event in events) == 5 * trainer.model.segments


@pytest.mark.parametrize("steps", [3, 7])
def test_a_run_that_ends_sooner_leaves_nothing(tmp_path: Path, steps: int) -> None:
    result, trainer = trained(tmp_path, steps)
    assert result["profile"] is None
    assert not trainer.folder.trace_file.exists()


def test_a_run_is_the_same_with_and_without_its_profile(tmp_path: Path) -> None:
    (_, watched), (result, alone) = (trained(tmp_path / str(p), 8, p) for p in (True, False))
    assert "profile" not in result
    theirs = alone.model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in watched.model.state_dict().items())
