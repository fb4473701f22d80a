"""Parse the command line, run a verb, and report every mistake in one line."""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
from collections.abc import Container, Sequence
from typing import Any, NoReturn

from hrm_arc.checks import LARGEST_SEED
from hrm_arc.cli import (
    analyze,
    audit,
    bench,
    data,
    doctor,
    evaluate,
    export,
    import_,
    quickstart,
    report,
    runs,
    solve,
    studio,
    submit,
    train,
    validate,
    watch,
    weights,
)
from hrm_arc.cli.show import configure_logging, note
from hrm_arc.cli.signals import end_at_once, interrupt_on_signals
from hrm_arc.cli.streams import Streams
from hrm_arc.errors import ReportedError, UserError, is_out_of_memory, not_installed

DESCRIPTION = """\
Train, score, understand and ship small recursive reasoning models on grid puzzles.

first steps:
  hrm quickstart              train and score a small model on real ARC tasks, in minutes
  hrm data show 0d3d703e      look at a task
  hrm train RECIPE            train; recipes are in recipes/
  hrm watch                   view the newest run while it trains
  hrm eval RUN                score a run: exact match, intervals, baselines
  hrm audit RUN               is that accuracy better than an empty answer?
  hrm solve TASK.json         learn one task's demonstrations, and answer its tests
"""

VERBS = {
    "quickstart": (quickstart, "train a small model on real ARC tasks, score it, write a report page"),
    "data": (data, "list sources, show a task, count, check and write a training set"),
    "train": (train, "train a recipe"),
    "watch": (watch, "view a run while it trains"),
    "studio": (studio, "open the studio in a browser: runs live, tasks, an editor, a model thinking"),
    "runs": (runs, "list runs with their states and scores"),
    "eval": (evaluate, "score a run or checkpoint: exact match, intervals, baselines"),
    "solve": (solve, "solve a task that no run was trained on"),
    "submit": (submit, "answer a competition's folder within a time limit"),
    "analyze": (analyze, "which kinds of task a run fails on, and how; writes the report page"),
    "report": (report, "write the page of a run, or of two runs side by side"),
    "export": (export, "export a run's model as one ONNX file that runs without torch"),
    "validate": (validate, "score a model on a test split, here or on a small machine; resumable"),
    "import": (import_, "convert a published HRM or TRM checkpoint"),
    "weights": (weights, "list the trained weights that ship, save and share those of a run"),
    "bench": (bench, "run a benchmark of the repository and print its table"),
    "doctor": (doctor, "what this machine has, how fast it is, and what the program chooses"),
    "audit": (audit, "compare an accuracy with the score of an empty answer"),
}


# Letters of an error's place and of its message, which may repeat a value of any length.
LONGEST_PLACE, LONGEST_MESSAGE = 300, 2000
# What no other input would change: no space, a broken disk, no more memory, processes, threads or open files.
SHORTAGES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)
# The largest whole number that a flag takes, seeds excepted.
LARGEST_NUMBER = 2**31 - 1


class Parser(argparse.ArgumentParser):
    """argparse with errors in this project's form, and dotted keys of a recipe that keep their values."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse; but the value of an unknown ``--key`` is not taken for a positional argument."""
        if args is not None and self.get_default("takes_keys"):
            args = _with_values(args, self._option_string_actions)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UserError(self.prog, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0: done. 2: a mistake of the user's; 1: any other failure; both are reported in one line. 130: interrupted, with
    the state saved.
    """
    configure_logging()
    # Pictures go into files; a notebook sets a backend that a program beside it may not have.
    os.environ["MPLBACKEND"] = "agg"
    try:
        interrupt_on_signals()
        parser = _parser()
        options, rest = parser.parse_known_args(arguments)
        if not hasattr(options, "run"):
            parser.print_help()
            return 0
        if rest and not getattr(options, "takes_rest", False):
            raise UserError(rest[0], f"{options.verb} has no such argument; see hrm {options.verb} --help")
        _check_numbers(options)
        options.rest = rest
        options.run(options)
        return 0
    except ReportedError as error:
        note(f"error: {_cut(error.where, LONGEST_PLACE)}: {_cut(error.what, LONGEST_MESSAGE)}")
        return error.status
    except ModuleNotFoundError as error:
        missing = not_installed(error)
        if missing is None:
            raise
        note(f"error: {missing}")
        return missing.status
    except OSError as error:
        # A file that is absent, forbidden or has too long a name, which no verb foresaw; or the machine as a whole.
        is_shortage = error.errno in SHORTAGES
        if error.filename is None and not is_shortage:
            raise
        where = "this machine" if error.filename is None else str(error.filename)
        note(f"error: {_cut(where, LONGEST_PLACE)}: {error.strerror}")
        return 1 if is_shortage else 2
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        note(f"error: memory: not enough for this on this machine: {_cut(str(error), LONGEST_MESSAGE)}".rstrip(": "))
        return 1
    except KeyboardInterrupt:
        end_at_once()
        note("interrupted")
        return 130


def _check_numbers(options: argparse.Namespace) -> None:
    """Check that numbers can be computed with; what each verb expects it checks itself.

    Raises:
        UserError: naming the flag.
    """
    for name, value in vars(options).items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(flag, f"{value}, expected a finite number")
        if name == "seed" and not 0 <= value <= LARGEST_SEED:
            raise UserError(flag, f"{_short(value)}, expected 0 to {LARGEST_SEED}")
        if name != "seed" and isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            raise UserError(flag, f"{_short(value)}, expected at most {LARGEST_NUMBER}")


def _cut(text: str, longest: int) -> str:
    """A text, without its middle if it is long."""
    return text if len(text) <= longest else f"{text[: longest // 2]} ... {text[-longest // 2 :]}"


def _short(value: int) -> str:
    """A number of at most 24 digits, or how long it is."""
    return str(value) if abs(value) < 10**24 else f"a number of {len(str(abs(value)))} digits"


def _parser() -> Parser:
    from hrm_arc import __version__

    parser = Parser(prog="hrm", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"hrm-arc {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for name, (module, help) in VERBS.items():
        verb = verbs.add_parser(
            name,
            help=help,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=name not in ("train", "bench"),
            allow_abbrev=False,
        )
        module.add_arguments(verb)
    return parser


def _with_values(arguments: Sequence[str], known: Container[str]) -> list[str]:
    """The arguments with ``--key value`` joined to ``--key=value`` for every unknown key."""
    joined: list[str] = []
    for argument in arguments:
        before = joined[-1] if joined else ""
        is_key = before.startswith("--") and before != "--" and "=" not in before and before not in known
        if is_key and not argument.startswith("--"):
            joined[-1] = f"{before}={argument}"
        else:
            joined.append(argument)
    return joined


def entry() -> NoReturn:
    """The ``hrm`` command."""
    streams = Streams()
    try:
        status = main()
    except SystemExit as end:  # --help and --version.
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if status == 1 and not isinstance(end.code, int):
            note(f"error: {_cut(str(end.code), LONGEST_MESSAGE)}")
    end_at_once()
    status = streams.finish(status)
    if status in (1, 2) and os.environ.get("WORLD_SIZE", "1") != "1":
        # In order, this process would wait for others that wait for it, and torchrun would not learn that it failed.
        os._exit(status)
    sys.exit(status)
