"""The losses of every model's first twenty steps are those that were written down, to the last bit.

A change that only moves or renames code must keep them. Bits depend on the processor and on torch's
version, so ``tests/golden/losses.json`` names both; anywhere else the losses agree but for rounding.
Write the file again, after a change that means to change the losses, with::

    python -m tests.training.test_golden_losses
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from hrm_arc.files import read_lines
from hrm_arc.training.recipe_files import load_recipe
from hrm_arc.training.trainer import Trainer

GOLDEN = Path(__file__).parent.parent / "golden" / "losses.json"
STEPS = 20
SMALL = {"width": 32, "heads": 4}
LEVELS = {"h_layers": 1, "l_layers": 1}
PUBLISHED = {
    "loss": {"normaliser": "stablemax", "halt": "correct", "halt_weight": 0.5},
    "halting": {"leave": True, "exploration": 0.3},
}
# Between them they use every loss, halting rule, optimizer and schedule.
RECIPES = {
    "dual-loop": {
        "model": {"name": "dual-loop", **SMALL, **LEVELS, "cycles": 3},
        "loss": {"ignore_padding": False, "halt": "penalty", "halt_weight": 0.01, "label_smoothing": 0.1},
        "optimiser": {"learning_rate": 3e-4, "ema": 0.0},
        "schedule": {"kind": "restarts", "period": 8, "warmup": 0},
        "data": {"canvas": "squares", "shift": True, "draw": "samples"},
    },
    "dual-loop told its task": {
        "model": {"name": "dual-loop", **SMALL, **LEVELS, "cycles": 2, "identity": "shared", "recompute": True},
        "training": {"accumulate": 2},
    },
    "grid-hrm": {
        "model": {"name": "grid-hrm", **SMALL, **LEVELS, "segments": 2},
        "optimiser": {"name": "muon"},
        "schedule": {"kind": "decay", "tail": 0.5, "warmup": 5},
    },
    "grid-hrm with every switch": {
        "model": {
            **{"name": "grid-hrm", **SMALL, **LEVELS, "segments": 3, "cycles": 2, "convolution": 3, "registers": 2},
            **{"tied": True, "shared": True, "gradient": "last", "told": ["task", "roles"], "positions": "sinusoids"},
        },
        "halting": {"leave": True, "exploration": 0.5},
        "optimiser": {"name": "muon", "clip": 0.5},
    },
    "hrm": {
        "model": {"name": "hrm", **SMALL, **LEVELS, "segments": 3, "prefix": 2},
        **PUBLISHED,
        "loss": {**PUBLISHED["loss"], "halt": "q-learning"},
        "optimiser": {"table_learning_rate": 2e-2, "table_weight_decay": 0.2},
    },
    "trm": {"model": {"name": "trm", **SMALL, "layers": 1, "segments": 3, "prefix": 2}, **PUBLISHED},
    "trm told by a shared table": {
        "model": {"name": "trm", **SMALL, "layers": 1, "segments": 2, "identity": "shared"},
        "optimiser": {"name": "muon"},
    },
}


def first_losses(name: str, folder: Path) -> list[float]:
    """Train for twenty steps on one thread; the loss of each step."""
    recipe = {"name": "golden", **RECIPES[name]}
    recipe["data"] = {"solve": ["arc-agi-1/training"], "smallest": 5, "augment": 30, **recipe.get("data", {})}
    recipe["training"] = {
        **{"steps": STEPS, "batch": 8, "log_every": 1, "accelerator": "cpu"},
        **recipe.get("training", {}),
    }
    path = folder / "golden.yaml"
    path.write_text(yaml.safe_dump(recipe))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer = Trainer(load_recipe(str(path)), folder / "runs")
        trainer.fit()
    finally:
        torch.set_num_threads(threads)
    return [row["loss"] for row in read_lines(trainer.folder.metrics_file)]


def processor() -> dict[str, str]:
    """What the bits of a result depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "flags": " ".join(sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma")))),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.partition("+")[0],
    }


@pytest.mark.parametrize("name", RECIPES)
def test_the_first_losses_are_those_that_were_written_down(name: str, tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())
    wanted = [float.fromhex(loss) for loss in golden["losses"][name]]
    losses = first_losses(name, tmp_path)
    assert len(losses) == STEPS
    if processor() == golden["processor"]:
        assert losses == wanted
    else:
        assert losses == pytest.approx(wanted, rel=0.02)


def write_golden(folder: Path) -> None:
    losses = {name: [loss.hex() for loss in first_losses(name, folder)] for name in RECIPES}
    GOLDEN.write_text(json.dumps({"processor": processor(), "losses": losses}, indent=1) + "\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        write_golden(Path(scratch))
