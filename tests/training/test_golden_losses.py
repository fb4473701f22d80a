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

from hrm_arc.reading import read_lines
from hrm_arc.training.recipes import load_recipe
from hrm_arc.training.trainer import Trainer

GOLDEN = Path(__file__).parent.parent / "golden" / "losses.json"
STEPS = 20
SMALL = {"hidden_size": 32, "num_heads": 4}
LEVELS = {"h_layers": 1, "l_layers": 1}
PUBLISHED = {
    "loss": {"kind": "stablemax", "halt_kind": "correct", "halt_weight": 0.5},
    "halting": {"early_exit": True, "exploration_prob": 0.3},
}
# Between them they use every loss, halting rule, optimizer and schedule.
RECIPES = {
    "dual-loop": {
        "model": {"name": "dual-loop", **SMALL, **LEVELS, "h_cycles": 3},
        "loss": {"ignore_padding": False, "halt_kind": "penalty", "halt_weight": 0.01, "label_smoothing": 0.1},
        "optimizer": {"lr": 3e-4, "ema": 0.0},
        "schedule": {"kind": "restarts", "restart_steps": 8, "warmup_steps": 0},
        "data": {"canvas": "squares", "translate": True, "sampling": "samples"},
    },
    "dual-loop conditioned on the task": {
        "model": {"name": "dual-loop", **SMALL, **LEVELS, "h_cycles": 2, "puzzle_emb": "shared", "recompute": True},
        "training": {"grad_accum_steps": 2},
    },
    "grid-hrm": {
        "model": {"name": "grid-hrm", **SMALL, **LEVELS, "segments": 2},
        "optimizer": {"name": "muon"},
        "schedule": {"kind": "decay", "decay_fraction": 0.5, "warmup_steps": 5},
    },
    "grid-hrm with every switch": {
        "model": {
            "name": "grid-hrm",
            **SMALL,
            **LEVELS,
            "segments": 3,
            "h_cycles": 2,
            "convolution": 3,
            "registers": 2,
            "tie_embeddings": True,
            "share_levels": True,
            "grad_cycles": "last",
            "conditioning": ["task", "roles"],
            "positions": "sinusoids",
        },
        "halting": {"early_exit": True, "exploration_prob": 0.5},
        "optimizer": {"name": "muon", "grad_clip": 0.5},
    },
    "grid-hrm with learned positions": {
        "model": {"name": "grid-hrm", **SMALL, **LEVELS, "share_levels": True, "learned_positions": True},
        "optimizer": {"name": "muon"},
    },
    "hrm": {
        "model": {"name": "hrm", **SMALL, **LEVELS, "segments": 3, "puzzle_emb_len": 2},
        **PUBLISHED,
        "loss": {**PUBLISHED["loss"], "halt_kind": "q-learning"},
        "optimizer": {"puzzle_emb_lr": 2e-2, "puzzle_emb_weight_decay": 0.2},
    },
    "trm": {"model": {"name": "trm", **SMALL, "layers": 1, "segments": 3, "puzzle_emb_len": 2}, **PUBLISHED},
    "trm with a shared puzzle embedding": {
        "model": {"name": "trm", **SMALL, "layers": 1, "segments": 2, "puzzle_emb": "shared"},
        "optimizer": {"name": "muon"},
    },
}


def first_losses(name: str, folder: Path) -> list[float]:
    """Train for twenty steps on one thread; the loss of each step."""
    recipe = {"name": "golden", **RECIPES[name]}
    recipe["data"] = {"solve": ["arc-agi-1/training"], "smallest": 5, "augment": 30, **recipe.get("data", {})}
    recipe["training"] = {
        "max_steps": STEPS,
        "batch_size": 8,
        "log_every": 1,
        "accelerator": "cpu",
        "precision": "32-true",
        **recipe.get("training", {}),
    }
    path = folder / "golden.yaml"
    path.write_text(yaml.safe_dump(recipe))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer = Trainer(load_recipe(str(path)), root=folder / "runs")
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
