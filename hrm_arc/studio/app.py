"""The addresses of the studio, and what answers each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from hrm_arc import __version__
from hrm_arc.errors import ReportedError, printable
from hrm_arc.puzzles.html import PALETTE
from hrm_arc.puzzles.task import LONGEST_NAME, MAX_SIDE
from hrm_arc.studio import run_view
from hrm_arc.studio import tasks as task_view
from hrm_arc.studio.assets import MEDIA_TYPES, shell_of, static_files
from hrm_arc.studio.exchange import (
    HANDLERS,
    LARGEST_BODY,
    RefusedError,
    answered_at_the_end,
    number_of,
    read_object,
    reply,
    text_of,
    to_json,
    whole_of,
)
from hrm_arc.studio.jobs import MOST_SECONDS, MOST_VOTES, Jobs
from hrm_arc.studio.launching import Trainings
from hrm_arc.studio.live import Topic, changes_of, server_sent, until
from hrm_arc.studio.places import Places
from hrm_arc.studio.security import PICTURE_POLICY
from hrm_arc.training.packaged import recipe_names

# Runs that one page may show together.
MOST_TOGETHER = 6
# Seconds that the first view of the runs may take to read recipes; the rest of them follow.
FIRST_VIEW = 0.3
EVENTS = "text/event-stream"
# The last event of a job that the end of the server cuts off.
ENDING = {"event": "error", "where": "server", "what": "it ends; start hrm studio again"}


class Studio:
    """The server's parts and its answers.

    Args:
        places: what requests can name.
        memory: bytes that the process of a job may use; None: no limit.
    """

    def __init__(self, places: Places, memory: int | None = None):
        self.places = places
        self.jobs = Jobs(memory)
        self.trainings = Trainings(places)
        self.closing = asyncio.Event()
        self._list = Topic(lambda: self._rows(None), self.closing)
        self._runs: dict[tuple[str, ...], Topic] = {}
        self._files = static_files()
        self._shell = shell_of(sorted(self._files), __version__)

    def app(self) -> ASGIApp:
        """The application."""
        gets: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/": self.shell,
            "/static/{name}": self.static,
            "/api/about": self.about,
            "/api/runs": self.runs,
            "/api/runs/events": self.runs_events,
            "/api/run": self.run,
            "/api/run/events": self.run_events,
            "/api/run/range": self.run_range,
            "/report": self.report,
            "/report/{picture}": self.report_picture,
            "/api/models": self.models,
            "/api/tasks": self.tasks,
            "/api/task": self.task,
            "/api/solved": self.solved,
        }
        posts: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/api/runs/start": self.start,
            "/api/runs/resume": self.resume,
            "/api/runs/stop": self.stop,
            "/api/check": self.check,
            "/api/judge": self.judge,
            "/api/think": self.think,
            "/api/think/stop": self.stop_learning,
        }
        routes = [Route(path, answer, methods=["GET"]) for path, answer in gets.items()]
        routes += [Route(path, answer, methods=["POST"]) for path, answer in posts.items()]
        return answered_at_the_end(Starlette(routes=routes, exception_handlers=HANDLERS), self.closing)

    def warm(self) -> None:
        """Read what the first view needs, so that it need not wait for the disk."""
        with contextlib.suppress(ReportedError):
            self.places.rows(10.0)
            task_view.thumbnails(self.places.sources[0])

    async def shell(self, request: Request) -> Response:
        return Response(self._shell, media_type="text/html")

    async def static(self, request: Request) -> Response:
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        content, kind = found
        return Response(content, media_type=kind)

    async def about(self, request: Request) -> Response:
        return reply(
            {
                "version": __version__,
                "palette": PALETTE,
                "sources": self.places.sources,
                "recipes": recipe_names(),
                "root": str(self.places.root),
                "limits": {
                    "side": MAX_SIDE,
                    "pairs": task_view.MOST_PAIRS,
                    "body": LARGEST_BODY,
                    "name": LONGEST_NAME,
                    "votes": MOST_VOTES,
                    "seconds": MOST_SECONDS,
                    "together": MOST_TOGETHER,
                },
            }
        )

    async def runs(self, request: Request) -> Response:
        return reply(await asyncio.to_thread(self._rows, FIRST_VIEW))

    async def runs_events(self, request: Request) -> Response:
        return self._streamed(changes_of(self._list.contents()))

    async def run(self, request: Request) -> Response:
        runs = [self.places.run(key) for key in self._keys(request)]
        return reply(await asyncio.to_thread(run_view.facts, runs))

    async def run_events(self, request: Request) -> Response:
        keys = tuple(self._keys(request))
        runs = [self.places.run(key) for key in keys]
        topic = self._runs.get(keys)
        if topic is None:
            # Readers of runs that nobody looks at any more give their memory back.
            self._runs = {known: each for known, each in self._runs.items() if each.is_watched}
            together = run_view.Followers(runs, self.trainings.running)
            topic = self._runs[keys] = Topic(together.read, self.closing)
        return self._streamed(topic.contents())

    async def run_range(self, request: Request) -> Response:
        run = self.places.run(self._keys(request)[0])
        first, last = (whole_of(request, name) for name in ("first", "last"))
        return reply(await asyncio.to_thread(run_view.charts_between, run, first, last))

    async def report(self, request: Request) -> Response:
        folder = self._scored(request)
        address = f"run={self._keys(request)[0]}"
        page = await asyncio.to_thread(run_view.report_page, folder, address)
        return Response(page, media_type="text/html")

    async def report_picture(self, request: Request) -> Response:
        folder = self.places.run(self._keys(request)[0])
        picture = await asyncio.to_thread(run_view.report_picture, folder, request.path_params["picture"])
        if picture is None:
            raise HTTPException(404)
        return Response(picture, media_type=MEDIA_TYPES[".svg"], headers={"Content-Security-Policy": PICTURE_POLICY})

    async def models(self, request: Request) -> Response:
        found = await asyncio.to_thread(self.places.models)
        keys = ("key", "kind", "name", "has_weights", "scored")
        rows = [{key: getattr(model, key) for key in keys} for model in found]
        return reply([{**row, "name": printable(row["name"])} for row in rows])

    async def tasks(self, request: Request) -> Response:
        source = self.places.source(request.query_params.get("source"))
        return Response(
            await asyncio.to_thread(lambda: to_json(task_view.thumbnails(source))), media_type="application/json"
        )

    async def task(self, request: Request) -> Response:
        source = self.places.source(request.query_params.get("source"))
        name = request.query_params.get("task")
        return reply(await asyncio.to_thread(lambda: task_view.as_object(task_view.find(source, name))))

    async def solved(self, request: Request) -> Response:
        model = self.places.model(request.query_params.get("model"))
        return reply(await asyncio.to_thread(task_view.solved_by, model))

    async def start(self, request: Request) -> Response:
        data = await read_object(request)
        run = await self.trainings.start(text_of(data, "recipe"), data.get("changes", {}))
        return reply({"run": run.run_id})

    async def resume(self, request: Request) -> Response:
        run = self.places.run(text_of(await read_object(request), "run"))
        await self.trainings.resume(run)
        return reply({})

    async def stop(self, request: Request) -> Response:
        await self.trainings.stop(self.places.run(text_of(await read_object(request), "run")))
        return reply({})

    async def check(self, request: Request) -> Response:
        data = await read_object(request)
        name, text = text_of(data, "name"), text_of(data, "text", LARGEST_BODY)
        return reply(await asyncio.to_thread(task_view.check, name, text))

    async def judge(self, request: Request) -> Response:
        data = await read_object(request)
        return reply(task_view.judge(data.get("answer"), data.get("truth")))

    async def think(self, request: Request) -> Response:
        data = await read_object(request)
        task = await asyncio.to_thread(task_view.task_from, data.get("task"))
        model = await asyncio.to_thread(self.places.model, data.get("model"))
        if not model.has_weights:
            raise RefusedError("model", f"{model.name} has no checkpoint")
        votes = int(number_of(data, "votes", 1, MOST_VOTES, 16))
        seconds = number_of(data, "seconds", 0, MOST_SECONDS, 0)
        events = self.jobs.events(model, task, votes, seconds, int(number_of(data, "seed", 0, 2**31, 0)))
        # The first event, or the reason for which there is none.
        first = await anext(events)

        async def lines() -> AsyncIterator[bytes]:
            async with contextlib.aclosing(events):
                yield to_json(first) + b"\n"
                async for event in events:
                    yield to_json(event) + b"\n"

        return StreamingResponse(
            until(lines(), self.closing, to_json(ENDING) + b"\n"), media_type="application/x-ndjson"
        )

    async def stop_learning(self, request: Request) -> Response:
        await self.jobs.stop_learning(text_of(await read_object(request), "job"))
        return reply({})

    def _streamed(self, contents: AsyncIterator[bytes | None]) -> Response:
        # A stream waits for what changes, and would outlive the server.
        return StreamingResponse(until(server_sent(contents), self.closing), media_type=EVENTS)

    def _rows(self, seconds: float | None) -> dict[str, Any]:
        here = set(self.trainings.running())
        rows = self.places.rows(2.0 if seconds is None else seconds)
        return {key: run_view.list_row(row, here) for key, row in rows.items()}

    def _keys(self, request: Request) -> list[str]:
        keys = request.query_params.getlist("run")
        if not 1 <= len(keys) <= MOST_TOGETHER:
            raise RefusedError("run", f"{len(keys)} runs, expected 1 to {MOST_TOGETHER}")
        return keys

    def _scored(self, request: Request) -> Any:
        run = self.places.run(self._keys(request)[0])
        name = request.query_params.get("scores")
        found = next((each for each in task_view.scored_folders(run) if name in (None, each.path.name)), None)
        if found is None:
            raise RefusedError("scores", f"{run.run_id} is not scored there; hrm eval scores it", 404)
        return found
