"""Validate a model on a test split in one pass over all samples, without votes. A stopped validation can be resumed.

  hrm validate model.onnx --data arc-agi-1 --augment 500       the validation of the log
  hrm validate model.onnx --data arc-agi-1 --fraction 0.1      a tenth of the samples, evenly spread
  hrm validate model.onnx --data arc-agi-1 --resume            continue after a kill: the same flags, and --resume
  hrm validate model.onnx --data arc-agi-1 --against pc.json   compare with the result of another machine

An exported file runs without torch; a run or a checkpoint needs torch.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.backends import add_runtime, open_model
from hrm_arc.cli.show import ACCURACY_COLUMNS, add_json, baseline_rows, counting, emit, note, table
from hrm_arc.deploy.opening import is_exported, results_beside, within_run
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.deploy.progress import Progress

# More variants of a task do not differ.
MOST_VARIANTS = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE", type=Path, help="an exported file, a run or a checkpoint")
    parser.add_argument("--data", metavar="SOURCE", help="the tasks (default: the solve tasks of the model)")
    parser.add_argument(
        "--augment", type=int, default=0, metavar="N", help="variants of each task beside the original (default 0)"
    )
    parser.add_argument(
        "--fraction", type=float, default=1.0, metavar="F", help="the fraction of the samples to use (default 1)"
    )
    parser.add_argument("--resume", action="store_true", help="continue a validation that was stopped")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file of progress and result (default: beside the model)"
    )
    parser.add_argument("--against", type=Path, metavar="FILE", help="the result of another machine to compare with")
    add_runtime(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if not 0 < options.fraction <= 1:
        raise UserError("--fraction", f"{options.fraction:g}, expected more than 0 and at most 1")
    if not 0 <= options.augment <= MOST_VARIANTS:
        raise UserError("--augment", f"{options.augment}, expected 0 or more, at most {MOST_VARIANTS:,}")
    emit(_validate(options), options.json, _human)


def _validate(options: argparse.Namespace) -> dict[str, Any]:
    from hrm_arc.deploy import agreement, validating
    from hrm_arc.evaluation.fairness import all_warnings
    from hrm_arc.evaluation.provenance import tasks_to_score
    from hrm_arc.puzzles.augmented import AugmentedSet
    from hrm_arc.puzzles.corpus import Corpus
    from hrm_arc.puzzles.sources import load_corpus
    from hrm_arc.runs.versions import versions

    theirs = agreement.read_result(options.against) if options.against else None
    model = open_model(options.path, options)
    card = model.card
    if options.augment and card.symmetries:
        what = "this checkpoint has rows of variants of its own; score those with hrm eval --votes"
        raise UserError("--augment", f"{options.augment}, but {what}")
    if options.augment and not card.permutes_colors:
        what = "the tokens of a published Maze model have no other colors, so variants of its boards have no answer"
        raise UserError("--augment", f"{options.augment}, but {what}")
    corpus = load_corpus([options.data]) if options.data else Corpus(solve=tasks_to_score(card, None, model.run))
    puzzles = validating.with_model_rows(corpus.held_out_puzzles(), corpus, card)
    if not puzzles:
        raise UserError(
            options.data or "--data", "has no test output with a known answer, expected a source that has some"
        )
    held_out = AugmentedSet(puzzles, augment=options.augment, seed=card.seed, canvas=card.canvas, label_canvas="full")
    indices = held_out.part(options.fraction)
    # Another device or version rounds differently: what it counts does not go on with what was counted here.
    runs_on = (model.runs_on, model.precision, versions())
    checksums = (model.checksum, model.checkpoint)
    fingerprint = agreement.validation_fingerprint(corpus.solve, held_out, indices, checksums, runs_on)
    file = options.out or within_run(model, _beside(options.path))
    if theirs is not None:
        agreement.check_comparable(theirs, fingerprint, options.against)
        if file.resolve() == options.against.resolve():
            raise UserError("--against", f"{file} is the file of this validation, too; name another one with --out")
    validating.prepare_file(file, fingerprint, options.resume)
    unfair = all_warnings(card, corpus.solve)
    for line in unfair:
        note(line)
    with counting("validating", len(indices)) as count:
        try:
            result = validating.validate(
                model.backend,
                card,
                held_out,
                indices,
                fingerprint,
                file,
                lambda progress: count(progress.done, remark=_running(progress)),
            )
        except KeyboardInterrupt:
            note(f"stopped; --resume continues from {file}")
            raise
    result = {**result, "warnings": unfair, "file": str(file)}
    if theirs is not None:
        result["against"] = {**asdict(agreement.agreement(result, theirs)), "theirs": theirs}
    return result


def _running(progress: Progress) -> str:
    figures = progress.figures()
    rate = progress.speed()["samples_per_second"]
    return f"{figures['token_accuracy']:.2%} of tokens, {figures['exact_accuracy']:.2%} exact, {rate:.1f} samples/s"


def _beside(path: Path) -> Path:
    return path.with_suffix(".validation.json") if is_exported(path) else results_beside(path, None) / "validation.json"


def _human(result: dict[str, Any]) -> None:
    table(
        f"{result['samples']:,} samples, one pass, no votes",
        ACCURACY_COLUMNS,
        [
            ["this model", f"{result['exact_accuracy']:.2%}", f"{result['token_accuracy']:.2%}"],
            *baseline_rows(result["baselines"]),
        ],
    )
    degrees = "" if result["temperature"] is None else f", {result['temperature']:.0f} degrees Celsius"
    watts = "" if result["watts"] is None else f", {result['watts']:.1f} W"
    memory = result["peak_memory_bytes"] / 1e6
    print(f"\n{result['samples_per_second']:.1f} samples/s, peak memory {memory:.0f} MB{degrees}{watts}")
    if "against" in result:
        print(result["against"]["verdict"])
    print(f"written to {result['file']}")
