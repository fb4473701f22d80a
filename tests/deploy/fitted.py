"""Runs of small models for the tests of this folder, fitted to a few real tasks without the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml

from hrm_arc.models import build_model, find_model
from hrm_arc.models.conditioning import puzzle_embeddings
from hrm_arc.models.reasoner import Batch, Reasoner, detach_carry
from hrm_arc.models.spec import options_of
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import CanvasKind
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import save_checkpoint

SOURCE = "arc-agi-1/training"
TASKS = load_tasks(SOURCE)[:12]


def fitted_run(folder: Path, name: str, canvas: CanvasKind = "cropped", steps: int = 6, **options: Any) -> Path:
    """A run folder with a checkpoint whose answers are not just copies of the input.

    Args:
        folder: the run folder to create.
        name: the model's name.
        canvas: the canvas to fit on.
        steps: optimizer steps.
        options: fields of the model's configuration; the others are those of its example.
    """
    torch.manual_seed(0)
    spec = find_model(name)
    model = build_model(name, {**spec.example_config, **options}, len(TASKS))
    data = AugmentedSet(Corpus(solve=TASKS).training_puzzles(), augment=20, canvas=canvas)
    fit(model, data, steps)
    save_run(folder, name, canvas, model)
    return folder


def fit(model: Reasoner, data: AugmentedSet, steps: int) -> None:
    """A few steps of deep supervision on the tokens. Puzzle embeddings, whose gradients are sparse, are random."""
    sparse = puzzle_embeddings(model)
    for table in sparse:
        torch.nn.init.normal_(table)
    dense = [p for p in model.parameters() if all(p is not table for table in sparse)]
    optimizer = torch.optim.Adam(dense, lr=0.01)
    random = np.random.default_rng(0)
    for _ in range(steps):
        optimizer.zero_grad()
        for samples in data.samples(random.integers(len(data), size=4)):
            batch = Batch.from_samples(samples)
            assert batch.labels is not None
            carry = model.initial_carry(batch)
            for _ in range(model.segments):
                carry, output = model(detach_carry(carry), batch)
                F.cross_entropy(output.logits.flatten(0, 1), batch.labels.flatten()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def save_run(folder: Path, name: str, canvas: CanvasKind, model: Reasoner, step: int = 1) -> None:
    """Write a model as a run's newest checkpoint, with a recipe."""
    names = [task.id for task in TASKS]
    options = options_of(model)
    card = Card(name, options, names, canvas, True, [SOURCE], [], len(names), 1, 0, [], step, folder.name, {})
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "checkpoints", "step", card, model.state_dict(), {})
    config = {"name": "tiny", "model": {"name": name}, "training": {"max_steps": 1}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
