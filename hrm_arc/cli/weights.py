"""Trained weights with a name: list those that ship with the program, save those of a run, share them.

  hrm weights                                what is here, what it learned from, and what it scores
  hrm eval arc1-cpu --votes 8                a name stands wherever a run may stand
  hrm weights save runs/RUN my-weights       the weights of a run, rounded to bfloat16, with their scores
  hrm weights push my-weights OWNER/NAME     to the Hugging Face hub (needs the hub extra and a login)
  hrm weights pull OWNER/NAME my-weights     from there

Weights are listed and loaded without a network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import add_json, alone, emit, note, table
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.puzzles.task import Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.set_defaults(run=_list)
    verbs = parser.add_subparsers(dest="weights_verb", metavar="VERB")

    save = verbs.add_parser("save", help="save the weights of a run to give them away", allow_abbrev=False)
    save.add_argument("path", metavar="RUN", type=Path, help="a run folder or a checkpoint folder")
    save.add_argument("out", metavar="DIR", type=Path, help="the folder to write")
    save.add_argument("--title", help="one line that says what the weights are (default: the recipe's name)")
    save.add_argument(
        "--made-with",
        action="append",
        default=[],
        metavar="COMMAND",
        help="a command that made them, once for each stage (default: the recipe's, with the flags that differ)",
    )
    save.add_argument(
        "--data", metavar="SOURCE", help="the tasks that the rounded weights are scored on (default: their solve tasks)"
    )
    save.add_argument("--votes", type=int, metavar="V", help="votes of the scores (default: as in the recipe)")
    save.add_argument("--no-scores", action="store_true", help="do not score the rounded weights")
    add_json(save, is_inner=True)
    save.set_defaults(run=_save)

    push = verbs.add_parser("push", help="upload saved weights to the Hugging Face hub", allow_abbrev=False)
    push.add_argument("path", metavar="WEIGHTS", type=Path, help="a folder of saved weights, or a name")
    push.add_argument("repository", metavar="OWNER/NAME", help="the hub's repository, made if there is none")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    add_json(push, is_inner=True)
    push.set_defaults(run=_push)

    pull = verbs.add_parser("pull", help="download weights from the Hugging Face hub", allow_abbrev=False)
    pull.add_argument("repository", metavar="OWNER/NAME", help="the hub's repository")
    pull.add_argument("out", metavar="DIR", type=Path, help="the folder to write")
    add_json(pull, is_inner=True)
    pull.set_defaults(run=_pull)


def _list(options: argparse.Namespace) -> None:
    from hrm_arc.runs.named import SHIPPED, read_about, shipped_names

    rows = [{"name": name, **read_about(SHIPPED / name), "folder": str(SHIPPED / name)} for name in shipped_names()]
    emit({"weights": rows}, options.json, _print_list)


def _print_list(result: dict[str, Any]) -> None:
    if not result["weights"]:
        print("no weights ship with this version; hrm weights save RUN DIR saves your own")
    for row in result["weights"]:
        _print_about(row["name"], row)
        print()


def _print_about(name: str, about: dict[str, Any]) -> None:
    print(f"{name}: {about['title']}")
    print(f"  {about['parameters']:,} parameters, {about['steps']:,} steps in the last training, {about['license']}")
    for line in about["learned_from"]:
        print(f"  learned from {line}")
    for command in about["made_with"]:
        print(f"  made with: {command}")
    if about["scores"]:
        rows = [
            [
                row["data"],
                *(str(row[key]) for key in ("tasks", "votes", "solved", "test_outputs")),
                f"{row['pass@2']:.2%} ({row['interval'][0]:.1%} to {row['interval'][1]:.1%})",
            ]
            for row in about["scores"]
        ]
        print()
        table("two attempts", ["scored on", "tasks", "votes", "solved", "of", "pass@2"], rows)
        for line in dict.fromkeys(line for row in about["scores"] for line in row.get("warnings", [])):
            print(f"  note: {line}")


def _save(options: argparse.Namespace) -> None:
    from hrm_arc.deploy.packing import save_weights
    from hrm_arc.evaluation.prediction import MOST_VOTES

    if options.votes is not None and not 1 <= options.votes <= MOST_VOTES:
        raise UserError("--votes", f"{options.votes}, expected 1 to {MOST_VOTES:,}")
    alone("hrm weights save")
    tasks = () if options.no_scores else _tasks_to_score(options.path, options.data, options.votes)
    scoring = [
        *(["--data", options.data] if options.data else []),
        *(["--votes", str(options.votes)] if options.votes else []),
    ]
    about = save_weights(options.path, options.out, options.title, options.made_with, scoring)
    if tasks:
        about = _scored(options.out, options.data, options.votes, tasks)
    result = {"folder": str(options.out), "bytes": _size(options.out), **about}
    emit(result, options.json, _print_saved)


def _tasks_to_score(path: Path, data: str | None, votes: int | None) -> Sequence[Task]:
    """What there is to score weights on, if there is something; asked before anything is written.

    Raises:
        UserError: the tasks or a metric cannot be loaded, or the recipe's number of votes is damaged.
    """
    from hrm_arc.deploy.opening import check_votes, more_metrics, open_run, usual_votes
    from hrm_arc.evaluation.provenance import tasks_to_score

    model = open_run(path)
    if data is None and not model.card.held_out:
        note("nothing was held out from this run: the weights are saved without scores; --data SOURCE scores them")
        return ()
    more_metrics(model)
    check_votes(model.card, usual_votes(model) if votes is None else votes)
    return tasks_to_score(model.card, data, model.run)


def _scored(folder: Path, data: str | None, votes: int | None, tasks: Sequence[Task]) -> dict[str, Any]:
    """Score saved weights, and add the scores to their description."""
    from hrm_arc.cli.evaluate import score_model
    from hrm_arc.deploy.opening import open_run, usual_votes
    from hrm_arc.deploy.packing import add_scores
    from hrm_arc.evaluation.results import read_results, solved_tasks
    from hrm_arc.runs.folder import RunFolder
    from hrm_arc.runs.named import read_about

    model = open_run(folder)
    settings = {
        "votes": votes or usual_votes(model),
        "seed": 0,
        "early_exit": model.early_exit,
        "precision": model.precision,
    }
    out = folder.with_name(f"{folder.name}.scores")
    again = f"the weights are in {folder} without scores; remove the folder to save and score them again"
    scores = score_model(model, data, out, settings, again, tasks)
    assert scores is not None, "hrm weights runs in one process"
    if not scores["test_outputs"]:
        note("no answer is known: the weights are saved without scores")
        return read_about(folder)
    own = f"its {scores['tasks']} solve tasks of {', '.join(model.card.solve)}"
    return add_scores(folder, data or own, scores, solved_tasks(read_results(RunFolder(out)).rows))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _print_saved(result: dict[str, Any]) -> None:
    _print_about(Path(result["folder"]).name, result)
    print(f"\nwritten to {result['folder']}, {result['bytes'] / 1e6:.1f} MB")


def _push(options: argparse.Namespace) -> None:
    from hrm_arc.deploy.sharing import push

    address = push(options.path, options.repository, options.private)
    emit({"address": address}, options.json, lambda result: print(f"uploaded to {result['address']}"))


def _pull(options: argparse.Namespace) -> None:
    from hrm_arc.runs.named import pull, read_about

    folder = pull(options.repository, options.out)
    emit(
        {"folder": str(folder), "bytes": _size(folder), **read_about(folder)},
        options.json,
        _print_saved,
    )
