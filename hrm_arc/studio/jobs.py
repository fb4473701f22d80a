"""Jobs: a model works on a task in a process of its own, one job after another.

A job belongs to the answer that it is written into. When the reader goes away, the process ends. A process that runs
out of memory, is killed or hangs ends its job with a named error, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.evaluation.fairness import warnings
from hrm_arc.puzzles.formats import task_json
from hrm_arc.puzzles.task import Task, make_grid
from hrm_arc.runs.card import Card
from hrm_arc.studio.exchange import RefusedError
from hrm_arc.studio.places import Model
from hrm_arc.studio.tasks import verdict

WORKER = (sys.executable, "-m", "hrm_arc.studio.worker")
MOST_WAITING = 16
MOST_VOTES, MOST_SECONDS = 512, 600.0
# Seconds that a job may take beyond its learning time, from the start of its process.
JOB_SECONDS = 1200.0
# Bytes of a line of a worker: a few grids.
LONGEST_LINE = 4 * 2**20
# What a worker prints is kept up to so many bytes, for its last line may say why it ended.
KEPT = 4096

Event = dict[str, Any]


class Job:
    """A job that waits or runs.

    Attributes:
        name: what its page knows it by; nobody can guess it.
        process: its process, while it runs.
    """

    def __init__(self) -> None:
        self.name = secrets.token_urlsafe(16)
        self.process: asyncio.subprocess.Process | None = None


class Jobs:
    """The queue of jobs.

    Args:
        memory: bytes that the process of a job may use; None: no limit of its own.
    """

    def __init__(self, memory: int | None = None):
        self._memory = memory
        self._queue: list[Job] = []
        self._moved = asyncio.Condition()

    async def events(
        self, model: Model, task: Task, votes: int, seconds: float, seed: int
    ) -> AsyncGenerator[Event, None]:
        """A job from its place in the queue to its end; to close this iterator ends it.

        Args:
            model: the model to use.
            task: the task; its known test outputs stay in this process, and are compared at the end.
            votes: variants of each test input that vote.
            seconds: of learning the task first; 0: none.
            seed: of learning and votes.

        Raises:
            RefusedError: too many jobs wait.
        """
        if len(self._queue) >= MOST_WAITING:
            raise RefusedError("queue", f"{MOST_WAITING} jobs wait already; try again when some have ended", 429)
        order = {
            "path": str(model.path),
            "kind": model.kind,
            "signature": model.signature(),
            "id": task.id,
            "task": task_json(task.blind()),
            "votes": votes,
            "seconds": seconds,
            "seed": seed,
            "memory": self._memory,
        }
        job = Job()
        self._queue.append(job)
        try:
            yield {"event": "job", "job": job.name}
            while (before := self._queue.index(job)) > 0:
                yield {"event": "queued", "before": before}
                async with self._moved:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(5):
                            await self._moved.wait()
            async for event in _compared(self._work(job, order), task):
                yield event
        except ReportedError as error:
            yield {"event": "error", "where": error.where, "what": error.what}
        finally:
            self._queue.remove(job)
            await asyncio.shield(self._end(job))

    async def stop_learning(self, name: str) -> None:
        """Ask a job to end its learning and to answer with what it has learned.

        Raises:
            RefusedError: there is no such job.
        """
        job = next((job for job in self._queue if secrets.compare_digest(job.name.encode(), name.encode())), None)
        if job is None or job.process is None or job.process.stdin is None:
            raise RefusedError("job", "there is no such job any more", 404)
        with contextlib.suppress(OSError):
            job.process.stdin.write(b"stop\n")
            await job.process.stdin.drain()

    async def _end(self, job: Job) -> None:
        await _kill(job.process)
        async with self._moved:
            self._moved.notify_all()

    async def _work(self, job: Job, order: dict[str, Any]) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        try:
            process = job.process = await asyncio.create_subprocess_exec(
                *WORKER,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                # Ctrl-C in the terminal of the server is the server's to handle.
                start_new_session=True,
            )
        except OSError as error:
            raise ReportedError("job", f"its process cannot be started: {error.strerror}") from None
        assert process.stdin is not None
        assert process.stdout is not None
        said = asyncio.create_task(_tail(process.stderr))
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            await process.stdin.drain()
        end = loop.time() + order["seconds"] + JOB_SECONDS
        while True:
            try:
                line = await asyncio.wait_for(process.stdout.readline(), end - loop.time())
            except TimeoutError:
                raise UserError("job", f"ended after {JOB_SECONDS:.0f} seconds; use fewer votes or segments") from None
            if not line:
                raise _ended(await process.wait(), await said)
            event = json.loads(line)
            if event["event"] == "error":
                raise ReportedError(event["where"], event["what"])
            yield event
            if event["event"] == "done":
                return


async def _compared(events: AsyncIterator[Event], task: Task) -> AsyncIterator[Event]:
    """The events of a worker; at the end its attempts are compared with the test outputs that are known."""
    answers: list[Event] = []
    card: Card | None = None
    async for event in events:
        if event["event"] == "answer":
            answers.append(event)
        if event["event"] == "model":
            card = Card.from_json(event["card"])
            event = {"event": "model", "model": card.model, "run": card.run_id, "step": card.step}
        if event["event"] == "done":
            tests = [
                [
                    verdict(make_grid(attempt["grid"]), task.tests[answer["test"]].output)
                    for attempt in answer["attempts"]
                ]
                for answer in answers
            ]
            known = sum(test.output is not None for test in task.tests)
            unfair = warnings(card, [task]) if card is not None and known else []
            event = {"event": "done", "tests": tests, "known": known, "warnings": unfair}
        yield event


def _ended(code: int, said: str) -> ReportedError:
    """The error of a process that ended before its work was done."""
    if code == -signal.SIGKILL:
        what = "its process was killed, most likely because the machine ran out of memory"
        return ReportedError("memory", f"{what}: try a smaller model, fewer votes or a smaller task")
    if code < 0:
        return ReportedError("job", f"its process ended by signal {-code}{said}")
    return ReportedError("memory" if "Memory" in said else "job", f"its process ended with status {code}{said}")


async def _tail(stream: asyncio.StreamReader | None) -> str:
    """The last line of a stream, behind a colon."""
    kept = b""
    while stream is not None and (part := await stream.read(KEPT)):
        kept = (kept + part)[-KEPT:]
    lines = kept.decode(errors="replace").strip().splitlines()
    return f": {lines[-1][:300]}" if lines else ""


async def _kill(process: asyncio.subprocess.Process | None) -> None:
    """End a process with all that it has started."""
    if process is None:
        return
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()
