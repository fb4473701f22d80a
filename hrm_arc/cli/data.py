"""Sources of puzzles: list them, show a task, count a training set and its baselines.

sources: arc-agi-1, arc-agi-2 (alone, or with /training or /evaluation), a folder of task
files, ConceptARC's folder of folders, or one task file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrm_arc.cli.show import ACCURACY_COLUMNS, add_json, baseline_rows, emit, note, table
from hrm_arc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="data_verb", metavar="VERB", required=True)

    listing = verbs.add_parser("list", help="the sources, or the tasks of one", allow_abbrev=False)
    listing.add_argument("source", nargs="?", help="list the tasks of this source")
    add_json(listing)
    listing.set_defaults(run=_list)

    show = verbs.add_parser("show", help="a task as a picture, here or as a PNG file", allow_abbrev=False)
    show.add_argument("task", help="a task's name, such as 0d3d703e, or a task file")
    show.add_argument("--answers", action="store_true", help="show test outputs too")
    show.add_argument("--png", type=Path, metavar="FILE", help="write a PNG picture instead")
    show.set_defaults(run=_show)

    info = verbs.add_parser(
        "info",
        help="counts and baselines of a training set such as arc-aug-500",
        description="Count a training set and score the answers that understand nothing on its test split."
        " A training split is given away with its test pairs; an evaluation split is to be solved.",
        allow_abbrev=False,
    )
    info.add_argument("source", nargs="+", help="as for 'hrm data'")
    info.add_argument("--augment", type=int, default=0, metavar="N", help="distinct variants of each task (default 0)")
    info.add_argument("--concept-arc", metavar="DIR", help="ConceptARC's folder, given away with its test pairs")
    info.add_argument("--copies", type=int, default=1, metavar="N", help="how often the set holds every sample")
    info.add_argument("--seed", type=int, default=0, help="of the choice of variants")
    add_json(info)
    info.set_defaults(run=_info)


def _list(options: argparse.Namespace) -> None:
    from hrm_arc.puzzles.sources import BUILT_IN, SPLITS, load_tasks

    if options.source:
        columns = ["task", "group", "demonstrations", "tests"]
        found = [(t.id, t.group, len(t.demonstrations), len(t.tests)) for t in load_tasks(options.source)]
        _list_rows("tasks", options.source, columns, found, options.json)
        return
    columns = ["source", "tasks", "test outputs"]
    splits = {f"{name}/{split}": load_tasks(f"{name}/{split}") for name in BUILT_IN for split in SPLITS}
    counted = [(name, len(tasks), sum(len(task.tests) for task in tasks)) for name, tasks in splits.items()]
    _list_rows("sources", "built-in sources", columns, counted, options.json)
    note("a source can also be a task file, a folder of them, or ConceptARC's folder of folders")


def _list_rows(key: str, title: str, columns: list[str], rows: Sequence[tuple[object, ...]], as_json: bool) -> None:
    keys = [column.replace(" ", "_") for column in columns]
    result = {key: [dict(zip(keys, row, strict=True)) for row in rows]}
    emit(result, as_json, lambda _: table(title, columns, [[str(value) for value in row] for row in rows]))


def _show(options: argparse.Namespace) -> None:
    from rich.console import Console

    from hrm_arc.puzzles.sources import find_task
    from hrm_arc.report.grids import save_task_png, terminal_task

    task = find_task(options.task)
    if options.png:
        save_task_png(task, options.png, options.answers)
        note(f"wrote {options.png}")
        return
    console = Console()
    console.print(terminal_task(task, options.answers, colour=console.color_system is not None))
    if not options.answers and sys.stdout.isatty():
        note("test outputs are hidden; --answers shows them")


def _info(options: argparse.Namespace) -> None:
    from hrm_arc.evaluation.baselines import baselines
    from hrm_arc.puzzles.augmented import AugmentedSet
    from hrm_arc.puzzles.sources import load_corpus

    if options.augment < 0 or options.copies < 1:
        raise UserError("--augment, --copies", "expected at least 0 variants and at least 1 copy")
    corpus = load_corpus(options.source, [options.concept_arc] if options.concept_arc else [])
    settings = {"augment": options.augment, "seed": options.seed, "copies": options.copies}
    training = AugmentedSet(corpus.training_puzzles(), shift=True, **settings)
    held_back = AugmentedSet(corpus.held_back_puzzles(), **settings)
    result = {
        "tasks": len(corpus.tasks),
        "tasks_to_solve": len(corpus.solve),
        "train_samples": len(training),
        "test_samples": len(held_back),
        "baselines": baselines(held_back),
    }

    def human(result: dict[str, Any]) -> None:
        print(f"{result['tasks']} tasks, {result['tasks_to_solve']} of them to be solved")
        print(f"{result['train_samples']:,} training samples, {result['test_samples']:,} test samples\n")
        rows = baseline_rows(result["baselines"])
        table("what answers that understand nothing score on the test samples", ACCURACY_COLUMNS, rows)

    emit(result, options.json, human)
