"""Check puzzle files. Each problem is printed on one line: the file, the place in it, what is wrong
and what is expected. Files are only read.

With --against, also list the tasks that are in another source, even if they are rotated,
reflected or recolored, or their pairs are in another order.
  hrm data check my-tasks/ --against arc-agi-1/evaluation
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from hrm_arc.cli.data_build import count_boards, said_boards
from hrm_arc.cli.show import add_json, counted, emit, note
from hrm_arc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="+", metavar="PATH", help="files, folders or sources to check")
    parser.add_argument("--against", metavar="OTHER", help="the source to compare the tasks with")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.puzzles.check import check
    from hrm_arc.puzzles.leaks import shared
    from hrm_arc.puzzles.sources import load_tasks

    found = check(options.path)
    result: dict[str, Any] = {
        "files": found.files,
        "tasks": found.in_source,
        **count_boards(found.tasks),
        "tasks_beside": len(found.tasks) - found.in_source,
        "problems": [{"file": str(file), "place": p.place, "what": p.what} for file, p in found.problems],
    }
    if options.against:
        others = load_tasks(options.against)
        rows = shared(found.tasks, others)
        result |= {
            "against": options.against,
            "shared": [{**row.__dict__, "what": str(row)} for row in rows],
            "shared_tasks": len({row.task for row in rows}),
            "shared_others": len({row.other for row in rows}),
            "compared": len(found.tasks),
        }
    emit(result, options.json, _human)
    if found.problems:
        sys.stdout.flush()
        files = len({file for file, _ in found.problems})
        what = f"{counted(len(found.problems), 'problems')} in {files} of {counted(found.files, 'files')}"
        raise UserError(", ".join(options.path), what)


def _human(result: dict[str, Any]) -> None:
    for problem in result["problems"]:
        print(": ".join(part for part in (problem["file"], problem["place"], problem["what"]) if part))
    for row in result.get("shared", []):
        print(row["what"])
    if "shared" in result:
        found = f"{result['shared_tasks']} of {counted(result['compared'], 'tasks')}"
        print(f"shared with {result['against']}: {found}, and {counted(result['shared_others'], 'tasks')} there")
    if not result["problems"]:
        beside = f" and {result['tasks_beside']} in files beside them" if result["tasks_beside"] else ""
        boards = f" with {said_boards(result)}" if result["train_boards"] else ""
        tasks = f"{counted(result['tasks'], 'tasks')}{boards}{beside}"
        note(f"{counted(result['files'], 'files')}, {tasks}, no problems")
