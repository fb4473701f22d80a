"""Show a run live: progress, loss, accuracies beside the baselines, gradient norm, learning rate, halting,
speed, time left, memory, GPUs, last checkpoint. Without RUN: the newest run. Ctrl-C ends the view, not the run.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from hrm_arc.cli.show import note, result_console
from hrm_arc.cli.signals import TerminatedError
from hrm_arc.errors import UserError

# Seconds between two updates.
LONGEST_WAIT = 86_400
# Columns of a view that is written to a file or a pipe.
WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="RUN", nargs="?", type=Path, help="run folder (default: the newest run)")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="folder of the run folders (default: runs)")
    parser.add_argument("--once", action="store_true", help="print the view once and exit")
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between updates (default 1)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from rich.live import Live

    from hrm_arc.report.listing import newest_run, state_of
    from hrm_arc.report.watch import MetricsFollower, live_view
    from hrm_arc.runs.folder import RunFolder

    if not 0 < options.every <= LONGEST_WAIT:
        raise UserError("--every", f"{options.every:g}, expected more than 0 and at most {LONGEST_WAIT} seconds")
    folder = RunFolder(options.path) if options.path else newest_run(options.root)
    metrics = MetricsFollower(folder.metrics_file)
    view, console = live_view(folder, metrics), result_console()
    if options.once or not sys.stdout.isatty():
        # The view is a frame, which would be as wide as its console.
        console.print(view, width=min(console.width, WIDTH))
        return
    if console.is_dumb_terminal:
        # It has no screen to draw anew.
        console.print(view)
        note("this terminal cannot redraw a view; the same command shows the run as it is then")
        return
    try:
        # On a screen of its own, which is drawn anew each time: a terminal that gets narrower wraps the lines of an
        # earlier view, and a view that moves the cursor up by its own height leaves some of them.
        with Live(view, console=console, auto_refresh=False, screen=True) as live:
            # A run that has just started has no status yet.
            while state_of(folder.status()) in ("running", "validating", "unknown"):
                time.sleep(options.every)
                live.update(live_view(folder, metrics), refresh=True)
    except TerminatedError:
        raise
    except KeyboardInterrupt:
        pass  # Ctrl-C is how a view is closed.
    # The last view stays in the terminal. The run may have ended after the one before.
    console.print(live_view(folder, metrics))
