"""Audit an accuracy: is it better than that of baselines which have learned nothing?

For a run or a checkpoint: scores it, compares the scores with the baselines of the same tasks, and tests
whether its answers depend on the input (answered again with shuffled cells) and on the puzzle embedding
(answered again with that of another task).
For a file of answers (predictions.jsonl or submission.json, needs --data): the same, as far as answers show it.
Without a path: compares a claimed token accuracy (--claim 0.7136) with the baselines of a data set.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import ACCURACY_COLUMNS, add_json, baseline_rows, counting, emit, note, table
from hrm_arc.deploy.opening import is_exported, open_run
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.evaluation.dependence import Dependence
    from hrm_arc.evaluation.prediction import Prediction
    from hrm_arc.puzzles.task import Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="RUN", nargs="?", type=Path, help="run, checkpoint or file of answers to audit")
    parser.add_argument(
        "--data", metavar="SOURCE/SPLIT", help="tasks (default: those of data.solve of the run, else arc-agi-1)"
    )
    parser.add_argument(
        "--augment", type=int, default=0, metavar="N", help="variants of each task in the data set of a claim"
    )
    parser.add_argument(
        "--claim", type=float, metavar="SHARE", help="token accuracy to compare with the baselines, such as 0.7136"
    )
    parser.add_argument("--device", default="auto", help="torch device, or auto for the best one (default auto)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.claim is not None and not 0 <= options.claim <= 1:
        raise UserError("--claim", f"{options.claim}, expected a share between 0 and 1, such as 0.7136")
    if options.augment < 0:
        raise UserError("--augment", f"{options.augment}, expected 0 or more")
    if options.path and (options.claim is not None or options.augment):
        raise UserError("--claim, --augment", "cannot be used together with a run")
    if options.path is None:
        result = _audit_data(options)
    else:
        result = _audit_answers(options.path, options.data) if options.path.is_file() else _audit_run(options)
    emit(result, options.json, _human)


def _audit_run(options: argparse.Namespace) -> dict[str, Any]:
    from hrm_arc.evaluation.dependence import dependence
    from hrm_arc.evaluation.evaluate import predict_tasks
    from hrm_arc.evaluation.fairness import all_warnings
    from hrm_arc.evaluation.prediction import keys
    from hrm_arc.evaluation.provenance import tasks_to_score
    from hrm_arc.evaluation.scores import score
    from hrm_arc.evaluation.torch_backend import TorchBackend
    from hrm_arc.models.spec import has_task_table

    model = open_run(options.path, options.device)
    backend, card = model.backend, model.card
    tasks = tasks_to_score(card, options.data, model.run)
    # Test inputs are answered as they are, shuffled, and as those of another task.
    total = 3 * len(keys(tasks))
    with counting("answering test inputs", total) as progress:
        done = 0

        def answer(changed: Sequence[Task], rows: Mapping[str, int]) -> list[Prediction]:
            nonlocal done
            before, done = done, done + len(keys(changed))
            return predict_tasks(
                backend, card, changed, votes=1, rows=rows, progress=lambda count: progress(before + count)
            )

        assert isinstance(backend, TorchBackend), "a run is opened in torch"
        rows = card.rows() if has_task_table(backend.model, card.model) else {}
        answered = answer(tasks, rows)
        depends = dependence(tasks, rows, answered, answer)
        progress(total)
    unfair = all_warnings(card, tasks)
    for line in unfair:
        note(line)
    return {**_verdict(score(tasks, answered), depends, options.data), "warnings": unfair}


def _audit_answers(path: Path, data: str | None) -> dict[str, Any]:
    from hrm_arc.evaluation.dependence import observed
    from hrm_arc.evaluation.scores import score, unknown_answers
    from hrm_arc.evaluation.submission import read_answers
    from hrm_arc.puzzles.sources import load_tasks

    if is_exported(path):
        raise UserError(path, "an exported file cannot be audited; audit the run that it was made from")
    if data is None:
        raise UserError(path, "a file of answers needs --data: the tasks that it answers")
    tasks = load_tasks(data)
    predictions = read_answers(path, tasks)
    verdict, unfair = _verdict(score(tasks, predictions), observed(predictions), data), unknown_answers(tasks)
    for line in unfair:
        note(line)
    return {**verdict, "warnings": unfair}


def _verdict(scores: dict[str, Any], depends: Dependence, data: str | None) -> dict[str, Any]:
    from hrm_arc.evaluation.audit import audit

    _some_known(scores["test_outputs"], data)
    audited = audit(scores["baselines"], scores["token_accuracy"], scores["exact_accuracy"]).as_dict()
    verdict = f"{audited['verdict']}; {depends.verdict()}"
    return {**audited, "verdict": verdict, "dependence": depends.as_dict()}


def _audit_data(options: argparse.Namespace) -> dict[str, Any]:
    from hrm_arc.evaluation.audit import audit
    from hrm_arc.evaluation.baselines import baselines
    from hrm_arc.puzzles.augmented import AugmentedSet
    from hrm_arc.puzzles.sources import load_corpus

    corpus = load_corpus([options.data or "arc-agi-1"])
    held_out = AugmentedSet(corpus.held_out_puzzles(), augment=options.augment)
    _some_known(len(held_out), options.data)
    return audit(baselines(held_out), options.claim).as_dict()


def _some_known(count: int, data: str | None) -> None:
    """Refuse an audit without a single known answer."""
    if not count:
        raise UserError(data or "--data", "has no test output with a known answer to audit on")


def _human(result: dict[str, Any]) -> None:
    print(f"verdict: {result['verdict']}\n")
    rows = baseline_rows(result["baselines"])
    if result["token_accuracy"] is not None:
        exact = "not known" if result["exact_accuracy"] is None else f"{result['exact_accuracy']:.2%}"
        rows.insert(0, ["audited", exact, f"{result['token_accuracy']:.2%}"])
    table("one pass, no votes", ACCURACY_COLUMNS, rows)
