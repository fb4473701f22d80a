"""Score a run or checkpoint exactly: pass@1 and pass@2 under the three averages in use,
with intervals, and the log's token accuracy beside what empty answers score.

Writes predictions.jsonl, scores.json, submission.json and report.html: into the run's folder, or
with --data, or for one checkpoint of several, into scores/ there. Stopped or killed, the same
command goes on where it was.

Anybody's submission is scored in the same way:
  hrm eval --from submission.json --data arc-agi-1/evaluation
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.backends import Opened, add_runtime, is_exported, open_model
from hrm_arc.cli.show import GROUP_COLUMNS, add_json, counting, emit, group_rows, note, print_scores, table
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.evaluation.journal import Journal
    from hrm_arc.evaluation.predict import Key, Prediction
    from hrm_arc.puzzles.task import Task

# Where a model comes without a recipe.
VOTES = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="RUN", nargs="?", type=Path, help="a run, a checkpoint, or an exported file")
    parser.add_argument(
        "--from",
        dest="submitted",
        type=Path,
        metavar="FILE",
        help="score a file of answers instead, with --data",
    )
    parser.add_argument("--data", metavar="SOURCE/SPLIT", help="what to score on (default: what the run was to solve)")
    parser.add_argument(
        "--votes",
        type=int,
        metavar="V",
        help="variants put to the vote (default: the recipe's, or 64; 1 if imported)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: the run's folder)")
    parser.add_argument("--seed", type=int, default=0, help="of the votes' colour permutations")
    parser.add_argument("--no-halting", action="store_true", help="run every segment of thought for every sample")
    add_runtime(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.votes is not None and options.votes < 1:
        raise UserError("--votes", f"{options.votes}, expected at least 1")
    if (options.path is None) == (options.submitted is None):
        raise UserError("hrm eval", "expected a run to score, or --from FILE with a submission")
    if options.submitted:
        emit(_score_submission(options.submitted, options.data), options.json, print_scores)
        return
    model = open_model(options.path, options, halting=not options.no_halting)
    out = options.out or _beside(options.path, options.data)
    votes = options.votes or _usual_votes(model)
    settings = {"votes": votes, "seed": options.seed, "halting": not options.no_halting}
    scores = score_model(model, options.data, out, settings)
    if scores is not None:
        emit(scores, options.json, _human)


def _usual_votes(model: Opened) -> int:
    if model.card.imported:
        # Of a table with a row for each variant, those of tasks as they are: others would be blank.
        return 1
    return int((model.recipe or {}).get("evaluation", {}).get("votes", VOTES))


def _score_submission(path: Path, data: str | None) -> dict[str, Any]:
    """Score anybody's submission; nothing is written."""
    from hrm_arc.evaluation.breakdown import breakdown
    from hrm_arc.evaluation.scores import score
    from hrm_arc.evaluation.submission import read_answers
    from hrm_arc.puzzles.sources import load_tasks

    if data is None:
        raise UserError("--from", "needs --data: the tasks that the submission answers, with their answers")
    started = time.monotonic()
    tasks = load_tasks(data)
    predictions = read_answers(path, tasks)
    scores = {**score(tasks, predictions), **breakdown(tasks, predictions)}
    if not scores["test_outputs"]:
        raise UserError(data, "has no test output with a known answer to score against")
    return {**scores, "seconds": round(time.monotonic() - started, 2)}


def score_model(model: Opened, data: str | None, out: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Evaluate with a progress bar, and write the page where there is a run to tell of.

    Under torchrun the test inputs are shared among the processes; the one that leads gets the scores.

    Args:
        model: what answers.
        data: a source; None: what the model was to solve.
        out: the folder to write to.
        settings: ``votes``, ``seed`` and ``halting``.
    """
    from hrm_arc.evaluation.evaluate import score_predictions, tasks_to_score
    from hrm_arc.evaluation.journal import Journal, fingerprint
    from hrm_arc.evaluation.predict import keys
    from hrm_arc.evaluation.sharing import Shares
    from hrm_arc.report.page import write_page
    from hrm_arc.runs.folder import RunFolder

    tasks = tasks_to_score(model.card, data)
    shares, started = Shares(), time.monotonic()
    journal = Journal(out, fingerprint(model.checksum, tasks, settings), shares.rank)
    folder = RunFolder(out)
    with journal.claimed() if shares.leads else contextlib.nullcontext():
        predictions = shares.together(_answers(model, tasks, shares.own(keys(tasks)), journal, settings))
        if not shares.leads:
            return None
        scores = score_predictions(model.card, tasks, predictions, folder, settings)
        journal.remove()
    for warning in scores["warnings"]:
        note(warning)
    page = write_page(folder, model.run) if model.run else None
    took = {"seconds": round(time.monotonic() - started, 2)}
    return {**scores, **took, "folder": str(out), "report": str(page) if page else None}


def _answers(
    model: Opened, tasks: Sequence[Task], own: Sequence[Key], journal: Journal, settings: dict[str, Any]
) -> list[Prediction]:
    from hrm_arc.evaluation.evaluate import predict_tasks

    how = {"votes": settings["votes"], "seed": settings["seed"], "refine": True, "only": own}
    with counting("answering test inputs", len(own)) as progress:
        try:
            return predict_tasks(model.backend, model.card, tasks, **how, journal=journal, progress=progress)
        except KeyboardInterrupt:
            note("stopped; the same command goes on from here")
            raise


def _beside(path: Path, data: str | None) -> Path:
    """Where scores go: the run's folder; for one of its checkpoints, in scores/ there; else beside what is scored."""
    from hrm_arc.runs.checkpoint import CARD
    from hrm_arc.runs.folder import RunFolder

    if is_exported(path):
        return RunFolder(path.with_suffix(".scores")).scored(data).path
    if not (path / CARD).is_file():
        return RunFolder(path).scored(data).path
    # Not in the checkpoint, which goes when newer ones come.
    checkpoint = path.resolve()
    if checkpoint.parent.name != "checkpoints":
        return RunFolder(checkpoint.with_name(f"{checkpoint.name}.scores")).scored(data).path
    run = RunFolder(checkpoint.parent.parent)
    name = checkpoint.name if data is None else f"{checkpoint.name}-{run.scored(data).path.name}"
    return run.path / "scores" / name


def _human(result: dict[str, Any]) -> None:
    if not result["test_outputs"]:
        print(f"no answer is known here, so there is nothing to score; what was answered is in {result['folder']}")
        return
    print_scores(result)
    concepts = [row for row in result["groups"] if row["group"].startswith("concept ")]
    if concepts:
        print()
        table("by concept", GROUP_COLUMNS, group_rows(concepts))
    print(f"\nwritten to {result['report'] or result['folder']}")
