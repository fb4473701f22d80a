"""What the verbs print with: results to standard output, progress and messages to standard error."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from hrm_arc.errors import UserError, printable
from hrm_arc.evaluation.sharing import check_torchrun
from hrm_arc.files import finite
from hrm_arc.report.names import BASELINES, metric_value

if TYPE_CHECKING:
    from rich.console import Console


def add_json(parser: argparse.ArgumentParser, is_inner: bool = False) -> None:
    """Add the flag ``--json``; a verb of a verb (``is_inner``) does not take back what stands before it."""
    default: Any = argparse.SUPPRESS if is_inner else False
    parser.add_argument("--json", action="store_true", default=default, help="print the result as one JSON object")


def note(text: str) -> None:
    """Print a line for people to standard error. A reader that went away does not end the work."""
    # The command's own streams do not raise (hrm_arc/cli/streams.py), but those of a program that calls it may.
    with contextlib.suppress(OSError, ValueError):
        print(printable(text), file=sys.stderr, flush=True)


def configure_logging() -> None:
    """Print the package's log messages from INFO on to standard error, in one line each; warnings are marked."""
    log = logging.getLogger("hrm_arc")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, _Lines) for handler in log.handlers):
        log.addHandler(_Lines())


class _Lines(logging.Handler):
    """Prints ``message``, or ``warning: message`` from level WARNING on."""

    def emit(self, record: logging.LogRecord) -> None:
        mark = "warning: " if record.levelno >= logging.WARNING else ""
        # Standard error is looked up for every message, because a live progress bar replaces it.
        note(f"{mark}{record.getMessage()}")


def alone(verb: str) -> None:
    """Refuse a verb that is started as several processes under torchrun.

    Raises:
        UserError: there is more than one process, or torchrun's variables have no meaning.
    """
    check_torchrun()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(verb, "runs in one process only; under torchrun use hrm train or hrm eval")


def emit(result: dict[str, Any], as_json: bool, human: Callable[[dict[str, Any]], None]) -> None:
    """Print a result: as one JSON object, or with ``human``, whose texts have no control characters then."""
    if as_json:
        print(json.dumps(finite(result), allow_nan=False))
    else:
        human(_printable_texts(result))


def _printable_texts(value: Any) -> Any:
    """Plain data with every text in it made printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_printable_texts(key): _printable_texts(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_printable_texts(each) for each in value]
    return value


def counted(number: int, things: str) -> str:
    """A number of things: ``1 run``, ``1,200 runs``; ``things`` is a plural that ends in s."""
    return f"{number:,} {things if number != 1 else things[:-1]}"


# Columns of output that is no terminal's.
UNLIMITED = 10_000
# In fewer columns a table is nothing but dots.
NARROWEST = 20
# In fewer columns a table that does not fit is printed as paragraphs.
NARROW = 72


def result_console() -> Console:
    """A console of rich for standard output, in which brackets and colons are not markup.

    A file or a program that reads gets whole lines; only a terminal has a width, and who sets COLUMNS wants one. A
    number of columns in which nothing can be shown is as good as none.
    """
    from rich.console import Console

    environment, width = dict(os.environ), None
    columns = environment.get("COLUMNS", "")
    if not (columns.isdecimal() and int(columns) >= NARROWEST):
        environment.pop("COLUMNS", None)
        width = None if sys.stdout.isatty() else UNLIMITED
    return Console(markup=False, emoji=False, width=width, _environ=environment)


def has_blocks(console: Console) -> bool:
    """Whether grids are drawn as half blocks in color, which need both; digits do not."""
    return console.color_system is not None and not console.no_color and console.encoding.startswith("utf")


def table(title: str, columns: list[str], rows: list[list[str]], last_left: bool = False) -> None:
    """Print a table; all columns but the first are aligned to the right, the last one only without ``last_left``.

    In a narrow terminal that has no room for it each row becomes a paragraph.
    """
    from rich.measure import Measurement
    from rich.table import Table

    title, columns = printable(title), [printable(column) for column in columns]
    rows = [[printable(cell) for cell in row] for row in rows]
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    first = max(len(row[0]) for row in [columns, *rows])
    for place, column in enumerate(columns):
        to_left = not place or (last_left and place == len(columns) - 1)
        justify: Literal["left", "right"] = "left" if to_left else "right"
        drawn.add_column(column, justify=justify, no_wrap=not place, min_width=None if place else first)
    for row in rows:
        drawn.add_row(*row)
    # Names may have brackets, which are not markup.
    console = result_console()
    needed = Measurement.get(console, console.options.update(width=UNLIMITED), drawn).maximum
    if console.width < min(NARROW, needed):
        print(title)
        for name, *cells in rows:
            named = (f"{column}: {cell}".removeprefix(": ") for column, cell in zip(columns[1:], cells, strict=True))
            print(name, textwrap.indent(textwrap.fill(", ".join(named), console.width - 2), "  "), sep="\n")
    else:
        console.print(drawn)


def baseline_rows(baselines: dict[str, dict[str, float]]) -> list[list[str]]:
    """Rows of ``ACCURACY_COLUMNS``, one for each baseline."""
    return [
        [BASELINES[name], f"{values['exact_accuracy']:.2%}", f"{values['token_accuracy']:.2%}"]
        for name, values in baselines.items()
    ]


GROUP_COLUMNS = ["group", "tasks", "solved, two attempts", "pass@2", "95% interval"]


def group_rows(groups: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of ``GROUP_COLUMNS``."""
    return [
        [
            *(row["group"], str(row["tasks"]), f"{row['solved']} of {row['test_outputs']}"),
            *(f"{row['pass@2']:.0%}", f"{row['interval'][0]:.0%} to {row['interval'][1]:.0%}"),
        ]
        for row in groups
    ]


ACCURACY_COLUMNS = ["", "grids exactly right", "token accuracy (900 cells, padding included)"]


def print_scores(scores: dict[str, Any]) -> None:
    """Print the headline metrics with their intervals, then the accuracies of one pass beside the baselines.

    Args:
        scores: as in scores.json, of at least one test output.
    """
    print(
        f"{scores['solved_pass2']} of {counted(scores['test_outputs'], 'test outputs')} solved in two attempts"
        f" ({scores['solved_pass1']} in one), {counted(scores['tasks'], 'tasks')}\n"
    )
    rows = []
    for metric in scores["metrics"]:
        if metric["headline"]:
            # Without a known value there is no interval.
            span = " to ".join(metric_value(metric, bound) for bound in scores["intervals"].get(metric["name"], ()))
            rows.append([metric["name"], metric_value(metric, scores[metric["name"]]), span, metric["title"]])
    table("scores", ["", "value", "95% interval", "counts"], rows, last_left=True)
    print()
    answers = "the first attempts" if scores.get("from_submission") else "this model, one pass, no votes"
    model = [[answers, f"{scores['exact_accuracy']:.2%}", f"{scores['token_accuracy']:.2%}"]]
    table("beside baselines that have learned nothing", ACCURACY_COLUMNS, model + baseline_rows(scores["baselines"]))
    for game in scores.get("games", ()):
        _print_game(game)


SOLVERS = {
    "copy": "copy of the board",
    "without_search": "a solver without search",
    "shortest_path": "breadth-first search, a check of the data",
}


def _print_game(game: dict[str, Any]) -> None:
    """Print the scores of one game's boards, as in scores.json, beside its baselines and by difficulty."""

    def count(part: dict[str, Any], key: str) -> str:
        known = part[key] is not None
        return f"{part[key]} of {part['boards']}" if known else "not known"

    def row(name: str, part: dict[str, Any]) -> list[str]:
        span = " to ".join(f"{bound:.1%}" for bound in part["intervals"]["exact"] or ())
        cells = "not known" if part["cells"] is None else f"{part['cells']:.2%}"
        return [name, count(part, "exact"), span, count(part, "valid"), cells]

    print()
    columns = ["", "exactly right", "95% interval", "solved by rule", "open cells right"]
    rows = [row("this model, first attempt", game)]
    rows += [row(SOLVERS[name], part) for name, part in game["baselines"].items()]
    table(f"boards of {game['task']}", columns, rows)
    print()
    rows = [
        [
            f"{group['from']}" if group["from"] == group["to"] else f"{group['from']} to {group['to']}",
            *(count(group, "exact"), count(group, "valid")),
            "not known" if group["mean_segments"] is None else f"{group['mean_segments']:.2f}",
        ]
        for group in game["groups"]
    ]
    table(f"by {game['difficulty']}", ["", "exactly right", "solved by rule", "mean segments"], rows)


# Without a terminal, seconds between two lines about long work.
LINE_SECONDS = 30.0


@contextlib.contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error, or now and then a line if it is not a terminal.

    Call the result with the number done, a new total if it changed, and a remark.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=total, note="")
        last = time.monotonic()

        def show(done: int, of: int | None = total, remark: str = "") -> None:
            nonlocal last
            progress.update(bar, completed=done, total=of, note=remark)
            if not console.is_terminal and time.monotonic() - last >= LINE_SECONDS:
                last = time.monotonic()
                note(f"{what}: {done:,}" + (f" of {of:,}" if of else "") + (f", {remark}" if remark else ""))

        yield show
