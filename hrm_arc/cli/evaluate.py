"""Score a run or a checkpoint: pass@1 and pass@2 under the three averages in use, with 95% intervals,
and token accuracy beside the baselines.

Writes predictions.jsonl, scores.json, submission.json and report.html into the run's folder; with --data, or
for a single checkpoint, into a folder in RUN/scores. If the evaluation is stopped or killed, the same command
resumes it.

A submission of any other program is scored in the same way:
  hrm eval --submission submission.json --data arc-agi-1/evaluation
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.backends import add_runtime, open_model
from hrm_arc.cli.show import GROUP_COLUMNS, add_json, counting, emit, group_rows, note, print_scores, table
from hrm_arc.deploy.opening import (
    Opened,
    check_votes,
    more_metrics,
    results_beside,
    set_halting,
    usual_votes,
    within_run,
)
from hrm_arc.errors import UserError
from hrm_arc.evaluation.sharing import check_torchrun

if TYPE_CHECKING:
    from hrm_arc.evaluation.journal import Journal
    from hrm_arc.evaluation.prediction import Key, Prediction
    from hrm_arc.puzzles.task import Task

# Flags that mean nothing for a submission, with their defaults.
OF_A_MODEL = {
    **dict.fromkeys(("votes", "out", "early_exit", "halt_at", "segments")),
    "seed": 0,
    "reading": "likely",
    "device": "auto",
    "precision": "auto",
    "provider": "cpu",
    "threads": 0,
    "memory": 96,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="RUN", nargs="?", type=Path, help="run, checkpoint, exported file or name of weights"
    )
    parser.add_argument(
        "--submission",
        type=Path,
        metavar="FILE",
        help="score a submission.json or predictions.jsonl instead of a run; needs --data",
    )
    parser.add_argument(
        "--lenient", action="store_true", help="malformed attempts of a submission count as wrong and are listed"
    )
    parser.add_argument(
        "--data", metavar="SOURCE/SPLIT", help="tasks to score on (default: those of data.solve of the run)"
    )
    parser.add_argument(
        "--votes",
        type=int,
        metavar="V",
        help="variants of each test input that vote (default: as in the recipe, else 64; of an imported checkpoint all"
        " variants that have a row: 1, unless it was imported with --variants)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: the run's folder)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the votes' color permutations (default 0)")
    parser.add_argument(
        "--early-exit",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="stop each sample when its halting logit says so (default: yes; no for an imported checkpoint, because"
        " published systems run every segment in evaluation)",
    )
    parser.add_argument(
        "--reading",
        choices=["likely", "published"],
        default="likely",
        help="how tokens become a grid; likely: the most likely grid of a model that was trained without padding;"
        " published: the largest rectangle of colors at the corner, as HRM's and TRM's evaluations (default: likely)",
    )
    parser.add_argument(
        "--halt-at",
        type=float,
        metavar="P",
        help="halting probability above which a sample stops (default: as in the recipe, else 0.5)",
    )
    parser.add_argument(
        "--segments", type=int, metavar="N", help="the most segments of a sample (default: as many as in training)"
    )
    add_runtime(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.evaluation.prediction import MOST_SEGMENTS, MOST_VOTES

    check_torchrun()
    if options.votes is not None and not 1 <= options.votes <= MOST_VOTES:
        raise UserError("--votes", f"{options.votes}, expected 1 to {MOST_VOTES:,}")
    if (options.path is None) == (options.submission is None):
        raise UserError("hrm eval", "expected either a run to score or --submission FILE")
    if options.lenient and not options.submission:
        raise UserError("--lenient", "needs --submission")
    if options.submission:
        if unused := [name for name, default in OF_A_MODEL.items() if getattr(options, name) != default]:
            flag = f"--{unused[0].replace('_', '-')}"
            raise UserError(flag, "is for a run or an exported file; a submission has its answers already")
        emit(_score_submission(options.submission, options.data, options.lenient), options.json, _print_submission)
        return
    if options.segments is not None and not 1 <= options.segments <= MOST_SEGMENTS:
        raise UserError("--segments", f"{options.segments}, expected 1 to {MOST_SEGMENTS:,}")
    model = open_model(options.path, options, options.early_exit, options.reading)
    halting = set_halting(model, options.halt_at, options.segments)
    if options.out is not None:
        _check_out(options.out, model)
    out = options.out or within_run(model, results_beside(options.path, options.data))
    votes = options.votes or usual_votes(model)
    check_votes(model.card, votes)
    settings = {
        "votes": votes,
        "seed": options.seed,
        "early_exit": model.early_exit,
        "precision": model.precision,
        "reading": options.reading,
        **halting,
    }
    scores = score_model(model, options.data, out, settings)
    if scores is not None:
        emit(scores, options.json, _human)


def _check_out(out: Path, model: Opened) -> None:
    """Refuse to write results into another run, which would then have scores of a model that is not its own.

    Raises:
        UserError: it is one.
    """
    from hrm_arc.runs.folder import RunFolder

    own = model.run is not None and out.resolve() == model.run.path.resolve()
    if not own and RunFolder(out).is_run:
        raise UserError("--out", f"{out} is another run: results there would be taken for its own")


def _score_submission(path: Path, data: str | None, lenient: bool) -> dict[str, Any]:
    """Score a submission, with what has to be said of it; nothing is written."""
    from hrm_arc.evaluation.submission import score_submission
    from hrm_arc.puzzles.sources import load_tasks

    if data is None:
        raise UserError("--submission", "needs --data: the tasks that the submission answers")
    started = time.monotonic()
    scores = score_submission(path, load_tasks(data), lenient)
    for problem in scores["problems"]:
        note(f"counted as wrong: {problem}")
    if not scores["test_outputs"]:
        raise UserError(data, "has no test output with a known answer to score against")
    for warning in scores["warnings"]:
        note(warning)
    return {**scores, "seconds": round(time.monotonic() - started, 2)}


def score_model(
    model: Opened,
    data: str | None,
    out: Path,
    settings: dict[str, Any],
    again: str = "the same command resumes the evaluation",
    tasks: Sequence[Task] | None = None,
) -> dict[str, Any] | None:
    """Evaluate with a progress bar, and write the report page if the model belongs to a run.

    Under torchrun the processes share the test inputs.

    Args:
        model: the model to score.
        data: a source; None: the tasks whose test outputs were held out from the model.
        out: the folder to write to.
        settings: ``votes``, ``seed``, ``early_exit``, ``precision`` and ``reading``.
        again: what to do after an interrupt, in words.
        tasks: those of the source, where they have been loaded already.

    Returns:
        the scores in the main process, None in other processes.

    Raises:
        ReportedError: the source or a metric of the recipe cannot be loaded, or a file cannot be written.
    """
    from hrm_arc.evaluation.evaluate import write_evaluation
    from hrm_arc.evaluation.journal import Journal, fingerprint
    from hrm_arc.evaluation.predict import answered_together
    from hrm_arc.evaluation.provenance import tasks_to_score
    from hrm_arc.evaluation.sharing import WorkShare
    from hrm_arc.files import check_target
    from hrm_arc.runs.folder import RunFolder
    from hrm_arc.runs.versions import versions

    metrics = more_metrics(model)
    tasks = tasks_to_score(model.card, data, model.run) if tasks is None else tasks
    work, started, folder = WorkShare(), time.monotonic(), RunFolder(out)
    groups = [group for task in tasks for group in answered_together(task, settings["votes"], model.card.canvas)]
    own = [key for group in work.own(groups) for key in group]
    # What is needed at the end is checked before hours of work depend on it.
    for file in (folder.predictions_file, folder.scores_file, folder.submission_file):
        check_target(file)
    if model.run:
        from hrm_arc.report.page import prepare_page, write_page

        prepare_page(folder, model.run)
    # Another device or version rounds differently, and its answers are those of another evaluation.
    identity = {**settings, "runs_on": model.runs_on, "versions": versions()}
    journal = Journal(out, fingerprint(model.checksum, tasks, identity), work.rank)
    with journal.lock() if work.is_main else contextlib.nullcontext():
        predictions = work.gather(_answers(model, tasks, own, journal, settings, again))
        if not work.is_main:
            return None
        scores = write_evaluation(model.card, tasks, predictions, folder, settings, metrics)
        journal.remove()
    for warning in scores["warnings"]:
        note(warning)
    page = write_page(folder, model.run) if model.run else None
    took = {"seconds": round(time.monotonic() - started, 2)}
    return {**scores, **took, "folder": str(out), "report": str(page) if page else None}


def _answers(
    model: Opened, tasks: Sequence[Task], own: Sequence[Key], journal: Journal, settings: dict[str, Any], again: str
) -> list[Prediction]:
    from hrm_arc.evaluation.evaluate import predict_tasks

    how = {"votes": settings["votes"], "seed": settings["seed"], "refine": True, "only": own}
    with counting("answering test inputs", len(own)) as progress:
        try:
            return predict_tasks(model.backend, model.card, tasks, **how, journal=journal, progress=progress)
        except KeyboardInterrupt:
            note(f"stopped; {again}")
            raise


def _print_submission(result: dict[str, Any]) -> None:
    print_scores(result)
    if any(result[metric["name"]] is None for metric in result["metrics"]):
        print("\npass@k of more attempts than the file can have: not known")


def _human(result: dict[str, Any]) -> None:
    if not result["test_outputs"]:
        print(f"there is nothing to score, because no answer is known; the predictions are in {result['folder']}")
        return
    print_scores(result)
    concepts = [row for row in result["groups"] if row["group"].startswith("concept ")]
    if concepts:
        print()
        table("by concept", GROUP_COLUMNS, group_rows(concepts))
    print(f"\nwritten to {result['report'] or result['folder']}")
