"""Import a published checkpoint of HRM or TRM, to score it, audit it or continue its training.

  hrm import hrm checkpoint --identifiers data/arc-aug-1000/identifiers.json
  hrm eval runs/imported-checkpoint --data arc-agi-1/evaluation --votes 1

Only tensors are read; code in the file is never run. Of the puzzle embedding, the rows of original tasks are
imported; those of variants with --variants, so that they can vote as in the published evaluations:
  hrm import hrm checkpoint --identifiers data/arc-aug-1000/identifiers.json --variants
  hrm eval runs/imported-checkpoint --data arc-agi-1/evaluation --reading published

A checkpoint of Sudoku (11 tokens) or Maze (6 tokens) needs no identifiers: its boards share one row.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hrm_arc.cli.show import add_json, counted, emit, note, table
from hrm_arc.errors import UserError

# Fields of the models' configurations that a checkpoint does not tell.
OPTIONS = {
    "num_heads": "attention heads",
    "puzzle_emb_len": "tokens in front of the cells for the puzzle embedding",
    "h_cycles": "cycles of the H level",
    "l_cycles": "cycles of the L level",
    "segments": "the most segments",
    "cells": "cells of the canvas, for TRM with an mlp over positions and for learned positions",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["hrm", "trm"], help="the model")
    parser.add_argument("file", type=Path, help="the published checkpoint")
    parser.add_argument(
        "--identifiers",
        type=Path,
        metavar="FILE",
        help="identifiers.json of its training set, which names the rows of the puzzle embedding",
    )
    parser.add_argument("--variants", action="store_true", help="import the rows of variants, too; needs --identifiers")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the run folder to create (default: runs/imported-FILE)"
    )
    for name, what in OPTIONS.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, metavar="N", help=f"{what} (default: by the file, else as published)")
    parser.add_argument(
        "--no-positions",
        action="store_true",
        help="the model has no positions (pos_encodings none), which its file does not tell",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from hrm_arc.deploy.importing import import_checkpoint

    out = options.out or Path("runs") / f"imported-{options.file.stem}"
    if out.exists():
        raise UserError(out, "exists already; name another folder with --out")
    if options.variants and options.identifiers is None:
        raise UserError("--variants", "needs --identifiers, which name the variants of the rows")
    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    if options.no_positions:
        given["positions"] = "none"
    done = import_checkpoint(options.kind, options.file, out, options.identifiers, given, options.variants)
    result = {
        "folder": str(out),
        "mapped": [{"theirs": theirs, "ours": ours, "shape": list(shape)} for theirs, ours, shape in done.mapped],
        "left_out": [{"theirs": name, "why": why} for name, why in done.left_out],
        "parameters": done.parameters,
        "tasks": done.tasks,
        "variants": done.variants,
        "options": done.options,
    }
    emit(result, options.json, _human)


def _human(result: dict[str, Any]) -> None:
    rows = [[row["theirs"], row["ours"], " x ".join(map(str, row["shape"]))] for row in result["mapped"]]
    table("imported tensors", ["published name", "name here", "shape"], rows)
    for row in result["left_out"]:
        note(f"left out: {row['theirs']} ({row['why']})")
    options, tasks = result["options"], counted(result["tasks"], "tasks")
    table_of = f"puzzle embedding of {tasks}" if options["puzzle_emb"] == "variants" else "no puzzle embedding"
    if result["variants"] > 1:
        table_of += f" with up to {result['variants']:,} variants each"
    print("\n" + ", ".join(f"{key} {value}" for key, value in options.items()))
    print(f"{result['parameters']:,} parameters, {table_of}, written to {result['folder']}")
