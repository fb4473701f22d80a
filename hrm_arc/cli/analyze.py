"""Break the scores of a run down by group of tasks and by kind of error, and write the report page; or show one task.

  hrm analyze runs/RUN               which kinds of task it fails on, how, and whether more training would help
  hrm analyze runs/RUN 0d3d703e      one task: its pairs, both attempts, each segment's answer, and whether its
                                     demonstrations are learned

The groups of a task are computed from its demonstrations only; a task is in several groups.
"""

from __future__ import annotations

import argparse
import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import GROUP_COLUMNS, add_json, counted, emit, group_rows, has_blocks, note, result_console, table
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.evaluation.results import Results, Row
    from hrm_arc.puzzles.task import Task
    from hrm_arc.runs.card import Card
    from hrm_arc.runs.folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="RUN", type=Path, help="run folder that hrm eval has scored")
    parser.add_argument("task", metavar="TASK", nargs="?", help="the name of one of its tasks")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.evaluation.results import read_results, staleness
    from hrm_arc.report.page import write_page
    from hrm_arc.runs.folder import RunFolder

    folder = RunFolder(options.path)
    results = read_results(folder)
    scores = results.scores
    stale = staleness(folder, scores)
    for warning in [*([stale] if stale else []), *scores["warnings"]]:
        note(warning)
    if options.task is not None:
        emit(_one_task(folder, results, options.task), options.json, _show_task)
        return
    page = None
    if os.path.lexists(folder.owner().config_file):
        page = str(write_page(folder))
    else:
        note("there is no recipe (config.yaml), as for an imported checkpoint: no report page, and no outlook")
    result = {
        "groups": scores["groups"],
        "errors": scores["errors"],
        "stale": stale,
        "outlook": _outlook(folder.owner()),
        "report": page,
    }
    emit(result, options.json, _human)


def _outlook(owner: RunFolder) -> list[str]:
    """Whether more training would help, for a run with a recipe."""
    from hrm_arc.report.outlook import outlook
    from hrm_arc.runs.metrics import read_metrics

    if not os.path.lexists(owner.config_file):
        return []
    if not os.path.lexists(owner.metrics_file):
        return [f"{owner.metrics_file.name} is missing, so whether more training would help is not known"]
    return outlook(read_metrics(owner.metrics_file), owner.config())


def _human(result: dict[str, Any]) -> None:
    table("tasks by kind", GROUP_COLUMNS, group_rows(result["groups"]))
    print()
    rows = [[row["kind"], str(row["count"]), f"{row['share']:.0%}"] for row in result["errors"]]
    if rows:
        table("wrong first attempts", ["how", "test outputs", "share"], rows)
    else:
        print("no first attempt is wrong")
    _print_outlook(result)
    if result["report"]:
        print(f"\nwritten to {result['report']}")


def _print_outlook(result: dict[str, Any]) -> None:
    if result["outlook"]:
        print("\nwould more training help?")
    for line in result["outlook"]:
        print(f"  {line}")


def _one_task(folder: RunFolder, results: Results, name: str) -> dict[str, Any]:
    """Everything that is known of one task of a scored run."""
    rows = [row for row in results.rows if row["task"] == name]
    if not rows:
        close = difflib.get_close_matches(name, [row["task"] for row in results.rows], n=1)
        raise UserError(name, "is not among the tasks that were scored" + (f"; {close[0]}?" if close else ""))
    kinds = set(rows[0]["groups"])
    return {
        "task": name,
        "groups": [row for row in results.scores["groups"] if row["group"] in kinds],
        "tests": [_test(row) for row in rows],
        **_learned(folder.owner(), name),
        "outlook": _outlook(folder.owner()),
    }


def _test(row: Row) -> dict[str, Any]:
    """A test output with its attempts, of a row of predictions.jsonl."""
    from hrm_arc.puzzles.task import ATTEMPTS

    cast = sum(candidate["votes"] for candidate in row["candidates"])
    attempts = [
        {
            "grid": candidate["grid"],
            "votes": candidate["votes"],
            "share": candidate["votes"] / cast,
            "right": None if row["truth"] is None else candidate["grid"] == row["truth"],
        }
        for candidate in row["candidates"][:ATTEMPTS]
    ]
    return {
        "test": row["test"] + 1,
        "input": row["input"],
        "truth": row["truth"],
        "attempts": attempts,
        "error": row["error"],
        "solved": None if row["truth"] is None else row["solved"],
        # The answer of one pass after each segment, and for how many segments it stayed.
        "segments": [{"grid": grid, "segments": count} for grid, count in row["refinement"]],
    }


def _learned(owner: RunFolder, name: str) -> dict[str, Any]:
    """The demonstrations of a task, and how the run's model answers them."""
    from hrm_arc.deploy.opening import open_run
    from hrm_arc.evaluation.learned import how_learned, learned_pairs

    model = open_run(owner.path)
    trained_on = name in model.card.rows()
    task = _find(owner, model.card, name)
    if task is None:
        note(f"{name} is not in the sources of the run: whether its demonstrations are learned is not known")
        return {"demonstrations": None, "learned": None, "trained_on": trained_on}
    pairs = learned_pairs(model.backend, model.card, task)  # type: ignore[arg-type]
    shown = [
        {
            "input": pair.input.tolist(),
            "output": None if pair.output is None else pair.output.tolist(),
            "answer": None if each.answer is None else each.answer.tolist(),
            "exact": each.exact,
            "loss": each.loss,
        }
        for pair, each in zip(task.demonstrations, pairs, strict=True)
    ]
    return {"demonstrations": shown, "learned": how_learned(pairs), "trained_on": trained_on}


def _find(owner: RunFolder, card: Card, name: str) -> Task | None:
    """A task of the sources that a checkpoint was made to solve, where they are still there."""
    from hrm_arc.evaluation.provenance import located
    from hrm_arc.puzzles.sources import load_tasks

    for source in (*card.solve, *card.study):
        try:
            tasks = load_tasks(located(source, card, owner))
        except UserError as error:
            note(str(error))
            continue
        for task in tasks:
            if task.id == name:
                return task
    return None


def _show_task(result: dict[str, Any]) -> None:
    from hrm_arc.puzzles.task import make_grid
    from hrm_arc.report.grids import terminal_row

    console = result_console()
    color = has_blocks(console)
    for number, pair in enumerate(result["demonstrations"] or [], start=1):
        verdict = "exact" if pair["exact"] else "wrong"
        grids = [("input", pair["input"]), ("output", pair["output"]), (f"answer: {verdict}", pair["answer"])]
        title = f"demonstration {number}: loss {pair['loss']:.3g} nats a cell"
        console.print(terminal_row(title, [(n, make_grid(g)) for n, g in grids if g is not None], color, console.width))
    for test in result["tests"]:
        outcome = {None: "answer not known", True: "solved", False: f"not solved: {test['error']}"}[test["solved"]]
        grids = [("input", test["input"]), ("truth", test["truth"])]
        for number, attempt in enumerate(test["attempts"], start=1):
            right = {None: "", True: ", right", False: ", wrong"}[attempt["right"]]
            grids.append((f"attempt {number}: {attempt['share']:.0%} of the votes{right}", attempt["grid"]))
        title = f"{result['task']}, test {test['test']}: {outcome}"
        console.print(terminal_row(title, [(n, make_grid(g)) for n, g in grids if g is not None], color, console.width))
        changes = len(test["segments"]) - 1
        if changes > 0:
            print(f"the answer of one pass changed {counted(changes, 'times')} from segment to segment\n")
    table("tasks like this one", GROUP_COLUMNS, group_rows(result["groups"]))
    if result["learned"]:
        print(f"\n{result['learned']}")
    _print_outlook(result)
