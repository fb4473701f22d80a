"""Break the scores of a run down by group of tasks and by kind of error, and write the report page.

The groups of a task are computed from its demonstrations only; a task is in several groups.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hrm_arc.cli.show import GROUP_COLUMNS, add_json, emit, group_rows, note, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="RUN", type=Path, help="run folder that hrm eval has scored")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.evaluation.results import read_results
    from hrm_arc.report.page import write_page
    from hrm_arc.runs.folder import RunFolder

    folder = RunFolder(options.path)
    scores = read_results(folder).scores
    for warning in scores["warnings"]:
        note(warning)
    # An imported checkpoint has no recipe and no training curve, so it has no page.
    page = str(write_page(folder)) if folder.owner().config_file.is_file() else None
    result = {"groups": scores["groups"], "errors": scores["errors"], "report": page}
    emit(result, options.json, _human)


def _human(result: dict[str, Any]) -> None:
    table("tasks by kind", GROUP_COLUMNS, group_rows(result["groups"]))
    print()
    rows = [[row["kind"], str(row["count"]), f"{row['share']:.0%}"] for row in result["errors"]]
    table("wrong first attempts", ["how", "test outputs", "share"], rows)
    if result["report"]:
        print(f"\nwritten to {result['report']}")
