"""One training loop for every model. Start reading here.

A step draws its samples (a function of the seed and the step) and thinks about them for
as many segments as the model has. Each segment is supervised, moves the weights, and
hands its state on to the next without history: deep supervision, as in HRM.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from hrm_arc.errors import UserError
from hrm_arc.evaluation.baselines import task_baselines
from hrm_arc.models import build_model
from hrm_arc.models.reasoner import Batch, detach
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.runs.checkpoint import Card, save_checkpoint
from hrm_arc.runs.folder import RunFolder, create_run
from hrm_arc.runs.metrics import Metrics
from hrm_arc.runs.status import Status
from hrm_arc.training.batches import Batches
from hrm_arc.training.losses import Losses, segment_losses
from hrm_arc.training.optimisers import Average, build_optimisers, set_learning_rate
from hrm_arc.training.recipe import Recipe
from hrm_arc.training.schedules import factor
from hrm_arc.training.validation import fixed_part, validate

# An onlooker hears from a slow run at least this often.
TICK_SECONDS = 5.0


@dataclass(frozen=True)
class Tick:
    """What the trainer tells an onlooker as it goes.

    Attributes:
        step: steps done.
        progress: share of the run that is done, 0 to 1.
        seconds: training time so far; validation and checkpoints stop the clock.
        loss: answer loss of the last segment, in nats per counted cell.
        tokens: share of counted cells that were right.
        exact: share of samples exactly right, in training.
        rate: samples per second.
    """

    step: int
    progress: float
    seconds: float
    loss: float
    tokens: float
    exact: float
    rate: float

    @property
    def remaining(self) -> float:
        """Estimated seconds to the end."""
        return self.seconds * (1 - self.progress) / self.progress


class Trainer:
    """Trains one recipe in a run folder of its own.

    Args:
        recipe: what to do.
        root: where run folders lie.
        onlooker: called with a :class:`Tick` every few steps, on rank 0.

    Attributes:
        folder: the run.
        model: the model; after ``fit`` its weights are those that were saved.

    Raises:
        UserError: a source, a device or the folder is not to be had.
    """

    def __init__(self, recipe: Recipe, root: Path, onlooker: Callable[[Tick], None] = lambda tick: None):
        self.recipe = recipe
        self.corpus = recipe.corpus()
        self._onlooker = onlooker
        self._fabric = _launch(recipe)
        options = recipe.training
        ranks, rank = self._fabric.world_size, self._fabric.global_rank
        self._batches = Batches(
            recipe.training_set(self.corpus), options.batch, options.accumulate, recipe.data.draw, rank, ranks
        )
        torch.manual_seed(recipe.seed)
        self.model = build_model(recipe.model["name"], recipe.model_options, len(self.corpus.tasks))
        self.model.to(self._fabric.device)
        self._optimisers = build_optimisers(self.model, recipe.optimiser)
        self._wrapped, *self._stepped = self._fabric.setup(self.model, *self._optimisers)
        self._average = Average(self.model, recipe.optimiser.ema) if recipe.optimiser.ema else None
        self.folder = self._make_folder(root)
        self._status = Status(self.folder.status_file, self.folder.run_id)
        self._clock = _Clock(recipe)
        self._step = 0
        # Dropout differs between ranks; the weights above did not.
        torch.manual_seed(recipe.seed + 1 + rank)

    def fit(self) -> dict[str, Any]:
        """Train to the end of the recipe.

        Returns:
            ``run_id``, ``folder``, ``steps``, ``best`` and ``seconds`` of training.

        Raises:
            KeyboardInterrupt: after the state was saved.
        """
        if self._leads:
            self._status.update(event=True, baselines=task_baselines(self.corpus.solve))
        state = "failed"
        try:
            with Metrics(self.folder.metrics_file) if self._leads else contextlib.nullcontext() as metrics:
                self._loop(metrics)
            state = "finished"
        except KeyboardInterrupt:
            state = "interrupted"
            raise
        finally:
            self._finish(state)
        return {
            "run_id": self.folder.run_id,
            "folder": str(self.folder.path),
            "steps": self._step,
            "best": self._best(),
            "seconds": round(self._clock.seconds(), 1),
        }

    @property
    def _leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self._fabric.is_global_zero

    def _loop(self, metrics: Metrics | None) -> None:
        options = self.recipe.training
        held_back = self.recipe.held_back_set(self.corpus) if self.recipe.validation.every else None
        last_tick = 0.0
        self._clock.start()
        progress = 0.0
        while progress < 1:
            losses = self._learn(self._batches.step(self._step), progress)
            self._step += 1
            progress = self._progress()
            row_due = self._step % options.log_every == 0 or progress >= 1
            if metrics is not None and (row_due or time.monotonic() - last_tick > TICK_SECONDS):
                last_tick = time.monotonic()
                self._report(self._tick(progress, losses), metrics if row_due else None)
            if held_back is not None and self._step % self.recipe.validation.every == 0:
                with self._clock.stopped():
                    self._validate(held_back, metrics)
            if options.checkpoint_every and self._step % options.checkpoint_every == 0:
                with self._clock.stopped():
                    self._save(f"step-{self._step:08d}")

    def _learn(self, parts: list[Samples], progress: float) -> Losses:
        """All segments of thought about one step's samples; the last segment's losses."""
        self.model.train()
        batches = [Batch.of(part, self._fabric.device) for part in parts]
        states = [self.model.start(batch) for batch in batches]
        count = sum(map(len, batches))
        set_learning_rate(self._optimisers, factor(self.recipe.schedule, self._step, progress))
        for _ in range(self.model.segments):
            losses = []
            for n, batch in enumerate(batches):
                # Gradients travel between processes once, with the last batch of the segment.
                with self._fabric.no_backward_sync(self._wrapped, enabled=n < len(batches) - 1):
                    state, output = self._wrapped(states[n], batch)
                    assert batch.labels is not None
                    losses.append(segment_losses(output, batch.labels, self.recipe.loss))
                    self._fabric.backward(losses[-1].total.sum() / count)
                states[n] = detach(state)
            self._move()
        return Losses(*(torch.cat(values).detach() for values in zip(*losses, strict=True)))

    def _move(self) -> None:
        """Clip the gradients, move the weights, and let the average follow."""
        clip = self.recipe.optimiser.clip
        if clip:
            for optimiser in self._optimisers:
                self._fabric.strategy.precision.unscale_gradients(optimiser)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        for stepped in self._stepped:
            stepped.step()
            stepped.zero_grad()
        if self._average is not None:
            self._average.update(self._step)

    def _progress(self) -> float:
        """The share of the run that is done; with a time limit all ranks take rank 0's word."""
        progress = self._clock.progress(self._step)
        if self.recipe.training.minutes and self._fabric.world_size > 1:
            progress = self._fabric.broadcast(progress)
        return progress

    def _tick(self, progress: float, losses: Losses) -> Tick:
        seconds = self._clock.seconds()
        rate = self._step * self._batches.per_step / max(seconds, 1e-9)
        loss, tokens, exact = (float(values.mean()) for values in (losses.answer, losses.tokens, losses.exact))
        return Tick(self._step, progress, seconds, loss, tokens, exact, rate)

    def _report(self, tick: Tick, metrics: Metrics | None) -> None:
        self._onlooker(tick)
        epoch = self._batches.epoch(self._step)
        if metrics is not None:
            rate = self._optimisers[0].param_groups[0]["lr"]
            row = {"loss": tick.loss, "tokens": tick.tokens, "exact": tick.exact, "learning_rate": rate}
            metrics.log(kind="train", step=tick.step, epoch=epoch, seconds=tick.seconds, **row)
        self._status.update(
            current_step=tick.step,
            current_epoch=epoch,
            training_loss=tick.loss,
            training_acc=tick.tokens,
            samples_per_sec=tick.rate,
            estimated_time_remaining=tick.remaining,
        )

    def _validate(self, held_back: Any, metrics: Metrics | None) -> None:
        """Score held-back samples on rank 0 with the averaged weights."""
        if metrics is None:
            return
        self._status.update(event=True, state="validating")
        with self._averaged():
            result = validate(
                self.model, held_back, fixed_part(held_back, self.recipe.validation.fraction), self.recipe.loss
            )
        row = {"step": self._step, **asdict(result)}
        metrics.log(kind="validation", **row)
        self._status.update(event=True, state="running", last_validation=row)
        best = self._best()
        if best is None or (result.exact_accuracy, result.token_accuracy) > (best["exact_accuracy"], best["val_acc"]):
            fields = {"best_val_loss": result.loss, "best_val_acc": result.token_accuracy, "best_step": self._step}
            self._status.update(event=True, **fields, best_exact=result.exact_accuracy)
            if self.recipe.validation.keep_best:
                self._save("best")

    def _best(self) -> dict[str, Any] | None:
        """The best validation so far, by exact match, then by token accuracy."""
        if self._status["best_step"] is None:
            return None
        return {
            "step": self._status["best_step"],
            "exact_accuracy": self._status["best_exact"],
            "val_acc": self._status["best_val_acc"],
            "val_loss": self._status["best_val_loss"],
        }

    def _save(self, name: str) -> None:
        if not self._leads:
            return
        recipe = self.recipe
        card = Card(
            model=recipe.model["name"],
            options=recipe.model_options,
            tasks=[task.id for task in self.corpus.tasks],
            canvas=recipe.data.canvas,
            ignores_padding=recipe.loss.ignore_padding,
            solve=recipe.data.solve,
            study=recipe.data.study,
            held_back=len(self.corpus.solve),
            step=self._step,
            run_id=self.folder.run_id,
        )
        with self._averaged():
            save_checkpoint(self.folder.checkpoints / name, self.model.state_dict(), card)
        self._status.update(event=True, last_checkpoint=f"checkpoints/{name}")

    def _finish(self, state: str) -> None:
        """Save what there is, leave the averaged weights in the model, and say how it ended."""
        if state != "failed" and self._step:
            self._save(f"step-{self._step:08d}")
        if self._average is not None:
            self._average.swap()
        if self._leads:
            self._status.update(event=True, state=state, current_step=self._step)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model in evaluation mode with the averaged weights in place of the live ones."""
        self.model.eval()
        if self._average is not None:
            self._average.swap()
        try:
            yield
        finally:
            if self._average is not None:
                self._average.swap()
            self.model.train()

    def _make_folder(self, root: Path) -> RunFolder:
        """Rank 0 makes the run folder and tells the others where it is."""
        path = create_run(root, self.recipe.as_dict()).path if self._leads else root
        return RunFolder(self._fabric.broadcast(path))


class _Clock:
    """Training time, with validation and checkpoints left out."""

    def __init__(self, recipe: Recipe):
        self._steps = recipe.training.steps
        self._limit = recipe.training.minutes * 60
        self._started: float | None = None
        self._before = 0.0

    def start(self) -> None:
        self._started = time.monotonic()

    def seconds(self) -> float:
        return self._before + (time.monotonic() - self._started if self._started is not None else 0.0)

    def progress(self, step: int) -> float:
        by_steps = step / self._steps
        return min(1.0, max(by_steps, self.seconds() / self._limit) if self._limit else by_steps)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        self._before, self._started = self.seconds(), None
        yield
        self.start()


def _launch(recipe: Recipe) -> Fabric:
    """Devices and precision; under torchrun, one process for each of its workers.

    Raises:
        UserError: the accelerator asked for is not here.
    """
    options = recipe.training
    try:
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        fabric = Fabric(accelerator=options.accelerator, devices=devices, precision=options.precision)
    except (RuntimeError, ValueError) as error:
        raise UserError("training.accelerator", " ".join(str(error).split())) from None
    fabric.launch()
    return fabric
