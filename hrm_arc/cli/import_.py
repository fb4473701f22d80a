"""Turn a published checkpoint of HRM or TRM into one of ours, to score it, audit it or go on from it.
  hrm import hrm checkpoint --identifiers data/arc-aug-1000/identifiers.json
  hrm eval runs/imported-checkpoint --data arc-agi-1/evaluation --votes 1

Only tensors are read; code in the file is never run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hrm_arc.cli.show import add_json, emit, note, table
from hrm_arc.errors import UserError

# Options of the models that a checkpoint does not tell.
OPTIONS = ("heads", "prefix", "h_cycles", "l_cycles", "segments", "cells")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["hrm", "trm"], help="which model it is")
    parser.add_argument("file", type=Path, help="what their trainer saved")
    parser.add_argument("--identifiers", type=Path, metavar="FILE", help="their identifiers.json, for the puzzle table")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder to make (default: runs/imported-FILE)")
    for name in OPTIONS:
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, metavar="N", help="of the model (default: as published)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.deploy.importing import import_checkpoint

    out = options.out or Path("runs") / f"imported-{options.file.stem}"
    if out.exists():
        raise UserError(out, "is there already; choose another --out")
    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    done = import_checkpoint(options.kind, options.file, out, options.identifiers, given)
    result = {
        "folder": str(out),
        "mapped": [{"theirs": theirs, "ours": ours, "shape": list(shape)} for theirs, ours, shape in done.mapped],
        "left_out": [{"theirs": name, "why": why} for name, why in done.left_out],
        "parameters": done.parameters,
        "tasks": done.tasks,
    }
    emit(result, options.json, _human)


def _human(result: dict[str, Any]) -> None:
    rows = [[row["theirs"], row["ours"], " x ".join(map(str, row["shape"]))] for row in result["mapped"]]
    table("taken over", ["theirs", "ours", "shape"], rows)
    for row in result["left_out"]:
        note(f"left out: {row['theirs']}: {row['why']}")
    print(f"\n{result['parameters']:,} parameters, rows for {result['tasks']} tasks, in {result['folder']}")
