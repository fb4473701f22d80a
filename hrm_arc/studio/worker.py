"""The process in which a model works on one task: ``python -m hrm_arc.studio.worker``.

Its standard input is one line of JSON, the order; a later line ``stop`` ends the learning early, and the end of the
input ends the process, so that nothing is left when the server is gone. Its standard output is one JSON object a line.
The order has no test outputs: the answers are compared with them elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.deploy.opening import open_exported
from hrm_arc.errors import ReportedError, UserError, is_out_of_memory, not_installed
from hrm_arc.puzzles.task import parse_task
from hrm_arc.report.listing import signature_of
from hrm_arc.studio.events import EventWriter

if TYPE_CHECKING:
    from hrm_arc.evaluation.prediction import Candidate, Key
    from hrm_arc.runs.card import Card

# Candidates that are shown while votes come in.
SHOWN = 6


class _Notes(logging.Handler):
    """Hands warnings of the package to the page."""

    def __init__(self, output: EventWriter):
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output("note", text=record.getMessage())


def main() -> None:
    """Work on the order that standard input holds."""
    output, stopping = EventWriter(), threading.Event()
    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        return
    threading.Thread(target=_listen, args=(stopping,), daemon=True).start()
    logging.getLogger("hrm_arc").addHandler(_Notes(output))
    try:
        _limit_memory(order["memory"])
        work(order, output, stopping)
    except ReportedError as error:
        output("error", where=error.where, what=error.what)
    except ModuleNotFoundError as error:
        missing = not_installed(error) or UserError(error.name, "cannot be imported here")
        output("error", where=missing.where, what=missing.what)
    except Exception as error:  # Whatever a library or a model of one's own raises ends this job, and is named.
        is_memory = is_out_of_memory(error)
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        output("error", where="memory" if is_memory else "job", what=NO_MEMORY if is_memory else said)


NO_MEMORY = "not enough for this job on this machine: try a smaller model, fewer votes or a smaller task"


def work(order: dict[str, Any], output: EventWriter, stopping: threading.Event) -> None:
    """Load the model, learn the task if that was asked for, and answer each test input.

    Raises:
        ReportedError: the model cannot be loaded, or was replaced meanwhile.
    """
    from hrm_arc.evaluation.evaluate import limited_votes, predict_tasks
    from hrm_arc.evaluation.predict import segment_grids

    task = parse_task(order["task"], order["id"], "task")
    output("loading")
    backend, card = open_model(Path(order["path"]), order["kind"], order["signature"])
    output("model", card=card.as_json())
    if order["seconds"]:
        from hrm_arc.studio.learning import learn

        backend, card = learn(backend, card, task, order["seconds"], order["seed"], output, stopping)
    for index in range(len(task.tests)):
        for number, each in enumerate(segment_grids(backend, task, index, card.rows(), card.canvas), start=1):
            grid = None if each.grid is None else each.grid.tolist()
            output("segment", test=index, segment=number, grid=grid, halting=each.confidence, halted=each.halted)
        follow = _follower(output, limited_votes(card, order["votes"]))
        (prediction,) = predict_tasks(
            backend, card, [task], votes=order["votes"], seed=order["seed"], only=[(task.id, index)], voted=follow
        )
        attempts = [{"grid": grid.tolist(), "share": share} for grid, share in prediction.shares()]
        output("answer", test=index, attempts=attempts, segments=prediction.segments)
    output("done", seconds=order["seconds"])


def open_model(path: Path, kind: str, signature: list[int] | None) -> tuple[Any, Card]:
    """Load shipped weights or a run in torch, or an exported file, which needs none.

    Args:
        path: the model.
        kind: as in :class:`hrm_arc.studio.places.Model`.
        signature: that of the file when it was chosen, or None for a run, which goes on to get new checkpoints.

    Raises:
        UserError: it is damaged, or another file has taken its place.
    """
    if kind == "file" and not path.is_dir():
        exported = open_exported(path)
        backend: Any = exported.backend
        card = exported.card
    else:
        from hrm_arc.evaluation.torch_backend import load_model

        backend, card = load_model(path)
    now = signature_of(path)
    if signature is not None and (now is None or list(now) != signature):
        raise UserError(path.name, "was replaced after it had been chosen; press Solve again to use the new one")
    return backend, card


def _follower(output: EventWriter, votes: int) -> Any:
    def voted(key: Key, candidates: tuple[Candidate, ...], done: int) -> None:
        shown = [{"grid": each.grid.tolist(), "votes": each.votes} for each in candidates[:SHOWN]]
        output("votes", test=key[1], done=done, of=votes, candidates=shown, different=len(candidates))

    return voted


def _listen(stopping: threading.Event) -> None:
    """Read requests until the server is gone."""
    for line in sys.stdin:
        if line.strip() == "stop":
            stopping.set()
    os._exit(1)


def _limit_memory(limit: int | None) -> None:
    """Limit the memory of this process in bytes, and let the system end it before the server where memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if limit is not None and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    main()
