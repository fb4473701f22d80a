"""Open the studio in a browser: runs live, tasks as pictures, an editor, and a model that thinks while you watch.

  hrm studio                            the runs in runs/; open the address that is printed
  hrm studio my-runs --port 8123        other runs, on a port of your own
  hrm studio --tasks my-tasks/          also show the tasks of a folder or file; can be given more than once
  hrm studio --model model.onnx         also choose an exported file; those in the folder of the runs are found
  hrm studio --host 0.0.0.0             for other machines; the address that is printed has a token, which they need

Views: Runs (curves that grow, runs overlaid, start, stop and resume), Tasks (thumbnails, by kind, size and what a
model solved), Editor (draw or change a task, try its test by hand), Think (the answer after each segment, votes as
they come in, both attempts; learn the task first if you like).

Only folders that this command names can be seen. Ctrl-C ends the studio; runs that it has started are saved first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hrm_arc.cli.show import alone, note
from hrm_arc.cli.signals import ending_signals
from hrm_arc.errors import UserError

PORT, LARGEST_PORT = 8061, 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root", metavar="RUNS", nargs="?", type=Path, default=Path("runs"), help="folder of the runs (default: runs)"
    )
    parser.add_argument("--port", type=int, default=PORT, metavar="P", help=f"port (default {PORT}; 0: any free one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine)")
    parser.add_argument("--tasks", action="append", default=[], metavar="SOURCE", help="show the tasks of this source")
    parser.add_argument(
        "--model", action="append", default=[], type=Path, metavar="FILE", help="exported file or checkpoint to choose"
    )
    parser.add_argument(
        "--job-memory", type=float, metavar="GB", help="the most memory of a model that thinks (default: no limit)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    # First, so that a missing package is named before anything else is checked.
    from hrm_arc.studio.serving import serve  # isort: skip
    from hrm_arc.puzzles.sources import load_tasks
    from hrm_arc.studio.places import Places, check_files

    alone("hrm studio")
    if not 0 <= options.port <= LARGEST_PORT:
        raise UserError("--port", f"{options.port}, expected 0 to {LARGEST_PORT}")
    if options.job_memory is not None and not options.job_memory > 0:
        raise UserError("--job-memory", f"{options.job_memory:g}, expected more than 0 gigabytes")
    if options.root.exists() and not options.root.is_dir():
        raise UserError(options.root, "is not a folder; expected the folder given to hrm train --out (default: runs)")
    check_files(options.model)
    for source in options.tasks:
        load_tasks(source)
    if not options.root.exists():
        note(f"{options.root}: there is no such folder yet; the first run that is started makes it")
    memory = None if options.job_memory is None else int(options.job_memory * 1e9)

    def ready(address: str) -> None:
        print(address, flush=True)
        note("open this address in a browser; Ctrl-C ends the studio")
        sys.stdout.flush()

    if serve(
        Places(options.root, options.tasks, options.model), options.host, options.port, memory, ready, ending_signals()
    ):
        raise KeyboardInterrupt
