"""List and show puzzles, count the samples of a training set, write a training set to files, check puzzle files.

sources: arc-agi-1, arc-agi-2 (alone, or with /training or /evaluation), sudoku-9x9, maze-11x11,
the name of a task, a folder of task files, ConceptARC's folder of folders, Kaggle's challenges, a
file of tasks, boards in CSV, a published .npy folder, hub:NAME, or a function package.module:function.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hrm_arc.cli import data_build, data_check
from hrm_arc.cli.show import (
    ACCURACY_COLUMNS,
    add_json,
    baseline_rows,
    counted,
    emit,
    has_blocks,
    note,
    result_console,
    table,
)
from hrm_arc.errors import UserError

BOARDS_SHOWN = 3
PARTS = (("train", "training"), ("test", "test"))
# Test samples on which baselines are computed: those of arc-aug-1000. Of more, an evenly spaced part is taken.
MOST_SCORED = 500_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="data_verb", metavar="VERB", required=True)

    listing = verbs.add_parser("list", help="list the built-in sources, or the tasks of a source", allow_abbrev=False)
    listing.add_argument(
        "source", nargs="?", help="the source whose tasks are listed (default: list the built-in sources)"
    )
    add_json(listing)
    listing.set_defaults(run=_list)

    show = verbs.add_parser("show", help="show a task in the terminal, or save it as a PNG file", allow_abbrev=False)
    show.add_argument("task", help="the name of a task, such as 0d3d703e, a task file, or a game such as maze-11x11")
    show.add_argument("--answers", action="store_true", help="also show the test outputs")
    show.add_argument("--png", type=Path, metavar="FILE", help="save the task as this PNG file")
    show.set_defaults(run=_show)

    info = verbs.add_parser(
        "info",
        help="count the samples of a training set such as arc-aug-500, and score the baselines on it",
        description="Count the samples of a training set and score the baselines on its test samples."
        " The training split of a source is studied, with its test pairs; its evaluation split is to be solved.",
        allow_abbrev=False,
    )
    data_build.add_set_arguments(info)
    add_json(info)
    info.set_defaults(run=_info)

    build = verbs.add_parser(
        "build",
        help="write a training set to .npy files, in the layout of the published HRM and TRM",
        description=data_build.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    data_build.add_arguments(build)

    check = verbs.add_parser(
        "check",
        help="list every problem of puzzle files, and the tasks that are also in another source",
        description=data_check.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    data_check.add_arguments(check)


def _list(options: argparse.Namespace) -> None:
    from hrm_arc.puzzles import re_arc
    from hrm_arc.puzzles.boards import GAMES
    from hrm_arc.puzzles.paths import SPLITS
    from hrm_arc.puzzles.sources import BOARDS, BUILT_IN, HELD_OUT_BOARDS, load_tasks

    if options.source:
        columns = ["task", "group", "demonstrations", "tests"]
        found = [(t.id, t.group, len(t.demonstrations), len(t.tests)) for t in load_tasks(options.source)]
        _list_rows("tasks", options.source, columns, found, options.json)
        return
    columns = ["source", "tasks", "test outputs"]
    splits = {f"{name}/{split}": load_tasks(f"{name}/{split}") for name in BUILT_IN for split in SPLITS}
    counted = [(name, len(tasks), sum(len(task.tests) for task in tasks)) for name, tasks in splits.items()]
    games = [{"source": name, "boards": f"{BOARDS} unless {name}:N says N"} for name in GAMES]
    games += [
        {"source": f"{name}/test", "boards": f"{HELD_OUT_BOARDS} to solve unless {name}/test:N says N"}
        for name in GAMES
    ]
    pairs = f"{re_arc.PAIRS} of each training task of ARC-AGI-1 unless {re_arc.NAME}:N says N; needs {re_arc.PACKAGE}"
    result = {
        "sources": _as_objects(columns, counted),
        "games": games,
        "generators": [{"source": re_arc.NAME, "pairs": pairs}],
    }

    def human(result: dict[str, Any]) -> None:
        table("built-in sources", columns, [[str(value) for value in row] for row in counted])
        for title, column in (("games", "boards"), ("generators", "pairs")):
            rows = [list(row.values()) for row in result[title]]
            print()
            table(f"generated {column}", ["source", column], rows, last_left=True)

    emit(result, options.json, human)
    note("a source can also be a file, a folder, a download or a function; see hrm data --help")


def _list_rows(key: str, title: str, columns: list[str], rows: Sequence[tuple[object, ...]], as_json: bool) -> None:
    result = {key: _as_objects(columns, rows)}
    emit(result, as_json, lambda _: table(title, columns, [[str(value) for value in row] for row in rows]))


def _as_objects(columns: list[str], rows: Sequence[tuple[object, ...]]) -> list[dict[str, object]]:
    keys = [column.replace(" ", "_") for column in columns]
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _show(options: argparse.Namespace) -> None:
    from hrm_arc.puzzles.sources import find_task
    from hrm_arc.report.grids import part_to_show, save_task_png, terminal_task

    task = find_task(options.task)
    if task.boards:
        note(f"{len(task.demonstrations)} boards to train on and {len(task.tests)} to solve; the first of them:")
        task = replace(task, demonstrations=task.demonstrations[:BOARDS_SHOWN], tests=task.tests[:1])
    task, left_out = part_to_show(task)
    if left_out:
        note(f"shown: {left_out}")
    if options.png:
        if Path(options.png).resolve() == Path(options.task).resolve():
            raise UserError("--png", f"{options.png} is the task itself, which the picture would overwrite")
        save_task_png(task, options.png, options.answers)
        note(f"wrote {options.png}")
        return
    console = result_console()
    console.print(terminal_task(task, options.answers, has_blocks(console), console.width))
    if not options.answers and sys.stdout.isatty():
        note("test outputs are hidden; --answers shows them")


def _info(options: argparse.Namespace) -> None:
    from hrm_arc.evaluation.baselines import baselines
    from hrm_arc.puzzles.augmented import AugmentedSet
    from hrm_arc.puzzles.leaks import leaks

    corpus = data_build.corpus_of(options)
    settings = {"augment": options.augment, "seed": options.seed, "repeat": options.repeat}
    training = AugmentedSet(corpus.training_puzzles(), translate=True, **settings)
    held_out = AugmentedSet(corpus.held_out_puzzles(), **settings)
    # Copies of a sample have the same scores.
    once = AugmentedSet(corpus.held_out_puzzles(), **settings | {"repeat": 1})
    scored = None if len(once) <= MOST_SCORED else once.part(MOST_SCORED / len(once))
    result = {
        "tasks": len(corpus.tasks),
        "tasks_to_solve": len(corpus.solve),
        **data_build.count_boards(corpus.tasks),
        "train_samples": len(training),
        "test_samples": len(held_out),
        "test_outputs": sum(len(task.tests) for task in corpus.solve),
        "unknown_outputs": sum(test.output is None for task in corpus.solve for test in task.tests),
        "leaks": [str(each) for each in leaks(corpus)],
        "baseline_samples": len(once) if scored is None else len(scored),
        "baselines": baselines(once, scored),
    }

    def human(result: dict[str, Any]) -> None:
        print(f"{counted(result['tasks'], 'tasks')}, {result['tasks_to_solve']} of them to solve")
        if result["train_boards"]:
            print(data_build.said_boards(result))
        samples = (counted(result[f"{part}_samples"], f"{name} samples") for part, name in PARTS)
        print(", ".join(samples))
        if result["unknown_outputs"]:
            unknown, verb = result["unknown_outputs"], "is" if result["unknown_outputs"] == 1 else "are"
            print(f"{unknown} of {counted(result['test_outputs'], 'test outputs')} {verb} not known")
        for leak in result["leaks"]:
            print(f"leak: {leak}")
        if not result["baselines"]:
            return
        print()
        which = f"{result['baseline_samples']:,} of the test samples" if scored is not None else "the test samples"
        table(f"baselines on {which}", ACCURACY_COLUMNS, baseline_rows(result["baselines"]))

    emit(result, options.json, human)
