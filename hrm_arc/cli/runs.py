"""List the runs in a folder with their states and scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hrm_arc.cli.show import add_json, counted, emit, note, table
from hrm_arc.errors import UserError

UNKNOWN = "not known"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root", nargs="?", type=Path, default=Path("runs"), help="folder of the run folders (default: runs)"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.report.listing import run_rows

    if not options.root.is_dir():
        raise UserError(
            options.root, "there is no such folder; expected the folder given to hrm train --out (default: runs)"
        )
    rows = run_rows(options.root)
    for row in rows:
        if row["state"] == "damaged":
            note(f"warning: {row['folder']}: damaged: {row['problem']}")
    emit({"runs": rows}, options.json, _human)


def _human(result: dict[str, Any]) -> None:
    columns = ["run", "recipe", "model", "state", "step", "held-out exact", "pass@2"]
    rows = []
    for row in result["runs"]:
        step = UNKNOWN if row["step"] is None else f"{row['step']:,}"
        shares = [UNKNOWN if value is None else f"{value:.1%}" for value in (row["best"], row["pass_at_2"])]
        scored = row["pass_at_2_step"]
        if row["pass_at_2"] is not None and scored is not None and scored != row["step"]:
            shares[1] += f" at step {scored:,}"
        rows.append([row["run_id"], row["name"] or UNKNOWN, row["model"] or UNKNOWN, row["state"], step, *shares])
    table(counted(len(rows), "runs"), columns, rows)
