"""Validate a model on a test split, as the log did on its Jetson: progress, running accuracy, resumable.

  hrm validate model.onnx --data arc-agi-1 --augment 500       the log's split, for as long as it takes
  hrm validate model.onnx --data arc-agi-1 --fraction 0.1      a tenth of it, evenly spread
  hrm validate model.onnx --resume                             go on after a kill or a loss of power
  hrm validate model.onnx --against workstation.json           ... and hold it against another machine's

One pass over each sample, no votes. Works without torch on an exported file, and on a run with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hrm_arc.cli.backends import add_runtime, is_exported, open_model
from hrm_arc.cli.show import ACCURACY_COLUMNS, add_json, baseline_rows, counting, emit, note, table
from hrm_arc.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", type=Path, help="an exported file, a run or a checkpoint")
    parser.add_argument("--data", metavar="SOURCE", help="default: what the model was to solve")
    parser.add_argument("--augment", type=int, default=0, metavar="N", help="variants of each task (default 0)")
    parser.add_argument("--fraction", type=float, default=1.0, metavar="F", help="of the samples (default 1)")
    parser.add_argument("--resume", action="store_true", help="go on with a validation that was stopped")
    parser.add_argument("--out", type=Path, metavar="FILE", help="progress and result (default: beside the model)")
    parser.add_argument("--against", type=Path, metavar="FILE", help="another machine's result, to compare with")
    add_runtime(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if not 0 < options.fraction <= 1:
        raise UserError("--fraction", f"{options.fraction:g}, expected more than 0 and at most 1")
    if options.augment < 0:
        raise UserError("--augment", f"{options.augment}, expected 0 or more")
    theirs = _read_result(options.against) if options.against else None
    result = _validate(options)
    if theirs is not None:
        result = {**result, "against": _compared(result, theirs, options.against)}
    emit(result, options.json, _human)


def _validate(options: argparse.Namespace) -> dict[str, Any]:
    from hrm_arc.deploy.validating import Progress, in_the_models_rows, validate
    from hrm_arc.evaluation.evaluate import answers_seen, tasks_to_score
    from hrm_arc.evaluation.journal import fingerprint
    from hrm_arc.puzzles.augmented import AugmentedSet
    from hrm_arc.puzzles.corpus import Corpus
    from hrm_arc.puzzles.sources import load_corpus

    model = open_model(options.path, options)
    card = model.card
    corpus = load_corpus([options.data]) if options.data else Corpus(solve=tasks_to_score(card, None))
    tasks = corpus.solve
    names = {row: task.id for row, task in enumerate(tasks, start=1)}
    puzzles = in_the_models_rows(corpus.held_back_puzzles(), names, card)
    if not puzzles:
        raise UserError(options.data or "--data", "has no test output with a known answer to validate on")
    held_back = AugmentedSet(puzzles, augment=options.augment, seed=card.seed, canvas=card.canvas, label_canvas="full")
    indices = held_back.part(options.fraction)
    seen = answers_seen(card, tasks)
    if seen:
        note(f"{len(seen)} of these tasks were given away in training: no fair score")
    file = options.out or _beside(options.path)
    _check_begun(file, options.resume)
    mark = fingerprint(model.checksum, tasks, {"augment": options.augment, "fraction": options.fraction})
    with counting("validating", len(indices)) as count:

        def show(progress: Progress) -> None:
            count(progress.done, note=_running(progress))

        try:
            result = validate(model.backend, card, held_back, indices, mark, file, show)
        except KeyboardInterrupt:
            note(f"stopped; --resume goes on from {file}")
            raise
    return {**result, "file": str(file)}


def _running(progress: Any) -> str:
    figures = progress.figures()
    rate = progress.speed()["samples_per_second"]
    return f"{figures['token_accuracy']:.2%} of tokens, {figures['exact_accuracy']:.2%} exact, {rate:.1f} samples/s"


def _beside(path: Path) -> Path:
    return path.with_suffix(".validation.json") if is_exported(path) else path / "validation.json"


def _check_begun(file: Path, resume: bool) -> None:
    """Whether there is something to go on with, and nothing that would be lost."""
    from hrm_arc.deploy.validating import is_finished

    if resume and not file.is_file():
        raise UserError("--resume", f"there is no validation to go on with at {file}")
    if not resume and file.is_file():
        if not is_finished(file):
            raise UserError(file, "holds a validation that was stopped: go on with --resume, or remove it")
        file.unlink()


def _read_result(path: Path) -> dict[str, Any]:
    from hrm_arc.deploy.validating import read_result

    return read_result(path)


def _compared(ours: dict[str, Any], theirs: dict[str, Any], path: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from hrm_arc.deploy.validating import agreement

    try:
        found = agreement(ours, theirs)
    except ValueError as error:
        raise UserError(path, f"cannot be compared: {error}") from None
    return {**asdict(found), "theirs": theirs}


def _human(result: dict[str, Any]) -> None:
    table(
        f"{result['samples']:,} samples, one pass, no votes",
        ACCURACY_COLUMNS,
        [
            ["this model", f"{result['exact_accuracy']:.2%}", f"{result['token_accuracy']:.2%}"],
            *baseline_rows(result["baselines"]),
        ],
    )
    heat = "" if result["temperature"] is None else f", {result['temperature']:.0f} degrees"
    watts = "" if result["watts"] is None else f", {result['watts']:.1f} W"
    memory = result["peak_memory_bytes"] / 1e6
    print(f"\n{result['samples_per_second']:.1f} samples/s, {memory:.0f} MB at most{heat}{watts}")
    if "against" in result:
        print(result["against"]["verdict"])
    print(f"written to {result['file']}")
