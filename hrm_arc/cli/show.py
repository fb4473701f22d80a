"""What every verb prints with: progress to standard error, results to standard output."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from hrm_arc.errors import UserError
from hrm_arc.report.names import BASELINES

if TYPE_CHECKING:
    from hrm_arc.training.recorder import Tick


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def note(text: str) -> None:
    """A line for the person, kept out of what a program reads."""
    print(text, file=sys.stderr, flush=True)


def alone(verb: str) -> None:
    """Refuse a verb that several processes under torchrun would each do."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(verb, "is for one process; under torchrun there are hrm train and hrm eval")


def emit(result: dict[str, Any], as_json: bool, human: Callable[[dict[str, Any]], None]) -> None:
    """Print a result: as one JSON object, or through ``human``."""
    if as_json:
        print(json.dumps(result))
    else:
        human(result)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table; every column but the first is aligned to the right."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    first = max(len(row[0]) for row in [columns, *rows])
    for place, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if place else "left"
        drawn.add_column(column, justify=justify, no_wrap=not place, min_width=None if place else first)
    for row in rows:
        drawn.add_row(*row)
    # Names are names, brackets and all.
    Console(markup=False, emoji=False).print(drawn)


def baseline_rows(baselines: dict[str, dict[str, float]]) -> list[list[str]]:
    """Rows of name, exact and token accuracy."""
    return [
        [BASELINES[name], f"{values['exact_accuracy']:.2%}", f"{values['token_accuracy']:.2%}"]
        for name, values in baselines.items()
    ]


GROUP_COLUMNS = ["kind of task", "tasks", "solved, two attempts", "pass@2", "95% interval"]


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
    """Exact match first, then the log's metric beside its baselines."""

    def interval(name: str) -> str:
        low, high = scores["intervals"].get(name, (0.0, 0.0))
        return f"{low:.1%} to {high:.1%}"

    print(
        f"{scores['solved_pass2']} of {scores['test_outputs']} test outputs solved in two attempts"
        f" ({scores['solved_pass1']} in one), {scores['tasks']} tasks\n"
    )
    meanings = {
        "pass@2": "test outputs, two attempts (Kaggle)",
        "pass@1": "test outputs, one attempt",
        "pass@2_tasks_mean": "mean over tasks (HRM, TRM)",
        "pass@2_tasks_strict": "whole tasks (ARC-AGI-2)",
    }
    rows = [[f"{name}: {what}", f"{scores[name]:.1%}", interval(name)] for name, what in meanings.items()]
    table("exact match", ["", "score", "95% interval"], rows)
    print()
    model = [["this model, one pass, no votes", f"{scores['exact_accuracy']:.2%}", f"{scores['token_accuracy']:.2%}"]]
    table("beside answers that understand nothing", ACCURACY_COLUMNS, model + baseline_rows(scores["baselines"]))


@contextlib.contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A progress bar; call the result with how many things are done, of how many if that is news, and a note."""
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
        yield lambda done, of=total, note="": progress.update(bar, completed=done, total=of, note=note)


@contextlib.contextmanager
def training_progress() -> Iterator[Callable[[Tick], None]]:
    """A live bar in a terminal, and a line now and then where there is none."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _occasional_lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("training", total=1.0, figures="")

        def onlooker(tick: Tick) -> None:
            progress.update(bar, completed=tick.progress, figures=_figures(tick))

        yield onlooker


def _occasional_lines() -> Callable[[Tick], None]:
    shown = [-1.0]

    def onlooker(tick: Tick) -> None:
        if tick.progress >= shown[0] + 0.05 or tick.progress >= 1 > shown[0]:
            shown[0] = tick.progress
            note(f"training {tick.progress:4.0%}  {_figures(tick)}")

    return onlooker


def _figures(tick: Tick) -> str:
    left = int(tick.remaining)
    return (
        f"step {tick.step}  loss {tick.loss:.3f}  exact {tick.exact:.1%}"
        f"  {tick.rate:.0f} samples/s  {left // 60}:{left % 60:02d} left"
    )
