"""The experiments that need a GPU, in a fixed order. Repeat the command to resume where it stopped.

Each writes a folder in --records: recipe, code version, hardware, torch version, metrics and scores.
With --scale 0.001 every run has a thousandth of its length, to check on a CPU that all of them work.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._processes import interrupt
from hrm_arc.errors import UserError
from hrm_arc.files import write_json


@dataclass(frozen=True)
class Experiment:
    """One run.

    Attributes:
        name: its folder in ``--records``.
        recipe: a recipe.
        flags: dotted flags of ``hrm train``.
        minutes: length of the run; 0: ``steps`` is its length.
        steps: length of the run; 0: ``minutes`` is its length.
    """

    name: str
    recipe: str
    flags: tuple[str, ...] = ()
    minutes: float = 0.0
    steps: int = 0


_LOG = ("--training.precision", "bf16-mixed", "--data.sampling", "samples", "--data.augment", "500")
_CELLS = ("--loss.ignore_padding", "true", *_LOG)
# The log's recipe uses activation checkpointing, for machines with little memory; a GPU does not need it.
_DUAL_LOOP = ("--model.recompute", "false")
# Every row keeps the two leaks of the log's data, so that all rows have the same data.
_LEAKS = ("--data.exclude", "[]", "--data.allow_leak", "true")
_CROPPED = ("--data.canvas", "cropped", "--data.translate", "false", *_LEAKS, *_CELLS)
# Optimizer, loss and schedule of the log: such a row then differs from the one before it in the model only.
_LEARNS = (
    *("--optimizer.name", "adamw", "--optimizer.lr", "3e-4", "--optimizer.weight_decay", "0.01"),
    *("--optimizer.betas", "[0.9, 0.999]", "--optimizer.ema", "0", "--training.batch_size", "40"),
    *("--loss.label_smoothing", "0.1", "--loss.halt_kind", "penalty", "--loss.halt_weight", "0.01"),
    *("--schedule.kind", "restarts", "--schedule.restart_steps", "20000"),
    *("--schedule.warmup_steps", "0", "--schedule.min_lr_ratio", "0"),
    *("--model.tie_embeddings", "false"),
)

# The plateau in 7,000 steps, then one change after another; all rows train on equally many samples.
# The last row is the recipe itself: Muon, EMA, tied input and output embeddings.
PLATEAU = [
    Experiment("plateau-1-log", "log/session-5", (*_DUAL_LOOP, *_LOG), steps=7000),
    Experiment("plateau-2-loss", "log/session-5", (*_DUAL_LOOP, *_CELLS), steps=7000),
    Experiment("plateau-3-cropped", "log/session-5", (*_DUAL_LOOP, *_CROPPED), steps=7000),
    Experiment(
        "plateau-4-conditioned", "log/session-5", (*_DUAL_LOOP, "--model.puzzle_emb", "shared", *_CROPPED), steps=7000
    ),
    Experiment(
        "plateau-5-pre-norm", "plateau/grid-hrm", ("--model.positions", "sinusoids", *_LEARNS, *_CROPPED), steps=7000
    ),
    Experiment("plateau-6-rotary-2d", "plateau/grid-hrm", (*_LEARNS, *_CROPPED), steps=7000),
    Experiment("plateau-7-grid-hrm", "plateau/grid-hrm", ("--training.batch_size", "40", *_CROPPED), steps=7000),
]
RECORD = [Experiment("record-arc1", "record-arc1", minutes=25)]
SIZES = [
    # The published batch size is for eight GPUs, and the published warm-up for runs of days.
    Experiment(
        "size-27m-arc1",
        "hrm",
        ("--model.puzzle_emb", "shared", "--training.batch_size", "128", "--schedule.warmup_steps", "10"),
        minutes=10,
    ),
    Experiment("size-6.2m-arc1", "record-arc1", minutes=10),
    Experiment(
        "record-arc2",
        "record-arc1",
        ("--data.solve", "[arc-agi-2/evaluation]", "--data.study", "[arc-agi-2/training]"),
        minutes=10,
    ),
]
_ABLATED: dict[str, tuple[str, ...]] = {
    "none": (),
    "30 variants": ("--data.augment", "30"),
    "300 variants": ("--data.augment", "300"),
    "no EMA": ("--optimizer.ema", "0"),
    "AdamW": ("--optimizer.name", "adamw"),
    "early exit": ("--halting.early_exit", "true"),
    "1 segment": ("--model.segments", "1"),
    "4 segments": ("--model.segments", "4"),
    "8 segments": ("--model.segments", "8"),
    "convolution": ("--model.convolution", "3"),
    "no task conditioning": ("--model.conditioning", "[dihedral, roles]"),
    "no dihedral conditioning": ("--model.conditioning", "[task, roles]"),
    "no roles conditioning": ("--model.conditioning", "[task, dihedral]"),
}
ABLATIONS = [
    Experiment(f"ablation-{name.replace(' ', '-').lower()}-{seed}", "record-arc1", (*flags, "--seed", str(seed)), 3)
    for seed in range(3)
    for name, flags in _ABLATED.items()
]
ABOUT = "about.json"
COLUMNS = (
    *("experiment", "state", "pass@2", "grids exactly right, one pass", "token accuracy (padding counted)"),
    *("copy of the input", "seconds, training and scoring"),
)
EXPERIMENTS = [*PLATEAU, *RECORD, *SIZES, *ABLATIONS]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=Path, default=Path("records"), help="folder of records (default: records)")
    parser.add_argument(
        "--stretch", type=float, default=9.5, metavar="MINUTES", help="stop after this many minutes (default 9.5)"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="factor of every length; below 1 on a CPU (default 1)")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="run only experiments whose names start with one of these"
    )


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    ends = time.monotonic() + 60 * options.stretch
    chosen = [each for each in EXPERIMENTS if not options.only or each.name.startswith(tuple(options.only))]
    if not chosen:
        raise UserError("--only", f"{' '.join(options.only)}: no experiment has such a name")
    for experiment in chosen:
        folder = options.records / experiment.name
        _check_scale(folder, options.scale)
        if not (folder / "scores.json").is_file():
            state = _resume(experiment, folder, options.scale, ends)
            if state == "stopped":
                yield _row(experiment, "interrupted; the same command resumes it")
                return
            if state == "failed":
                yield _row(experiment, f"failed; see {folder / 'errors.txt'}")
                continue
        scores = json.loads((folder / "scores.json").read_text())
        yield _row(
            experiment,
            "done",
            f"{scores['pass@2']:.2%}",
            f"{scores['exact_accuracy']:.2%}",
            f"{scores['token_accuracy']:.2%}",
            f"{scores['baselines']['copy_input']['token_accuracy']:.2%}",
            f"{json.loads((folder / ABOUT).read_text())['seconds']:.0f}",
        )


def _check_scale(folder: Path, scale: float) -> None:
    """A run of a thousandth of the length is not the result of the whole one.

    Raises:
        UserError: the record was begun with another scale.
    """
    about = folder / ABOUT
    known = json.loads(about.read_text()).get("scale", scale) if about.is_file() else scale
    if known != scale:
        what = f"was begun with --scale {known}, not {scale:g}; name another folder with --records"
        raise UserError(folder, what)


def _row(experiment: Experiment, state: str, *figures: str) -> dict[str, Any]:
    """A row of the table; ``-`` where there are no figures yet."""
    cells = (experiment.name, state, *(figures or ["-"] * (len(COLUMNS) - 2)))
    return dict(zip(COLUMNS, cells, strict=True))


def _resume(experiment: Experiment, folder: Path, scale: float, ends: float) -> str:
    """Train and score until ``ends``; returns done, stopped or failed."""
    runs = folder / "runs"
    begun = sorted(runs.glob("*/config.yaml"))
    if begun:
        command = ["train", "--resume", str(begun[-1].parent)]
    else:
        command = ["train", experiment.recipe, *experiment.flags, *_length(experiment, scale), "--out", str(runs)]
    folder.mkdir(parents=True, exist_ok=True)
    _describe(experiment, folder, scale)
    if not _finished(begun[-1].parent if begun else None):
        state = _hrm(command, folder, ends)
        if state != "done":
            return state
    run = sorted(runs.glob("*/config.yaml"))[-1].parent
    votes = ["--votes", "1"] if scale < 1 else []
    state = _hrm(["eval", str(run), *votes], folder, ends)
    if state == "done":
        for name in ("config.yaml", "metrics.jsonl", "scores.json", "submission.json"):
            shutil.copy(run / name, folder / name)
    return state


def _length(experiment: Experiment, scale: float) -> list[str]:
    if experiment.minutes:
        flags = ["--training.max_minutes", f"{experiment.minutes * scale:.4g}"]
    else:
        flags = ["--training.max_minutes", "0", "--training.max_steps", str(max(1, round(experiment.steps * scale)))]
    if scale < 1:
        # A CPU takes seconds for a step that a GPU takes hundredths of a second for.
        flags += ["--training.batch_size", "2", "--training.grad_accum_steps", "1", "--training.precision", "32-true"]
        flags += ["--data.smallest", "3", "--data.augment", "2"]
    return flags


def _finished(run: Path | None) -> bool:
    if run is None:
        return False
    status = json.loads((run / "status.json").read_text()) if (run / "status.json").is_file() else {}
    return status.get("state") == "finished"


def _hrm(arguments: list[str], folder: Path, ends: float) -> str:
    """Run a command, or interrupt it at ``ends`` so that it saves a checkpoint; add its time to the record."""
    started = time.monotonic()
    left = ends - started
    if left <= 0:
        return "stopped"
    with (folder / "errors.txt").open("a") as errors:
        # In a session of its own: Ctrl-C reaches it once, through interrupt, and not once more from the terminal.
        process = subprocess.Popen(
            [sys.executable, "-m", "hrm_arc", *arguments], stdout=errors, stderr=errors, start_new_session=True
        )
        try:
            process.wait(left)
            state = "done" if process.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            interrupt(process)
            state = "stopped"
        except BaseException:
            interrupt(process)
            raise
        finally:
            about = json.loads((folder / ABOUT).read_text())
            write_json(folder / ABOUT, {**about, "seconds": about["seconds"] + time.monotonic() - started})
    return state


def _describe(experiment: Experiment, folder: Path, scale: float) -> None:
    """Write what is run, with which code and on which hardware, before the run, so that failures have it too.

    A record that is resumed names the code of every part.
    """
    import torch

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU"
    # Untracked files, such as earlier records, do not make the code a modified one.
    modified = "-modified" if git("status", "--porcelain", "--untracked-files=no") else ""
    known = json.loads((folder / ABOUT).read_text()) if (folder / ABOUT).is_file() else {"code": [], "seconds": 0.0}
    earlier = [known["code"]] if isinstance(known["code"], str) else known["code"]
    about = {
        "experiment": experiment.name,
        "scale": scale,
        "code": list(dict.fromkeys([*earlier, git("rev-parse", "HEAD") + modified])),
        "hardware": device,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "seconds": known["seconds"],
    }
    write_json(folder / ABOUT, about)
