"""Damaged files: every file of a run and of an export, damaged in every way, given to every command.

Each case copies a small run, damages one file, and runs one command on it in a process of its own. Counted are
tracebacks, commands that take longer than the limit, files outside the run that were touched, and numbers that differ
from those of the undamaged run without a message. A command that is too slow beside others is run again alone before
it counts. Ctrl-C prints the table of what was done.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks._corrupt import EXPORT_FILES, RUN_FILES, cases_of, shown
from benchmarks._corrupt_runner import Bench, Outcome, cores
from hrm_arc.cli.show import counting, note
from hrm_arc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=float, default=5.0, metavar="S", help="longest time of a command (default 5)")
    parser.add_argument("--only", nargs="+", metavar="FILE", help="only these files")
    parser.add_argument("--jobs", type=int, metavar="N", help="cases at a time (default: one for each core)")
    parser.add_argument("--verbose", action="store_true", help="name every case that went wrong")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    known = {shown(file): file for file in (*RUN_FILES, *EXPORT_FILES)}
    chosen = options.only or list(known)
    for name in chosen:
        if name not in known:
            raise UserError("--only", f"{name}, expected some of {', '.join(known)}")
    if options.jobs is not None and options.jobs < 1:
        raise UserError("--jobs", f"{options.jobs}, expected at least 1")
    count = sum(len(cases_of(known[name])) for name in chosen)
    total = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.limit, options.jobs or cores())
        for name in chosen:
            outcome = Outcome()
            try:
                # Nothing is printed while the bar is drawn.
                with counting("cases", count) as progress:
                    bench.run(cases_of(known[name]), outcome, _further(progress, total.cases, name))
            except KeyboardInterrupt:
                yield _row(f"{name} (stopped)", outcome, options.verbose)
                total.add(outcome)
                yield _row("all (stopped)", total, False)
                raise
            total.add(outcome)
            yield _row(name, outcome, options.verbose)
    yield _row("all", total, False)


def _further(progress: Callable[..., None], before: int, name: str) -> Callable[[int], None]:
    """Count on after cases that were done before."""
    return lambda done: progress(before + done, note=name)


def _row(name: str, outcome: Outcome, verbose: bool) -> dict[str, Any]:
    if verbose:
        for kind in ("tracebacks", "hangs", "outside", "silent"):
            for case in getattr(outcome, kind):
                note(f"{kind}: {case}")
    return {
        "file": name,
        "cases": outcome.cases,
        "tracebacks": len(outcome.tracebacks),
        "over the time limit": len(outcome.hangs),
        "files touched outside": len(outcome.outside),
        "numbers changed without a message": len(outcome.silent),
        "slowest command": f"{outcome.slowest:.1f} s",
    }
