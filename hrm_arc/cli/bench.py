"""Run a benchmark and print its table. Benchmarks are in the repository's benchmarks/ folder.

hrm bench                  list them
hrm bench data             run one; each has its own --help
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from hrm_arc.cli.show import note, table
from hrm_arc.errors import UserError

PICTURES = (".png", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="name of the benchmark")
    parser.add_argument("-h", "--help", action="store_true", help="show this help, or that of a benchmark")
    parser.set_defaults(run=run, takes_rest=True)


def run(options: argparse.Namespace) -> None:
    if options.name is None:
        if options.rest not in ([], ["--json"]):
            raise UserError(options.rest[0], "expected the name of a benchmark; hrm bench lists them")
        if options.rest:
            print(json.dumps({"benchmarks": [{"name": name, "what": what} for name, what in _known()]}))
            return
        print(__doc__)
        table("benchmarks", ["name", "what"], [[name, what] for name, what in _known()], last_left=True)
        return
    module = _load(options.name)
    parser = argparse.ArgumentParser(
        prog=f"hrm bench {options.name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_on_error=False,
    )
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON object")
    if hasattr(module, "draw"):
        parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the rows, as PNG or SVG")
    if options.help:
        parser.print_help()
        return
    try:
        chosen, rest = parser.parse_known_args(options.rest)
    except argparse.ArgumentError as error:
        raise UserError(f"hrm bench {options.name}", str(error)) from None
    if rest:
        raise UserError(rest[0], f"bench {options.name} has no such argument; see hrm bench {options.name} --help")
    plot = getattr(chosen, "plot", None)
    if plot is not None and (plot.suffix not in PICTURES or not plot.parent.is_dir()):
        raise UserError("--plot", f"{plot}, expected a {' or '.join(PICTURES)} in an existing folder")
    rows: list[dict[str, Any]] = []
    try:
        with _messages_only() if chosen.json else contextlib.nullcontext():
            _collect(rows, module.measure(chosen), live=not chosen.json)
    finally:
        # Also when it is stopped: the rows so far.
        if chosen.json:
            print(json.dumps({"benchmark": options.name, "rows": rows}))
    if plot is not None:
        module.draw(rows, plot)
        note(f"wrote {plot}")


def _collect(rows: list[dict[str, Any]], measured: Iterable[dict[str, Any]], live: bool) -> None:
    """Collect rows; with ``live`` print each as a row of a Markdown table."""
    for row in measured:
        # Keys that begin with _, such as the points of a curve, are not columns.
        cells = {key: value for key, value in row.items() if not key.startswith("_")}
        if live and not rows:
            print("| " + " | ".join(cells) + " |")
            print("|" + "---|" * len(cells))
        if live:
            columns = [key for key in (rows or [row])[0] if not key.startswith("_")]
            assert cells.keys() <= set(columns), "the first row has every column"
            print("| " + " | ".join(str(cells.get(name, "")) for name in columns) + " |", flush=True)
        rows.append(row)


@contextlib.contextmanager
def _messages_only() -> Iterator[None]:
    """Send what a benchmark, its libraries and its processes print to standard error."""
    sys.stdout.flush()
    former = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(former, 1)
        os.close(former)


def _known() -> list[tuple[str, str]]:
    """The names of all benchmarks, and what each measures."""
    known = []
    for file in sorted(_folder().glob("*.py")):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        if not file.name.startswith("_"):
            known.append((file.stem, " ".join(text.split("\n\n")[0].split())))
    return known


def _load(name: str) -> ModuleType:
    folder = _folder()
    if name not in dict(_known()):
        raise UserError(name, f"no such benchmark, expected one of {', '.join(known for known, _ in _known())}")
    if str(folder.parent) not in sys.path:
        sys.path.insert(0, str(folder.parent))
    return importlib.import_module(f"benchmarks.{name}")


def _folder() -> Path:
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    if not folder.is_dir():
        raise UserError("hrm bench", "benchmarks come with a checkout of the repository, not with the package")
    return folder
