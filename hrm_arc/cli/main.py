"""Parse the command line, run a verb, and turn every mistake into one line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Container, Sequence
from types import FrameType
from typing import Any, NoReturn

from hrm_arc.cli import (
    analyze,
    audit,
    bench,
    data,
    evaluate,
    export,
    import_,
    quickstart,
    report,
    runs,
    solve,
    train,
    validate,
    watch,
)
from hrm_arc.errors import ReportedError, UserError

DESCRIPTION = """\
Train, score, understand and ship small recursive reasoning models on grid puzzles.

first steps:
  hrm quickstart              train and score a small model on real ARC tasks, in minutes
  hrm data show 0d3d703e      look at a task
  hrm train RECIPE            train; recipes lie in recipes/
  hrm watch                   look at the newest run while it trains
  hrm eval RUN                score a run exactly, with baselines beside every figure
  hrm audit RUN               is that accuracy better than the empty answer?
  hrm solve TASK.json         learn one task's demonstrations, and answer its tests
"""

VERBS = {
    "quickstart": (quickstart, "train a small model on real ARC tasks here, score it, write a report page"),
    "data": (data, "list sources, show a task, count and check a training set"),
    "train": (train, "run a recipe"),
    "watch": (watch, "look at a run while it trains"),
    "runs": (runs, "list runs with their states and scores"),
    "eval": (evaluate, "score a run or checkpoint exactly, with baselines"),
    "solve": (solve, "solve a task that nobody trained on"),
    "analyze": (analyze, "which kinds of task a run fails on, and how; the report page"),
    "report": (report, "the page of a run, or of two side by side"),
    "export": (export, "write a run's model as one ONNX file that answers without torch"),
    "validate": (validate, "score a model on a test split, here or on a small machine, for days if need be"),
    "import": (import_, "turn a published HRM or TRM checkpoint into one of ours"),
    "bench": (bench, "run a benchmark of the repository and print its table"),
    "audit": (audit, "hold an accuracy against the empty answer"),
}


# Which of the package's extras brings what may be missing.
EXTRAS = {
    **dict.fromkeys(("torch", "lightning_fabric", "jsonargparse"), "train"),
    **dict.fromkeys(("onnx", "onnxscript"), "export"),
    "onnxruntime": "edge",
    "playwright": "dev",
}


class Parser(argparse.ArgumentParser):
    """argparse, with errors in this project's form, and keys of a recipe that keep their values."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse; but the value behind a key that it does not know is no recipe's name."""
        if args is not None and self.get_default("takes_keys"):
            args = _with_values(args, self._option_string_actions)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UserError(self.prog, message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    0 done; 1 what nobody is to blame for, and 2 the user's mistake, both told in one line; 130 interrupted,
    with the state saved.
    """
    parser = _parser()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        options, rest = parser.parse_known_args(arguments)
        if not hasattr(options, "run"):
            parser.print_help()
            return 0
        if rest and not getattr(options, "takes_rest", False):
            raise UserError(rest[0], f"{options.verb} has no such argument; see hrm {options.verb} --help")
        options.rest = rest
        options.run(options)
        return 0
    except ReportedError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        print(f"error: {error.name}: not installed here: pip install 'hrm-arc[{extra}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe went away; keep the interpreter from complaining about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
    """The arguments with ``--key value`` as ``--key=value``, where the key is not among the known ones."""
    joined: list[str] = []
    for argument in arguments:
        before = joined[-1] if joined else ""
        if before.startswith("--") and "=" not in before and before not in known and not argument.startswith("--"):
            joined[-1] = f"{before}={argument}"
        else:
            joined.append(argument)
    return joined


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def entry() -> NoReturn:
    """The ``hrm`` command."""
    sys.exit(main())
