"""Write the report page of a scored run, or a page that compares two scored runs.

  hrm report runs/A                  scores, training curves and every answer, in one HTML file
  hrm report runs/A runs/B           what B solves and A does not, and whether the difference is significant

A folder of scores on another source can be given instead of a run: runs/A/scores/arc-agi-2-evaluation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm_arc.cli.show import add_json, emit, note, table
from hrm_arc.errors import UserError

if TYPE_CHECKING:
    from hrm_arc.evaluation.results import Results
    from hrm_arc.runs.folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="run that hrm eval has scored")
    parser.add_argument("other", metavar="RUN_B", nargs="?", type=Path, help="second run, compared with the first")
    parser.add_argument("--out", type=Path, metavar="FILE", help="page of two runs (default: versus.html in RUN)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.evaluation.results import read_scores, staleness
    from hrm_arc.report.page import write_page
    from hrm_arc.runs.folder import RunFolder

    first = RunFolder(options.run_folder)
    if options.other:
        emit(_versus(first, RunFolder(options.other), options.out), options.json, _human)
        return
    if options.out:
        raise UserError("--out", "needs two runs; the page of one run is written into its folder")
    stale = staleness(first, read_scores(first))
    if stale:
        note(stale)
    result = {"report": str(write_page(first)), "stale": stale}
    emit(result, options.json, lambda result: print(f"written to {result['report']}"))


def _versus(first: RunFolder, second: RunFolder, out: Path | None) -> dict[str, Any]:
    from hrm_arc.evaluation.comparison import compare
    from hrm_arc.evaluation.results import read_results, staleness
    from hrm_arc.files import check_target
    from hrm_arc.report.versus import write_versus
    from hrm_arc.runs.folder import differences

    page = out or first.path / "versus.html"
    check_target(page)
    results = (read_results(first), read_results(second))
    try:
        comparison = compare(*_unchanged(*results))
    except ValueError as error:
        raise UserError(f"{first.path} and {second.path}", str(error)) from None
    said = [
        f"{run.path}: {line}"
        for run, each in zip((first, second), results, strict=True)
        for line in filter(None, (staleness(run, each.scores), *each.scores["warnings"]))
    ]
    for line in said:
        note(line)
    comparison["warnings"] = said
    write_versus(first, second, comparison, page, results)
    recipes = [run.owner().config() for run in (first, second)]
    differing = {key: list(values) for key, values in differences(*recipes).items() if key != "name"}
    return {**comparison, "names": _names(first, second), "recipe_differences": differing, "report": str(page)}


def _unchanged(first: Results, second: Results) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of both results, without tasks that had changed since one of the trainings, unless all have.

    The scores of each run leave them out, too.
    """
    changed = {*first.scores["changed_tasks"], *second.scores["changed_tasks"]}
    ours, theirs = ([row for row in each.rows if row["task"] not in changed] for each in (first, second))
    return (ours, theirs) if ours and theirs else (first.rows, second.rows)


def _human(result: dict[str, Any]) -> None:
    first, second = result["names"]
    span = "no interval, because there is one task only"
    if result["interval"]:
        low, high = result["interval"]
        significant = "significant" if low > 0 or high < 0 else "not significant"
        span = f"95% interval {100 * low:+.1f} to {100 * high:+.1f}: {significant}"
    print(f"{second} against {first}: {100 * result['difference']:+.1f} points of test outputs solved ({span})\n")
    row = [str(result[name]) for name in ("both", "first_only", "second_only", "neither")]
    table("test outputs", ["", "both", f"only {first}", f"only {second}", "neither"], [["solved by", *row]])
    if result["recipe_differences"]:
        rows = [[key, *(str(value) for value in values)] for key, values in result["recipe_differences"].items()]
        print()
        table("keys of the recipe that differ", ["key", first, second], rows)
    print(f"\nwritten to {result['report']}")


def _names(first: RunFolder, second: RunFolder) -> list[str]:
    """What the two runs are called: the names of their recipes, of their folders where those are the same."""
    names = [str(run.owner().config()["name"]) for run in (first, second)]
    if names[0] != names[1]:
        return names
    runs = [run.owner().run_id for run in (first, second)]
    return runs if runs[0] != runs[1] else [str(first.path), str(second.path)]
