"""The held-back samples of a run: what empty answers score on them, and when the model's are looked at."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hrm_arc.evaluation.baselines import Baselines, baselines
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.training.gate import Gate
from hrm_arc.training.optimisers import Average, in_place
from hrm_arc.training.processes import Processes
from hrm_arc.training.recipe import Recipe
from hrm_arc.training.recorder import Recorder
from hrm_arc.training.validation import Totals, Validation, validate


class HeldBack:
    """Scores a model as training goes, for people to look at.

    Args:
        recipe: says what is held back, and when it is scored.
        corpus: the recipe's.
        crew: the processes that train; they share the samples.
        model, average: what is scored: the average, where there is one.
        recorder: is told of every score.

    Attributes:
        gate: when the whole set is scored.
        best: the best score that counts, with its step; None before the first.
    """

    def __init__(
        self,
        recipe: Recipe,
        corpus: Corpus,
        crew: Processes,
        model: Reasoner,
        average: Average | None,
        recorder: Recorder,
    ):
        self._recipe, self._config = recipe, recipe.validation
        self._corpus = corpus
        self._data = recipe.held_back_set(corpus)
        self._crew = crew
        self._model, self._average = model, average
        self._recorder = recorder
        self.gate = Gate(self._config)
        self.best: dict[str, Any] | None = None

    def baselines(self) -> Baselines:
        """What answers that understand nothing score on the part that a fast validation looks at."""
        data = self._recipe.held_back_set(self._corpus, canvas="full")
        # Of tasks without answers there is nothing to score.
        return baselines(data, data.part(self._config.fraction) if len(data) else None)

    def status(self) -> dict[str, Any]:
        """The status's fields about the best validation; the log's accuracy is that of tokens."""
        if self.best is None:
            return {}
        log = {"best_val_loss": self.best["loss"], "best_val_acc": self.best["token_accuracy"]}
        return {"best": self.best, **log, "best_step": self.best["step"]}

    def as_dict(self) -> dict[str, Any]:
        """What a run that goes on has to know."""
        return {"best": self.best, "gate": self.gate.as_dict()}

    def restore(self, known: Mapping[str, Any]) -> None:
        """The inverse of :meth:`as_dict`."""
        self.best, self.gate = known["best"], Gate(self._config, **known["gate"])

    def warn_if_empty(self) -> None:
        """Tell a person who asked for validations that there are none."""
        if self._config.every and not len(self._data):
            self._recorder.warn("the tasks to be solved have no answers here: nothing to validate on")

    def look(self, step: int) -> bool:
        """Score the fixed part when it is due, and the whole set when the gate opens.

        Returns:
            whether this is the best score so far.
        """
        if not self._config.every or not len(self._data):
            return False
        fast = self._score(step, self._config.fraction) if self.gate.fast_is_due(step) else None
        if self.gate.full_is_due(step, None if fast is None else getattr(fast, self._config.metric)):
            full = self._score(step, 1.0)
            self.gate.full_took(full.seconds)
            return self._compare(step, full)
        return fast is not None and self._config.full == "never" and self._compare(step, fast)

    def _score(self, step: int, fraction: float) -> Validation:
        self._recorder.event(state="validating")
        started = time.monotonic()
        self._model.eval()
        with in_place(self._average):
            own = self._data.part(fraction)[self._crew.rank :: self._crew.ranks]
            sums = self._crew.together(validate(self._model, self._data, own, self._recipe.loss), "sum")
        result = Validation.of(Totals(*sums), time.monotonic() - started)
        self._recorder.validation(step, full=fraction == 1, **asdict(result))
        self._recorder.event(state="running")
        return result

    def _compare(self, step: int, result: Validation) -> bool:
        score = getattr(result, self._config.metric)
        if self.best is not None and score <= self.best["score"]:
            return False
        self.best = {"step": step, "score": score, **asdict(result)}
        self._recorder.event(**self.status())
        return True
