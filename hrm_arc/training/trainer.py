"""One training loop for every model. Start reading here.

A step draws its samples (a function of the seed and the step) and thinks about them for
as many segments as the model has. Each segment is supervised, moves the weights, and
hands its state on to the next without history: deep supervision, as in HRM. Between steps
a run is its weights, its optimisers' state and a few numbers; that is what a checkpoint
holds, so a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.files import claimed
from hrm_arc.models import build_model
from hrm_arc.models.conditioning import puzzle_tables
from hrm_arc.models.reasoner import Batch, Reasoner, adopt
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.leaks import leaks
from hrm_arc.runs.checkpoint import BEST, LATEST
from hrm_arc.runs.folder import RunFolder, create_run
from hrm_arc.runs.status import State
from hrm_arc.training.batches import Ahead, Batches
from hrm_arc.training.clock import Clock
from hrm_arc.training.faults import diverged, out_of_memory
from hrm_arc.training.halting import Thought, cells_at_once, portions, think_segment
from hrm_arc.training.held_back import HeldBack
from hrm_arc.training.losses import Losses
from hrm_arc.training.optimisers import Average, build_optimisers, dense, set_learning_rate
from hrm_arc.training.processes import Processes
from hrm_arc.training.profiling import Profiler
from hrm_arc.training.recipe import Recipe
from hrm_arc.training.recorder import Recorder, Tick
from hrm_arc.training.saving import Checkpoints
from hrm_arc.training.schedules import factor
from hrm_arc.training.solving import Beginning

# An onlooker hears from a slow run at least this often.
TICK_SECONDS = 5.0


class Trainer:
    """Trains one recipe in one run folder.

    Args:
        recipe: what to do.
        root: where run folders lie.
        resume: the run to go on with; a new one is made otherwise.
        onlooker: called with a :class:`Tick` every few steps, on rank 0.
        say: called with what a person should read, on rank 0.
        beginning: a model trained on other tasks, to begin a new run with.
        profile: record where a few steps go; see :mod:`hrm_arc.training.profiling`.

    Attributes:
        folder: the run.
        model: the model; after ``fit`` its weights are those that were saved.
        leads: whether this process is the one that writes and prints.
        stopping: whether the run was asked to end.

    Raises:
        UserError: a source, a device, the folder or a whole checkpoint is not to be had.
    """

    def __init__(
        self,
        recipe: Recipe,
        root: Path,
        resume: RunFolder | None = None,
        onlooker: Callable[[Tick], None] = lambda tick: None,
        say: Callable[[str], None] = lambda text: None,
        beginning: Beginning | None = None,
        profile: bool = False,
    ):
        self.recipe = recipe
        self._crew = crew = Processes(recipe.training)
        self.leads = crew.leads
        self.corpus = recipe.corpus()
        options = recipe.training
        training_set = recipe.training_set(self.corpus)
        self._batches = Batches(
            training_set, options.batch, options.accumulate, recipe.data.draw, crew.rank, crew.ranks
        )
        # A CPU has no time to spare while it computes.
        self._draw = self._batches.step if crew.device.type == "cpu" else Ahead(self._batches).step
        self.model = self._build_model(int(training_set.variants.max()), beginning).to(crew.device)
        self._optimisers = build_optimisers(self.model, recipe.optimiser)
        self._wrapped, self._stepped = crew.setup(self.model, self._optimisers)
        self._average = Average(self.model, recipe.optimiser.ema) if recipe.optimiser.ema else None
        # Weights are the same on all ranks; dropout is not to be.
        torch.manual_seed(recipe.seed + 1 + crew.rank)
        self._at_once = cells_at_once(crew.device)
        self._step = self._began = 0
        own_leaks = leaks(self.corpus) if recipe.data.allow_leak else ()
        self._leaks = [*map(str, own_leaks), *(beginning.leaks if beginning else ())]
        self._clock = Clock(options.steps, options.minutes)
        self.stopping = False
        self.folder = resume or self._make_folder(root)
        self._profiler = (
            Profiler(self.folder.trace_file, crew.device.type == "cuda") if profile and self.leads else None
        )
        self._recorder = Recorder(self.folder, self.leads, onlooker, say)
        self._held_back = HeldBack(recipe, self.corpus, crew, self.model, self._average, self._recorder)
        self._checkpoints = Checkpoints(self.folder, crew, self.model, self._optimisers, self._average, options.keep)
        if resume is not None:
            self._restore()

    def _build_model(self, variants: int, beginning: Beginning | None) -> Reasoner:
        """The recipe's model with its first weights: the same in every process of a run."""
        torch.manual_seed(self.recipe.seed)
        tasks = self.corpus.tasks
        model = build_model(self.recipe.model["name"], self.recipe.model_options, len(tasks), variants)
        if model.variants > 1 and any(task.boards for task in tasks):
            raise UserError(
                "data.augment",
                "a row for each variant cannot stand for those of a game's boards; 0, or --model.identity shared",
            )
        if beginning is not None:
            try:
                adopt(model, beginning.weights, [beginning.rows.get(task.id) for task in tasks])
            except ValueError as error:
                raise UserError("the checkpoint to begin with", str(error)) from None
        return model

    def stop(self) -> None:
        """Ask the run to save its state and leave after the step it is in."""
        self.stopping = True

    def fit(self) -> dict[str, Any]:
        """Train to the end of the recipe, or until asked to stop.

        Returns:
            ``run_id``, ``folder``, ``state`` (finished or interrupted), ``steps``, ``best``,
            ``seconds`` of training, ``full_validations`` and ``seconds_saved`` by the gate; where asked
            for, ``profile``.

        Raises:
            DivergedError: the loss or a gradient was no number.
            UserError: memory ran out, or another process is training this run.
            ReportedError: the end could not be saved.
        """
        ended: State = "failed"
        with self._claim(), self._recorder as recorder:
            self._checkpoints.tidy()
            config = self.recipe.as_dict()
            fields = {"baselines": self._held_back.baselines(), **self._held_back.status()}
            recorder.begin(self._step, self.recipe.training.trackers, config, **fields)
            try:
                with self._profiler or contextlib.nullcontext():
                    ended = self._loop()
            except torch.OutOfMemoryError:
                raise out_of_memory(self.recipe.training) from None
            finally:
                recorder.end(ended, self._step)
        return {
            "run_id": self.folder.run_id,
            "folder": str(self.folder.path),
            "state": ended,
            "steps": self._step,
            "best": self._held_back.best,
            "seconds": round(self._clock.seconds(), 1),
            "full_validations": self._held_back.gate.opened,
            "seconds_saved": round(self._held_back.gate.seconds_saved, 1),
            **({} if self._profiler is None else {"profile": self._profiler.result}),
        }

    def _claim(self) -> contextlib.AbstractContextManager[None]:
        """For the process that leads, the folder: two trainers in one would undo each other's work."""
        return claimed(self.folder.path, "training") if self.leads else contextlib.nullcontext()

    def _loop(self) -> State:
        """Train, and save at the end; returns the state that the run ends in."""
        options = self.recipe.training
        self._held_back.warn_if_empty()
        last_tick, saved = 0.0, self._began
        self._clock.start()
        progress, saved_at = self._progress(), time.monotonic()
        while progress < 1:
            stopping, overdue = self._asked(saved_at)
            overdue |= options.checkpoint_every > 0 and self._step % options.checkpoint_every == 0
            if overdue and saved != self._step:
                saved = self._step if self._try_to_save(LATEST) else saved
                saved_at = time.monotonic()
            if stopping:
                break
            with self._clock.timing("data"):
                passes = self._draw(self._step)
            losses = self._learn(passes, progress)
            self._step += 1
            if self._profiler is not None:
                self._profiler.step()
            progress = self._progress()
            as_row = self._step % options.log_every == 0 or progress >= 1
            if as_row or time.monotonic() - last_tick > TICK_SECONDS:
                last_tick = time.monotonic()
                self._recorder.tick(self._tick(progress, losses, as_row), self._clock.shares(), as_row)
            with self._clock.timing("validation"):
                improved = self._held_back.look(self._step)
            if improved and self.recipe.validation.keep_best:
                self._try_to_save(BEST)
        if saved != self._step:
            self._save(LATEST)
        if self._average is not None:
            self._average.swap()
        self.model.eval()
        return "finished" if progress >= 1 else "interrupted"

    def _learn(self, passes: list[list[Samples]], progress: float) -> Losses:
        """All segments of thought about one step's samples; each sample's last losses."""
        self.model.train()
        thoughts = [list(self._thoughts(samples)) for samples in passes]
        count = sum(len(thought.batch) for each in thoughts for thought in each)
        set_learning_rate(self._optimisers, factor(self.recipe.schedule, self._step, progress))
        ended: list[Losses] = []
        for segment in range(1, self.model.segments + 1):
            said: list[Losses] = []
            together = [portion for each in thoughts for portion in portions(each, self._at_once)]
            for n, portion in enumerate(together):
                # Gradients travel between processes once, with the last portion of the segment.
                with self._crew.fabric.no_backward_sync(self._wrapped, enabled=n < len(together) - 1):
                    with self._clock.timing("forward"):
                        last = segment == self.model.segments
                        losses = think_segment(self._wrapped, portion, self.recipe.loss, last)
                        totals = [(each.total * t.counts).sum() for each, t in zip(losses, portion, strict=True)]
                    with self._clock.timing("backward"):
                        self._crew.fabric.backward(torch.stack(totals).sum() / count)
                    said += losses
            with self._clock.timing("optimiser"):
                self._move(said)
            for thought, each in zip(itertools.chain(*thoughts), said, strict=True):
                ended += thought.leave(each, segment, self.model.segments, self.recipe.halting, self._crew.ranks > 1)
            thoughts = [[thought for thought in each if len(thought.batch)] for each in thoughts]
            if not self._still_learned_from(thoughts):
                break
        return Losses(*(torch.cat(values).detach() for values in zip(*ended, strict=True)))

    def _thoughts(self, samples: Sequence[Samples]) -> Iterator[Thought]:
        """A pass's samples before they are thought about, no more of them on one canvas than go through together."""
        for on_canvas in samples:
            for part in on_canvas.parts(max(1, self._at_once // on_canvas.canvas.cells)):
                yield Thought.of(self.model, Batch.of(part, self._crew.device))

    def _still_learned_from(self, thoughts: list[list[Thought]]) -> bool:
        """Whether any sample is left, here or in a process that trains together with this one."""
        if self._crew.ranks == 1 or not self.recipe.halting.leave:
            return any(thoughts)
        counted = any(bool(thought.counts.any()) for each in thoughts for thought in each)
        return self._crew.together([float(counted)], "max")[0] > 0

    def _move(self, losses: list[Losses]) -> None:
        """Clip the gradients, move the weights, and let the average follow.

        Raises:
            DivergedError: before anything has moved.
        """
        for table in puzzle_tables(self.model):
            self._crew.join_rows(table)
        for optimiser in self._optimisers:
            self._crew.precision.unscale_gradients(optimiser)
        clip = self.recipe.optimiser.clip or torch.inf
        norm = torch.nn.utils.clip_grad_norm_(dense(self.model), clip)
        # fp16's scaler skips steps whose gradients overflow and lowers its scale; a loss that
        # is no number is beyond it.
        scaled = self.recipe.training.precision == "16-mixed"
        healthy = torch.cat([part.total.detach() for part in losses]).sum() if scaled else norm
        if not torch.isfinite(healthy):
            raise diverged(self.folder.path, self._step, self._batches.indices(self._step), self._crew.rank)
        self._crew.step(self._stepped)
        for stepped in self._stepped:
            stepped.zero_grad()
        if self._average is not None:
            self._average.update(self._step)

    def _progress(self) -> float:
        """The share of the run that is done, by the leader's clock where there is a time limit."""
        progress = self._clock.progress(self._step)
        return self._crew.from_the_leader(progress) if self.recipe.training.minutes else progress

    def _asked(self, saved_at: float) -> tuple[bool, bool]:
        """Whether any process was asked to stop, and whether the one that leads finds a checkpoint overdue."""
        limit = 60 * self.recipe.training.checkpoint_minutes
        late = self.leads and 0 < limit < time.monotonic() - saved_at
        stopping, overdue = self._crew.together([float(self.stopping), float(late)], "max")
        return stopping == 1, overdue == 1

    def _tick(self, progress: float, losses: Losses, everybody: bool) -> Tick:
        """Where the run stands; with the mean over all ranks if they are all here for it."""
        here = self._clock.here_seconds()
        sums = [float(values.sum()) for values in (losses.answer, losses.tokens, losses.exact)]
        *sums, count = self._crew.together([*sums, len(losses.total)], "sum" if everybody else "own")
        return Tick(
            step=self._step,
            epoch=self._batches.epoch(self._step),
            progress=progress,
            seconds=self._clock.seconds(),
            loss=sums[0] / count,
            tokens=sums[1] / count,
            exact=sums[2] / count,
            rate=(self._step - self._began) * self._batches.per_step / max(here, 1e-9),
            learning_rate=self._optimisers[0].param_groups[0]["lr"],
        )

    def _try_to_save(self, kind: str) -> bool:
        """Write a checkpoint, or go on with the last one in place and say so."""
        try:
            self._save(kind)
            saved = True
        except ReportedError as error:
            self._recorder.warn(f"warning: {error}")
            saved = False
        # The others know of no disk, and have to agree with the leader on whether this step is saved.
        return self._crew.from_the_leader(saved)

    def _save(self, kind: str) -> None:
        """Write a checkpoint; every process takes part."""
        training = {
            "seconds": self._clock.seconds(),
            **self._held_back.as_dict(),
            "precision": self._crew.precision.state_dict(),
        }
        card = self.recipe.card(self.corpus, self.model.variants, self._leaks, self._step, self.folder.run_id, training)
        with self._clock.timing("checkpoint"):
            name = self._checkpoints.save(kind, card)
        if name is not None:
            self._recorder.checkpoint(name)

    def _restore(self) -> None:
        """Go on from a run's newest whole checkpoint, or from the start if it has none."""
        card = self._checkpoints.restore([task.id for task in self.corpus.tasks], self._recorder.warn)
        if card is None:
            return
        training, options = card.training, self.recipe.training
        self._step = self._began = card.step
        self._leaks = card.leaks
        self._held_back.restore(training)
        self._clock = Clock(options.steps, options.minutes, training["seconds"])
        if training["precision"]:
            self._crew.precision.load_state_dict(training["precision"])

    def _make_folder(self, root: Path) -> RunFolder:
        """Rank 0 makes the run folder and tells the others where it is."""
        path = create_run(root, self.recipe.as_dict()).path if self.leads else root
        return RunFolder(self._crew.from_the_leader(path))
