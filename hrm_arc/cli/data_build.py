"""Write a training set to .npy files, in the layout that the published HRM and TRM read:
train/ and test/ with all__inputs.npy, all__labels.npy, all__puzzle_identifiers.npy,
all__puzzle_indices.npy, all__group_indices.npy and dataset.json, and next to them
identifiers.json and test_puzzles.json. hrm train does not need these files: it computes samples
when it needs them.

To resume a build that was interrupted, run the same command again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import add_json, counted, counting, emit, note
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.puzzles.corpus import Corpus
    from hrm_arc.puzzles.task import Task


def add_set_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that describe a training set."""
    parser.add_argument("source", nargs="+", help="the sources of the tasks; see hrm data --help")
    parser.add_argument(
        "--augment",
        type=int,
        default=0,
        metavar="N",
        help="number of distinct variants of each task beside the original (default 0)",
    )
    parser.add_argument("--concept-arc", metavar="DIR", help="ConceptARC's folder; its tasks are added as study tasks")
    parser.add_argument(
        "--copies",
        dest="repeat",
        type=int,
        default=1,
        metavar="N",
        help="number of times that the set has every sample (default 1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of variants (default 0)")


def corpus_of(options: argparse.Namespace) -> Corpus:
    """The corpus that the arguments describe.

    Raises:
        UserError: an argument is not valid.
    """
    from hrm_arc.puzzles.sources import load_corpus

    if options.augment < 0 or options.repeat < 1:
        raise UserError("--augment, --copies", "expected at least 0 variants and at least 1 copy")
    return load_corpus(options.source, [options.concept_arc] if options.concept_arc else [])


def count_boards(tasks: Sequence[Task]) -> dict[str, int]:
    """The boards of the games among some tasks: those to train on, and those to solve."""
    games = [task for task in tasks if task.boards]
    parts = {"train_boards": "demonstrations", "test_boards": "tests"}
    return {key: sum(len(getattr(game, part)) for game in games) for key, part in parts.items()}


def said_boards(result: Mapping[str, int]) -> str:
    """The counts of :func:`count_boards` in words."""
    return f"{counted(result['train_boards'], 'boards')} to train on and {result['test_boards']:,} to solve"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_set_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write to")
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="number of processes (default: one for each core)"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.puzzles.build import BuildConfig, build
    from hrm_arc.puzzles.leaks import leaks

    if options.workers < 0:
        raise UserError("--workers", f"{options.workers}, expected at least 0")
    started = time.monotonic()
    corpus = corpus_of(options)
    found = leaks(corpus)
    if found:
        note(f"leak: the training samples contain held-out test outputs: {found[0]} ({len(found)} leaks in total)")
    sources = (*options.source, *([options.concept_arc] if options.concept_arc else []))
    config = BuildConfig(sources, options.augment, options.seed, options.repeat)
    with counting("writing samples") as progress:
        result = build(corpus, config, options.out, workers=options.workers, progress=progress)
    emit({**result, "out": str(options.out), "seconds": round(time.monotonic() - started, 2)}, options.json, _human)


def _human(result: dict[str, Any]) -> None:
    print(f"{counted(result['train_samples'], 'training samples')}, {counted(result['test_samples'], 'test samples')}")
    print(f"{result['bytes'] / 1e9:.2f} GB in {result['out']}, {result['seconds']:.0f} s")
