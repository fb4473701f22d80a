"""One training loop for every model. Start reading here.

A step draws its samples (a function of the seed and the step) and runs the model's segments on them; each segment
is supervised and updates the weights (:mod:`hrm_arc.training.step`). Between steps, a run is its weights, the
state of its optimizers and a few numbers. A checkpoint holds exactly those, so a run that was killed goes on as if
it had not been.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from hrm_arc.checks import number
from hrm_arc.errors import UserError, is_out_of_memory
from hrm_arc.evaluation.baselines import Baselines
from hrm_arc.files import exclusive_lock
from hrm_arc.models.compiled import has_token_wise, try_to_compile
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.transforms import find_transforms
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import BEST
from hrm_arc.runs.folder import RunFolder, create_run
from hrm_arc.runs.status import RunState
from hrm_arc.training.build import (
    Pretrained,
    complete_recipe,
    held_out_set,
    initialize,
    load_corpus,
    model_of_run,
    training_set,
    unused_options,
)
from hrm_arc.training.callbacks import Callback, CallbackList
from hrm_arc.training.checkpointing import Checkpoints, Provenance, make_card
from hrm_arc.training.clock import Clock
from hrm_arc.training.config import Recipe
from hrm_arc.training.cores import Cores
from hrm_arc.training.data import Batches, Prefetcher
from hrm_arc.training.distributed import Distributed, resolve_auto
from hrm_arc.training.failures import DivergedError, explain_divergence, out_of_memory
from hrm_arc.training.meter import Meter
from hrm_arc.training.optim import EMA, build_optimizers, swapped_in
from hrm_arc.training.profiling import Profiler
from hrm_arc.training.recorder import RunRecorder
from hrm_arc.training.resuming import accepted_changes, as_in_run
from hrm_arc.training.saving import Saver
from hrm_arc.training.step import StepOutput, TrainingStep
from hrm_arc.training.validation import Validator

log = logging.getLogger(__name__)

# Keys of a recipe whose place tasks in memory take.
IN_MEMORY = ("data.solve", "data.study")
# Callbacks of a slow run are called at least this often.
CALLBACK_SECONDS = 5.0


class Trainer:
    """Trains one recipe in one run folder.

    Args:
        recipe: what to do; see :func:`hrm_arc.load_recipe`.
        corpus: tasks in memory, in place of the recipe's sources.
        model: a model in memory, in place of the recipe's, built for the number of tasks in the corpus. Checkpoints
            name it as ``package.module:Class``, so loading them needs that class to be importable.
        callbacks: called as the run goes, in the main process.
        root: where run folders are.
        resume: the run, or its folder, to go on with; a new one is made otherwise.
        overrides: dotted keys in which the recipe may differ from that of the run to go on with, and ``data``: grids
            of its tasks may have changed since.
        pretrained: weights to initialize a new run with, or one that has no checkpoint yet.
        profile: record the operations of a few steps; see :mod:`hrm_arc.training.profiling`.

    Attributes:
        folder: the run.
        model: the model; after ``fit`` its weights are those that were saved.
        corpus: the tasks.
        step: steps done.
        is_main: whether this process writes and prints.
        stopping: whether the run was asked to end.

    Raises:
        UserError: a source, a device, the model or a whole checkpoint is not available, or the recipe differs from that
            of the run in other keys than ``overrides``.
    """

    def __init__(
        self,
        recipe: Recipe,
        corpus: Corpus | None = None,
        model: Reasoner | None = None,
        callbacks: Sequence[Callback] = (),
        *,
        root: str | Path = "runs",
        resume: RunFolder | str | Path | None = None,
        overrides: Collection[str] = (),
        pretrained: Pretrained | None = None,
        profile: bool = False,
    ):
        if resume is not None:
            resume = resume if isinstance(resume, RunFolder) else RunFolder(Path(resume))
            recipe = as_in_run(resume, recipe)
        self._distributed = distributed = Distributed(recipe.training)
        self.is_main = distributed.is_main
        recipe = resolve_auto(recipe, distributed)
        self.recipe = recipe = complete_recipe(recipe, corpus, model)
        self.corpus = corpus or load_corpus(recipe)
        # Tasks and a model in memory are not part of the recipe, so they are not compared.
        aside = [*([] if corpus is None else IN_MEMORY), *([] if model is None else ["model"])]
        accepted = {} if resume is None else accepted_changes(resume, recipe, overrides, aside)
        samples = training_set(recipe, self.corpus)
        if self.is_main and (unused := unused_options(recipe)):
            log.warning("data.boards: with %r these change nothing: %s", recipe.data.boards, ", ".join(unused))
        options = recipe.training
        self._batches = Batches(
            samples,
            options.batch_size,
            options.grad_accum_steps,
            recipe.data.sampling,
            distributed.rank,
            distributed.world_size,
            find_transforms(recipe.data.transforms, "data.transforms"),
        )
        # On a CPU a thread for the samples would take time from the computation.
        self._draw = self._batches.draw if distributed.device.type == "cpu" else Prefetcher(self._batches).draw
        model = model_of_run(recipe, self.corpus, int(samples.variants.max()), model)
        initialize(model, recipe, self.corpus, pretrained)
        if pretrained is not None and self.is_main and (others := pretrained.other_options(recipe)):
            log.warning("the weights to begin with are those of a model with other options: here %s", others)
        self.model = model.to(distributed.device)
        self._optimizers = build_optimizers(self.model, recipe.optimizer, distributed.muon_dtype)
        self._clock = Clock(options.max_steps, options.max_minutes)
        self._meter = Meter(distributed, self._clock, self._batches, self._optimizers, model.metrics)
        self._ema = EMA(self.model, recipe.optimizer.ema) if recipe.optimizer.ema else None
        self._training_step = TrainingStep(recipe, distributed, self.model, self._optimizers, self._ema, self._clock)
        # Weights are the same in all processes; dropout is not.
        torch.manual_seed(recipe.seed + 1 + distributed.rank)
        self.step, self.stopping = 0, False
        # Whether the average is in place of the weights, as after the end.
        self._is_averaged = False
        on_cores = distributed.device.type == "cpu" and distributed.world_size == 1
        self._cores = Cores(adapts=options.max_minutes > 0) if on_cores else None
        self._compile_seconds: float | None = None
        self._provenance = Provenance.of(recipe, self.corpus, pretrained)
        self.folder = resume or self._make_folder(Path(root), pretrained)
        self._profiler = (
            Profiler(self.folder.trace_file, distributed.device.type == "cuda") if profile and self.is_main else None
        )
        self._recorder = RunRecorder(self.folder)
        self._callback = CallbackList([self._recorder, *callbacks] if self.is_main else [])
        self._validator = Validator(
            recipe.validation,
            recipe.loss,
            held_out_set(recipe, self.corpus),
            held_out_set(recipe, self.corpus, canvas="full"),
            distributed,
            self.model,
            self._ema,
            recipe.evaluation.halt_at,
        )
        self._checkpoints = Checkpoints(
            self.folder, distributed, self.model, self._optimizers, self._ema, options.keep_last
        )
        self._saver = Saver(
            options,
            self._checkpoints,
            self._clock,
            self.card,
            lambda: self._recorder.accept(accepted),
            self._callback,
        )
        if resume is not None:
            self._restore("data" in overrides, pretrained)
        self._begins_trained = pretrained is not None
        self.card()  # Raises now what the first checkpoint would raise.

    @property
    def best(self) -> dict[str, Any] | None:
        """The best validation so far."""
        return self._validator.best

    @property
    def baselines(self) -> Baselines:
        """The baselines' scores on the held-out samples of a fast validation."""
        return self._validator.baselines()

    @property
    def samples_per_second(self) -> float:
        """Speed since the start of this process."""
        return self._meter.samples_per_second(self.step)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Reasoner]:
        """The model with the average of its weights, as it would be saved; between two steps, such as in a callback."""
        with swapped_in(None if self._is_averaged else self._ema):
            yield self.model

    def stop(self) -> None:
        """Ask the run to save its state and end after the step it is in."""
        self.stopping = True

    def fit(self) -> dict[str, Any]:
        """Train to the end of the recipe, or until asked to stop.

        Returns:
            ``run_id``, ``folder``, ``state`` (finished or interrupted), ``steps``, ``held_out``: the number of tasks
            whose test outputs were held out, ``best`` validation, ``seconds``
            of training, ``full_validations`` and ``seconds_saved`` by the gate; ``compile_seconds``, which are not part
            of training, if the model was compiled; with ``profile``, that too.

        Raises:
            DivergedError: the loss or a gradient is not finite.
            UserError: memory ran out, or another process is training this run.
            ReportedError: the last checkpoint could not be saved.
        """
        ended: RunState = "failed"
        # Two trainers in one folder would undo each other's work.
        lock = exclusive_lock(self.folder.path, "training") if self.is_main else contextlib.nullcontext()
        with lock:
            self._saver.check_unchanged()
            self._checkpoints.tidy()
            try:
                self._callback.on_run_start(self)
                with self._profiler or contextlib.nullcontext():
                    ended = self._loop()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise out_of_memory(self.recipe.training) from None
            finally:
                self._clock.stop()
                self._callback.on_run_end(ended)
        return self._summary(ended)

    def card(self) -> Card:
        """The card of a checkpoint of this run as it is now."""
        precision = self._distributed.precision.state_dict()
        training = {"seconds": self._clock.seconds(), **self._validator.as_dict(), "precision": precision}
        where = (self.step, self.folder.path)
        return make_card(self.recipe, self.corpus, self.model.variants, self._provenance, *where, training)

    def _summary(self, state: RunState) -> dict[str, Any]:
        """What :meth:`fit` returns."""
        gate = self._validator.gate
        return {
            "run_id": self.folder.run_id,
            "folder": str(self.folder.path),
            "state": state,
            "steps": self.step,
            "held_out": len(self.corpus.solve),
            "best": self.best,
            "seconds": round(self._clock.seconds(), 1),
            "full_validations": gate.opened,
            "seconds_saved": round(gate.seconds_saved, 1),
            **({} if self._compile_seconds is None else {"compile_seconds": round(self._compile_seconds, 1)}),
            **({} if self._profiler is None else {"profile": self._profiler.result}),
        }

    def _loop(self) -> RunState:
        """Train, and save at the end; returns the state in which the run ends."""
        options = self.recipe.training
        if self._is_averaged and self._ema is not None:  # A second fit goes on with the weights, not their average.
            self._ema.swap()
        self._is_averaged = False
        if self.corpus.solve and self._validator.is_empty and self.is_main:
            log.warning("the tasks to be solved have no answers here: nothing to validate on")
        self._saver.begin(self.step, self._begins_trained)
        if self._cores is not None:
            self._cores.start()
        if options.compile == "always":
            self._compile()
        last_call = 0.0
        self._clock.start()
        self._meter.resume_from(self.step)
        progress = self._progress()
        while progress < 1:
            # Any process may be asked to stop, and the main one knows the time: all of them have to agree.
            stopping, late = self._distributed.all_reduce([float(self.stopping), float(self._saver.is_late())], "max")
            self._saver.save_if_due(self.step, bool(late))
            if stopping:
                break
            output = self._one_step(progress)
            if self._cores is not None:
                self._cores.warn_if_busy()
            progress = self._progress()
            is_row = self.step % options.log_every == 0 or progress >= 1
            if is_row or time.monotonic() - last_call > CALLBACK_SECONDS:
                last_call = time.monotonic()
                metrics = self._meter.read(self.step, progress, output, is_row)
                self._callback.on_step(metrics)
            with self._clock.timing("validation"):
                improved = self._validator.maybe_run(self.step, self._callback)
            if improved and self.is_main and self.best is not None:
                self._recorder.on_best(self.best)
            if improved and self.recipe.validation.keep_best:
                self._saver.try_to_save(BEST)
        self._saver.finish(self.step, finished=progress >= 1)
        if self._ema is not None:
            self._ema.swap()
        self._is_averaged = True
        self.model.eval()
        return "finished" if progress >= 1 else "interrupted"

    def _compile(self) -> None:
        """Compile what can be compiled; where that fails, warn and go on."""
        if not has_token_wise(self.model):
            return
        log.info("compiling the model; that takes up to a minute")
        started = time.monotonic()
        reason = try_to_compile(self.model, "training", lambda: self._training_step.warm_up(self._draw(self.step)))
        if reason is None:
            self._compile_seconds = time.monotonic() - started
        else:
            log.warning("training.compile: %s; training goes on without, slower and with other rounding", reason)

    def _one_step(self, progress: float) -> StepOutput:
        """Draw a step's samples and learn from them."""
        with self._clock.timing("data"):
            passes = self._draw(self.step)
        try:
            output = self._training_step.run(passes, self.step, progress)
        except DivergedError as error:
            path = self.folder.path / f"diverged-step-{self.step:08d}-rank-{self._distributed.rank}.json"
            raise explain_divergence(error, path, self.step, self._batches.indices(self.step)) from None
        self.step += 1
        if self._profiler is not None:
            self._profiler.step()
        return output

    def _progress(self) -> float:
        """The share of the run that is done, by the main process's clock where there is a time limit."""
        progress = self._clock.progress(self.step)
        return self._distributed.broadcast(progress) if self.recipe.training.max_minutes else progress

    def _restore(self, accept_changes: bool, pretrained: Pretrained | None) -> None:
        """Go on from a run's newest whole checkpoint, or from the start if it has none.

        Raises:
            UserError: it has none, and began with weights that are not at hand.
        """
        card = self._checkpoints.restore(self.corpus.tasks, accept_changes)
        if card is None:
            if pretrained is None and (start := self.folder.begins_with()):
                what = f"has no checkpoint yet and was to begin with the weights of {start}: start it again with them"
                raise UserError(self.folder.path, what)
            return
        self.step = card.step
        self._saver.resume_from(card.step)
        self._meter.resume_from(card.step)
        self._provenance = self._provenance.after(card, self.card())
        try:
            self._validator.restore(card.training)
            self._clock.resume_from(number("seconds", card.training["seconds"], 0))
            if card.training["precision"]:
                self._distributed.precision.load_state_dict(card.training["precision"])
        except (AttributeError, KeyError, TypeError, ValueError):
            what = f"the card of its checkpoint of step {card.step} is damaged: it does not say where the training was"
            raise UserError(self.folder.path, what) from None

    def _make_folder(self, root: Path, pretrained: Pretrained | None) -> RunFolder:
        """The main process makes the run folder; the others get its path."""
        start = "" if pretrained is None else pretrained.card.run_id
        path = create_run(root, self.recipe.as_dict(), start).path if self.is_main else root
        return RunFolder(self._distributed.broadcast(path))
