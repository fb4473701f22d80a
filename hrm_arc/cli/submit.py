"""Answer a competition's tasks within a time limit, offline: one command from a folder to submission.json.

  hrm submit arc-prize-2025/ --minutes 60            the test challenges of the competition's folder
  hrm submit my-tasks/ --minutes 5 --out mine.json   any folder or file of tasks

It begins with the weights that ship, unless told --model nothing, and learns from the demonstrations. A complete
submission is on disk from the first second on and gets better, so a kill loses nothing but time. Ctrl-C ends early and
answers with what was learned so far. Tasks with large canvases are left out of training where the time is short: their
answers are early ones, or guesses. Test outputs are not read, also where the folder has them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from hrm_arc.cli.show import add_json, alone, counted, emit, note
from hrm_arc.cli.signals import ending, handling
from hrm_arc.cli.solve import add_model, start_of
from hrm_arc.deploy.opening import is_exported
from hrm_arc.errors import UserError

LEAST_MINUTES, MOST_MINUTES = 1.0, 10_000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="competition's folder, or folder or file of tasks")
    parser.add_argument("--minutes", type=float, required=True, metavar="M", help="the time limit, at least 1")
    parser.add_argument(
        "--out", type=Path, default=Path("submission.json"), metavar="FILE", help="default: submission.json"
    )
    add_model(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, variants and votes (default 0)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of runs (default: runs)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    began = time.monotonic()
    if not LEAST_MINUTES <= options.minutes <= MOST_MINUTES:
        raise UserError("--minutes", f"{options.minutes:g}, expected {LEAST_MINUTES:g} to {MOST_MINUTES:,.0f}")
    alone("hrm submit")

    from hrm_arc.cli.progress import ConsoleProgress
    from hrm_arc.competition.submitting import Competition, challenge_of, inputs_of
    from hrm_arc.files import check_target

    start = start_of(options.model)
    if start is not None and is_exported(start):
        raise UserError("--model", "an exported file cannot be trained: give the run itself, or nothing")
    check_target(options.out)
    source = challenge_of(options.folder)
    if options.out.resolve() in map(Path.resolve, inputs_of(options.folder)):
        raise UserError("--out", f"{options.out} is one of the files to answer, which it would overwrite")
    with ConsoleProgress() as progress:
        work = Competition(
            source,
            options.out,
            options.runs,
            60 * options.minutes,
            began,
            start,
            options.seed,
            progress=lambda: [progress],
            note=note,
        )
        tests = sum(len(task.tests) for task in work.submission.tasks)
        note(f"{source}: {counted(len(work.submission.tasks), 'tasks')} with {counted(tests, 'test inputs')}")

        def stop() -> None:
            work.stop()
            note("answering with what was learned so far; once more to quit at once, with the last submission")

        with handling(ending(stop, lambda: work.stopping)):
            done = work.run()
    result = {
        "tasks": len(done.tasks),
        "test_inputs": tests,
        "trained_on": done.trained_on,
        "answered": done.answered,
        "path": str(done.path),
        "stopped": done.stopped,
        "seconds": round(time.monotonic() - began, 1),
    }
    emit(result, options.json, _human)
    if done.stopped:
        raise KeyboardInterrupt


def _human(result: dict[str, Any]) -> None:
    until = "until it was stopped" if result["stopped"] else "until the end"
    print(f"{result['trained_on']} of {counted(result['tasks'], 'tasks')} trained on {until}")
    guessed = result["test_inputs"] - result["answered"]
    rest = f", {guessed} guessed without a model" if guessed else ""
    print(f"{counted(result['answered'], 'test inputs')} answered by the model{rest}")
    print(f"{result['path']}: complete and checked, after {result['seconds']:.0f} s")
