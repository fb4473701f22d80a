"""How people are told of things that files know by a key."""

from __future__ import annotations

BASELINES = {
    "pad_only": "padding everywhere",
    "position_mode": "best constant output",
    "copy_input": "copy of the input",
}
SCORES = {
    "pass@2": "test outputs solved in two attempts (Kaggle)",
    "pass@1": "test outputs solved in one attempt",
    "pass@2_tasks_mean": "mean over tasks of the share solved (HRM, TRM)",
    "pass@2_tasks_strict": "tasks with every output solved (ARC-AGI-2)",
    "exact_accuracy": "test outputs right in one pass, without votes",
}
