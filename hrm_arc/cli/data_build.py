"""Write a training set as .npy arrays, in the layout that the published HRM and TRM read:
train/ and test/ with all__inputs.npy, all__labels.npy, all__puzzle_identifiers.npy,
all__puzzle_indices.npy, all__group_indices.npy and dataset.json; identifiers.json and
test_puzzles.json beside them. Training here needs none of it: samples are made when they are
asked for.

A build that was stopped or killed goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import add_json, counting, emit, note
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.puzzles.corpus import Corpus


def add_set_arguments(parser: argparse.ArgumentParser) -> None:
    """What names a training set."""
    parser.add_argument("source", nargs="+", help="see hrm data --help")
    parser.add_argument(
        "--augment", type=int, default=0, metavar="N", help="distinct variants of each task (default 0)"
    )
    parser.add_argument("--concept-arc", metavar="DIR", help="ConceptARC's folder, given away with its test pairs")
    parser.add_argument("--copies", type=int, default=1, metavar="N", help="how often the set holds every sample")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of variants")


def corpus_of(options: argparse.Namespace) -> Corpus:
    """The tasks that the arguments name."""
    from hrm_arc.puzzles.sources import load_corpus

    if options.augment < 0 or options.copies < 1:
        raise UserError("--augment, --copies", "expected at least 0 variants and at least 1 copy")
    return load_corpus(options.source, [options.concept_arc] if options.concept_arc else [])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_set_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: one for each core)")
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
        note(f"the training part answers some of the test part: {found[0]} ({len(found)} in all)")
    sources = (*options.source, *([options.concept_arc] if options.concept_arc else []))
    config = BuildConfig(sources, options.augment, options.seed, options.copies)
    with counting("writing samples") as progress:
        result = build(corpus, config, options.out, workers=options.workers, progress=progress)
    emit({**result, "out": str(options.out), "seconds": round(time.monotonic() - started, 2)}, options.json, _human)


def _human(result: dict[str, Any]) -> None:
    print(f"{result['train_samples']:,} training samples, {result['test_samples']:,} test samples")
    print(f"{result['bytes'] / 1e9:.2f} GB in {result['out']}, {result['seconds']:.0f} s")
