"""Train, score, understand and ship small recursive reasoning models on grid puzzles.

The public API. Names are imported when they are first used, so ``import hrm_arc`` loads neither torch nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrm_arc.errors import ReportedError, UserError
    from hrm_arc.evaluation.metrics import Metric, Outcome, register_metric
    from hrm_arc.evaluation.prediction import Candidate, Prediction
    from hrm_arc.models.reasoner import Batch, Carry, Output, Reasoner
    from hrm_arc.models.spec import ExportSpec, ModelSpec, register_model
    from hrm_arc.puzzles.augmented import Samples
    from hrm_arc.puzzles.corpus import Corpus
    from hrm_arc.puzzles.identity import Identity
    from hrm_arc.puzzles.sources import load_tasks, register_source
    from hrm_arc.puzzles.task import Pair, Task
    from hrm_arc.puzzles.transforms import register_augmentation
    from hrm_arc.runs.card import Card
    from hrm_arc.runs.folder import RunFolder
    from hrm_arc.solver import Solver, evaluate
    from hrm_arc.training.build import Pretrained
    from hrm_arc.training.callbacks import Callback, Training
    from hrm_arc.training.config import Recipe
    from hrm_arc.training.losses import register_loss
    from hrm_arc.training.metrics import StepMetrics, Validation
    from hrm_arc.training.recipes import load_recipe
    from hrm_arc.training.trainer import Trainer

__version__ = "0.2.0"

# Where each public name is defined.
_MODULES = {
    "hrm_arc.errors": ("ReportedError", "UserError"),
    "hrm_arc.evaluation.metrics": ("Metric", "Outcome", "register_metric"),
    "hrm_arc.evaluation.prediction": ("Candidate", "Prediction"),
    "hrm_arc.solver": ("Solver", "evaluate"),
    "hrm_arc.models.reasoner": ("Batch", "Carry", "Output", "Reasoner"),
    "hrm_arc.models.spec": ("ExportSpec", "ModelSpec", "register_model"),
    "hrm_arc.puzzles.augmented": ("Samples",),
    "hrm_arc.puzzles.corpus": ("Corpus",),
    "hrm_arc.puzzles.identity": ("Identity",),
    "hrm_arc.puzzles.sources": ("load_tasks", "register_source"),
    "hrm_arc.puzzles.task": ("Pair", "Task"),
    "hrm_arc.puzzles.transforms": ("register_augmentation",),
    "hrm_arc.runs.card": ("Card",),
    "hrm_arc.runs.folder": ("RunFolder",),
    "hrm_arc.training.build": ("Pretrained",),
    "hrm_arc.training.recipes": ("load_recipe",),
    "hrm_arc.training.callbacks": ("Callback", "Training"),
    "hrm_arc.training.config": ("Recipe",),
    "hrm_arc.training.losses": ("register_loss",),
    "hrm_arc.training.metrics": ("StepMetrics", "Validation"),
    "hrm_arc.training.trainer": ("Trainer",),
}
_DEFINED_IN = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Batch",
    "Callback",
    "Candidate",
    "Card",
    "Carry",
    "Corpus",
    "ExportSpec",
    "Identity",
    "Metric",
    "ModelSpec",
    "Outcome",
    "Output",
    "Pair",
    "Prediction",
    "Pretrained",
    "Reasoner",
    "Recipe",
    "ReportedError",
    "RunFolder",
    "Samples",
    "Solver",
    "StepMetrics",
    "Task",
    "Trainer",
    "Training",
    "UserError",
    "Validation",
    "evaluate",
    "load_recipe",
    "load_tasks",
    "register_augmentation",
    "register_loss",
    "register_metric",
    "register_model",
    "register_source",
]


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_DEFINED_IN[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
