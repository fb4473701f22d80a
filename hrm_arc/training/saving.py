"""When the state of a run is saved, and that its recipe is the one that it was trained with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.runs.card import Card
from hrm_arc.runs.checkpoint import LATEST
from hrm_arc.training.callbacks import Callback
from hrm_arc.training.checkpointing import Checkpoints
from hrm_arc.training.clock import Clock
from hrm_arc.training.config import TrainingConfig
from hrm_arc.training.failures import DivergedError

log = logging.getLogger(__name__)


class Saver:
    """Saves a run when it is due, and at its end.

    Args:
        options: how often.
        checkpoints: writes and restores them.
        clock: the time of saving is counted there.
        make_card: the card of the run as it is now.
        accept: makes the changes of a resume the run's own recipe; returns whether there is nothing left to accept.
        callback: is told of checkpoints.
    """

    def __init__(
        self,
        options: TrainingConfig,
        checkpoints: Checkpoints,
        clock: Clock,
        make_card: Callable[[], Card],
        accept: Callable[[], bool],
        callback: Callback,
    ):
        self._options = options
        self._checkpoints = checkpoints
        self._clock = clock
        self._make_card = make_card
        self._accept_changes = accept
        self._callback = callback
        self._is_main = checkpoints.distributed.is_main
        # Compared again in the lock: another process may be about to end.
        self._known = checkpoints.names()
        self._restored_step: int | None = None
        self._has_checkpoint = self._is_accepted = False
        self._saved_step, self._saved_at = 0, 0.0

    def resume_from(self, step: int) -> None:
        """The run goes on from a checkpoint of a step."""
        self._restored_step, self._has_checkpoint = step, True

    def check_unchanged(self) -> None:
        """Check that nobody has gone on with the run meanwhile.

        Raises:
            UserError: there are other checkpoints than there were.
        """
        if self._is_main and self._checkpoints.names() != self._known:
            what = "another process has gone on with it meanwhile: resume it once more, from where it is now"
            raise UserError(self._checkpoints.run.path, what)

    def begin(self, step: int, begins_trained: bool) -> None:
        """Training starts after ``step`` steps; with pretrained weights these are saved first.

        Without a checkpoint, a resumed run would begin with other weights.
        """
        if begins_trained and not self._has_checkpoint:
            self.try_to_save(LATEST)
        self._saved_step, self._saved_at = step, time.monotonic()

    def is_late(self) -> bool:
        """Whether the last checkpoint is too old by the main process's clock; False in the others."""
        limit = 60 * self._options.checkpoint_minutes
        return self._is_main and 0 < limit < time.monotonic() - self._saved_at

    def save_if_due(self, step: int, late: bool) -> None:
        """Save after ``step`` steps if it is time, by steps or because any process says that it is late."""
        due = late or (self._options.checkpoint_every > 0 and step % self._options.checkpoint_every == 0)
        if due and step != self._saved_step:
            if self.try_to_save(LATEST):
                self._saved_step = step
            self._saved_at = time.monotonic()

    def try_to_save(self, kind: str) -> bool:
        """Write a checkpoint; where that fails, warn and go on. Every process takes part."""
        saved = False
        try:
            self._save(kind)
            saved = True
        except ReportedError as error:
            log.warning("%s", error)
        # The main process alone knows, and all have to agree on whether this step is saved.
        saved = self._checkpoints.distributed.broadcast(saved)
        self._has_checkpoint |= saved
        return saved

    def finish(self, step: int, finished: bool) -> None:
        """Save the last step, unless it is saved.

        Args:
            step: steps done.
            finished: whether the run is done by its recipe.

        Raises:
            ReportedError: it cannot be written.
        """
        if step != self._saved_step or not self._has_checkpoint:
            self._save(LATEST)
            self._has_checkpoint = True
        self._accept(step, finished)

    def _save(self, kind: str) -> None:
        card = self._make_card()
        if not self._checkpoints.is_finite():  # The last update moved them too far; nothing could be done with them.
            what = "its last update made weights that are not finite; no checkpoint is written of them"
            raise DivergedError(
                f"step {card.step}", f"{what}, and the last one is untouched; try a lower learning rate"
            )
        # First, so that no checkpoint is ever resumed with an older recipe than the one that it was trained with.
        self._accept(card.step)
        with self._clock.timing("checkpoint"):
            path = self._checkpoints.save(kind, card)
        self._known = self._checkpoints.names()
        if path is not None:
            self._callback.on_checkpoint(path)

    def _accept(self, step: int, finished: bool = False) -> None:
        """Make what was accepted the run's own recipe, once it has trained with it or has ended by it."""
        # A run without a checkpoint takes the changed recipe at once.
        used = finished or self._restored_step is None or step > self._restored_step
        if self._is_main and used and not self._is_accepted:
            self._is_accepted = self._accept_changes()
