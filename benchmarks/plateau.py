"""From the log's model to grid-hrm, change by change: token accuracy and exact match beside the baselines.

--size small: the 40 tasks and the hidden sizes of the race. --size log: the log's setting, trained on
ARC-AGI-1's evaluation demonstrations and training tasks, and scored on all 419 evaluation outputs.
Every row trains for the same time. The baselines are computed on the same test outputs. With the fifth row, the model
and the settings of its recipe change at once: rate, weight decay, average of weights, dropout, halting loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._runs import add_keep, positive, runs_folder, scored_run
from hrm_arc.errors import UserError
from hrm_arc.report.names import BASELINES

# The batch size and warm-up of the race's recipes, for rows whose steps are short.
FULL_SIZE = ["--training.batch_size", "24", "--schedule.warmup_steps", "100"]
# Name, recipe and flags of each row. The flags are added to those of the rows before it with the same recipe.
SMALL: list[tuple[str, str, list[str]]] = [
    # Steps on the full canvas are so long that only small batches give enough of them to learn padding.
    (
        "the log's model",
        "race/dual-loop",
        ["--data.canvas", "full", "--training.batch_size", "4", "--schedule.warmup_steps", "5"],
    ),
    ("+ padding ignored by the loss", "race/dual-loop", ["--loss.ignore_padding", "true"]),
    ("+ cropped canvases", "race/dual-loop", ["--data.canvas", "cropped", *FULL_SIZE]),
    ("+ conditioned on the task", "race/dual-loop", ["--model.puzzle_emb", "shared"]),
    # Another model with its recipe: pre-norm layers, four layers run once instead of seven layers run eight times, and
    # its own rate, weight decay, average, dropout and halting loss.
    ("+ pre-norm, one cycle", "race/grid-hrm", ["--model.positions", "sinusoids", "--optimizer.name", "adamw"]),
    ("+ rotary positions of rows and columns", "race/grid-hrm", ["--model.positions", "rotary-2d"]),
    ("+ Muon: grid-hrm", "race/grid-hrm", ["--optimizer.name", "muon"]),
]
LOG: list[tuple[str, str, list[str]]] = [
    ("the log's model", "plateau/dual-loop", []),
    ("grid-hrm", "plateau/grid-hrm", []),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", choices=["small", "log"], default="small", help="see above (default small)")
    parser.add_argument("--minutes", type=positive, default=3.0, help="minutes of training for each row (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every run (default 0)")
    parser.add_argument("--rows", type=int, nargs="+", metavar="N", help="run only these rows, counted from 1")
    add_keep(parser)


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    changes = SMALL if options.size == "small" else LOG
    if options.rows and not set(options.rows) <= set(range(1, len(changes) + 1)):
        raise UserError("--rows", f"expected numbers from 1 to {len(changes)}")
    terms = ["--seed", str(options.seed), "--training.max_minutes", str(options.minutes), "--validation.every", "0"]
    before = ""
    flags: list[str] = []
    with runs_folder(options.keep) as root:
        for number, (name, recipe, more) in enumerate(changes, start=1):
            flags = [*flags, *more] if recipe == before else more
            before = recipe
            if options.rows is None or number in options.rows:
                run = scored_run(root, f"{options.size}-{number}", recipe, [*flags, *terms], ["--votes", "1"])
                yield _row(name, _parameters(run.folder), run.trained, run.scores)


def _parameters(run: Path) -> str:
    """All numbers of a run's model, table and fixed positions included, and how many of them are trained."""
    from hrm_arc.evaluation.torch_backend import load_model
    from hrm_arc.models.reasoner import parameter_counts

    trained, numbers = parameter_counts(load_model(run, "cpu")[0].model)
    return f"{numbers:,} ({trained:,} trained)"


def _row(name: str, parameters: str, trained: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    baselines = scores["baselines"]
    return {
        "model": name,
        "parameters": parameters,
        "steps": f"{trained['steps']:,}",
        "token accuracy (padding counted)": f"{scores['token_accuracy']:.2%}",
        "grids exactly right, one pass": f"{round(scores['exact_accuracy'] * scores['test_outputs'])}"
        f" of {scores['test_outputs']}",
        **{name: f"{baselines[key]['token_accuracy']:.2%}" for key, name in BASELINES.items()},
        "_token_accuracy": scores["token_accuracy"],
        "_exact_accuracy": scores["exact_accuracy"],
        "_baselines": {key: baselines[key]["token_accuracy"] for key in BASELINES},
    }


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the token accuracy of each row with the baselines as lines, and its exact match beside it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 0.42 * len(rows) + 1.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    places = range(len(rows))
    lines = rows[0]["_baselines"]
    # A row far below the baselines is a triangle at the edge, so that the axis can resolve the other rows.
    span = 1 - min(lines.values())
    low = min(lines.values()) - 0.35 * span
    for (key, value), style in zip(lines.items(), (":", "-.", "--"), strict=True):
        left.axvline(value, color="#b03030", linestyle=style, linewidth=1.2, label=f"{BASELINES[key]} {value:.1%}")
    for place, row in zip(places, rows, strict=True):
        value = row["_token_accuracy"]
        left.plot(max(value, low + 0.01 * span), place, "o" if value > low else "<", color="#3f5f85")
        left.annotate(f"{value:.1%}", (max(value, low), place), (6, 5), textcoords="offset points", fontsize=8)
        exact = row["_exact_accuracy"]
        right.annotate(f"{exact:.0%}", (exact, place), (4, -3), textcoords="offset points", fontsize=8)
    left.set_xlim(low, 1 + 0.12 * span)
    left.set_xlabel("token accuracy, padding counted")
    left.set_yticks(list(places), [row["model"] for row in rows])
    left.invert_yaxis()
    right.barh(places, [row["_exact_accuracy"] for row in rows], color="#2e7d4f", height=0.5)
    right.set_xlabel("grids exactly right, one pass")
    right.set_xlim(0, max(0.05, 1.25 * max(row["_exact_accuracy"] for row in rows)))
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    figure.savefig(path, dpi=130)
