"""Small puzzles and recipes for tests that train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.training.recipe import Recipe
from hrm_arc.training.recipe_files import load_recipe


def write_tasks(folder: Path, count: int = 3, noise: int | None = None) -> Path:
    """Tasks that flip a 2 x 2 grid upside down; ``noise`` replaces the test outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    other = np.random.default_rng(noise)
    for number in range(count):
        grids = random.integers(0, 10, size=(4, 2, 2))
        pairs = [{"input": grid.tolist(), "output": grid[::-1].tolist()} for grid in grids]
        task: dict[str, Any] = {"train": pairs[:3], "test": pairs[3:]}
        if noise is not None:
            task["test"] = [{**task["test"][0], "output": other.integers(0, 10, size=(5, 4)).tolist()}]
        (folder / f"flip{number}.json").write_text(json.dumps(task))
    return folder


def tiny_recipe(tasks: Path, model: str = "grid-hrm", *flags: str) -> Recipe:
    """A recipe that trains in a second."""
    shapes = {
        "grid-hrm": "{name: grid-hrm, width: 16, heads: 2, h_layers: 1, l_layers: 1, segments: 2}",
        "dual-loop": "{name: dual-loop, width: 16, heads: 2, h_layers: 1, l_layers: 1, cycles: 2}",
        "hrm": "{name: hrm, width: 16, heads: 2, h_layers: 1, l_layers: 1, segments: 2}",
        "trm": "{name: trm, width: 16, heads: 2, layers: 1, segments: 2}",
    }
    path = tasks.parent / f"{model}.yaml"
    path.write_text(
        f"name: tiny\nmodel: {shapes[model]}\n"
        f"data: {{solve: ['{tasks}'], augment: 20}}\n"
        "training: {steps: 6, batch: 8, log_every: 2, accelerator: cpu}\n"
        "validation: {every: 3}\n"
        "evaluation: {votes: 8}\n"
    )
    return load_recipe(str(path), list(flags))
