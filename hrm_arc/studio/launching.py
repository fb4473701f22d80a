"""Trainings that the studio starts: each is ``hrm train`` in a process of its own.

They end with the server, with their state saved; ``hrm train --resume`` or the studio goes on with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.puzzles.boards import GAMES
from hrm_arc.reading import kind_of
from hrm_arc.runs.folder import RunFolder
from hrm_arc.studio.exchange import RefusedError
from hrm_arc.studio.places import Places
from hrm_arc.training.packaged import recipe_names

HRM = (sys.executable, "-m", "hrm_arc")
MOST_TRAININGS, MOST_CHANGES = 4, 40
KEY = re.compile(r"[a-z_]{1,40}(\.[a-z_0-9]{1,40})?")
# A value of a recipe: a number, or a word, which is no path. What names code or files is not taken from a page.
NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?(e-?[0-9]{1,3})?")
WORD = re.compile(r"[a-z0-9_-]{1,40}")
CODE_OR_FILES = ("model.name", "data.", "training.trackers", "evaluation.metrics")
# Keys without a section; every other flag without a dot is the command's own, such as --out and --resume.
PLAIN_KEYS = ("name", "seed")
# Seconds that a training has to make its folder, and to save its state at the end.
START_SECONDS, SAVE_SECONDS = 120.0, 60.0
# Seconds that a process has to end after its last state was written.
END_SECONDS = 10.0
STARTED, ERROR = "run ", "error: "


class Trainings:
    """The trainings of this server.

    Args:
        places: the folder of the runs, and the sources that may be trained on.
    """

    def __init__(self, places: Places):
        self._places = places
        self._processes: dict[Path, asyncio.subprocess.Process] = {}
        self._resuming: set[Path] = set()
        self._drains: list[asyncio.Task[None]] = []

    def running(self) -> list[str]:
        """The folders' names of the trainings that run here; may be called from any thread."""
        return [path.name for path, process in list(self._processes.items()) if process.returncode is None]

    async def start(self, recipe: str, changes: Any) -> RunFolder:
        """Start a packaged recipe with some keys changed; returns when the run has its folder.

        Raises:
            UserError: the recipe or a key is refused, here or by ``hrm train``.
        """
        if recipe not in recipe_names():
            raise RefusedError("recipe", f"{recipe!r:.60} is not a packaged recipe")
        return await self._train(recipe, "--out", str(self._places.root), *self._flags(changes))

    async def resume(self, run: RunFolder) -> RunFolder:
        """Go on with a run.

        Raises:
            UserError: ``hrm train`` refuses it, or the studio trains it already.
        """
        path = run.path.resolve()
        process = self._processes.get(path)
        is_on = process is not None and process.returncode is None
        if path in self._resuming or (is_on and run.status().get("state") in ("running", "validating")):
            raise RefusedError(run.run_id, "is training already", 409)
        self._resuming.add(path)
        try:
            if process is not None and is_on:  # It may have saved its state and not ended yet.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(END_SECONDS):
                        await process.wait()
                if process.returncode is None:
                    raise RefusedError(run.run_id, "is training already", 409)
            return await self._train("--resume", str(run.path))
        finally:
            self._resuming.remove(path)

    async def stop(self, run: RunFolder) -> None:
        """Ask a run to save and end.

        Raises:
            RefusedError: it was not started here.
        """
        process = self._processes.get(run.path.resolve())
        if process is None or process.returncode is not None:
            raise RefusedError(
                run.run_id, "was not started by this studio: end it where it was started, with Ctrl-C", 409
            )
        process.terminate()

    async def close(self) -> None:
        """End all trainings, with their state saved; one that does not end in time is killed."""
        waiting = [process for process in self._processes.values() if process.returncode is None]
        for process in waiting:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAVE_SECONDS):
                await asyncio.gather(*(process.wait() for process in waiting))
        self.kill()

    def kill(self) -> None:
        """End what still runs, at once."""
        for process in self._processes.values():
            if process.returncode is None:
                _kill(process)

    def _flags(self, changes: Any) -> list[str]:
        if not isinstance(changes, dict) or len(changes) > MOST_CHANGES:
            raise RefusedError("changes", f"{kind_of(changes)}, expected an object of at most {MOST_CHANGES} keys")
        return [f"--{key}={self._checked(str(key), value)}" for key, value in changes.items()]

    def _checked(self, key: str, value: Any) -> str:
        """The value of a key of a recipe as a flag has it."""
        if key == "data.solve":
            source = self._places.source(value)
            if source.partition(":")[0] not in GAMES and not source.startswith("arc-agi-"):
                source = str(Path(source).resolve()) if Path(source).exists() else source
            return json.dumps([source])
        text = str(value).strip().lower() if isinstance(value, str | int | float) else ""
        is_key = KEY.fullmatch(key) and ("." in key or key in PLAIN_KEYS)
        if not is_key or (key.startswith(CODE_OR_FILES) and not NUMBER.fullmatch(text)):
            raise RefusedError(f"{key!r:.60}", "cannot be set from the studio; use hrm train")
        if not NUMBER.fullmatch(text) and not WORD.fullmatch(text):
            raise RefusedError(key, f"{value!r:.60}, expected a number or a word")
        return text

    async def _train(self, *arguments: str) -> RunFolder:
        if len(self.running()) >= MOST_TRAININGS:
            raise RefusedError("training", f"{MOST_TRAININGS} runs train already; stop one first", 429)
        process = await asyncio.create_subprocess_exec(
            *HRM,
            "train",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        starting = Path(f"starting-{process.pid}")
        self._processes[starting] = process
        try:
            async with asyncio.timeout(START_SECONDS):
                folder = await _started(process)
        except Exception as error:  # Not the end of the server, where close() and kill() have to know this training.
            del self._processes[starting]
            if not isinstance(error, TimeoutError):
                raise
            _kill(process)
            raise ReportedError("hrm train", f"made no run within {START_SECONDS:.0f} seconds") from None
        del self._processes[starting]
        self._processes[folder.resolve()] = process
        # Its messages are in its train.log; a pipe that nobody reads would stop it.
        drains = (each for each in self._drains if not each.done())
        self._drains = [asyncio.create_task(_drain(process.stderr)), *drains]
        return RunFolder(folder)


async def _started(process: asyncio.subprocess.Process) -> Path:
    """The folder that a training has made, as it prints it.

    Raises:
        UserError: it ended with an error.
    """
    last = "it ended without a message"
    assert process.stderr is not None
    async for raw in process.stderr:
        line = raw.decode(errors="replace").strip()
        if line.startswith(STARTED):
            return Path(line.removeprefix(STARTED))
        if line.startswith(ERROR):
            last = line.removeprefix(ERROR)
    await process.wait()
    where, _, what = last.partition(": ")
    raise UserError(where if what else "hrm train", what or last)


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a training with the processes that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(4096):
        pass
