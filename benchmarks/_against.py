"""This version against another one of the same repository, in turn, by what the commands themselves report."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hrm_arc.cli.show import note
from hrm_arc.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ("--model.hidden_size", "512", "--model.num_heads", "8", "--data.canvas", "full")


class Workload(NamedTuple):
    """A training whose speed is compared.

    Attributes:
        recipe: with its flags; its time limit decides on what is compiled.
        warm_up: steps that do not count, in which libraries prepare for shapes.
        steps: that count.
    """

    recipe: tuple[str, ...]
    warm_up: int
    steps: int


TRAININGS = {
    "grid-hrm 3.3M, ARC-AGI-1 mix": Workload(("plateau/grid-hrm",), 40, 80),
    "grid-hrm 0.8M, evaluation tasks": Workload(
        (
            "plateau/grid-hrm",
            *("--data.study", "[]", "--data.exclude", "[]"),
            *("--model.hidden_size", "128", "--model.num_heads", "4", "--training.batch_size", "32"),
        ),
        10,
        20,
    ),
    "grid-hrm, race": Workload(("race/grid-hrm",), 100, 200),
    "grid-hrm, quickstart": Workload(("quickstart",), 100, 200),
    "hrm, published width, padded": Workload(("race/hrm", *PUBLISHED, "--training.batch_size", "4"), 1, 2),
    "trm, published width, padded": Workload(("race/trm", *PUBLISHED, "--training.batch_size", "4"), 1, 2),
}
EVALUATION = "hrm eval, 400 tasks, 8 votes"
NAMES = (*TRAININGS, EVALUATION)


def compare(commit: str, names: list[str], rounds: int, precision: str | None = None) -> Iterator[dict[str, Any]]:
    """Rows of this version and another one, which run in turn.

    Args:
        commit: of the other version.
        names: what to compare, of ``NAMES``.
        rounds: runs of each version.
        precision: in which both train and answer; None: each version's own choice.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        other = _checked_out(commit, root / "other")
        for name in names:
            speed = _evaluated if name == EVALUATION else _trained
            note(f"{name}: {rounds} runs of each version")
            pairs = [(speed(name, other, root, precision), speed(name, ROOT, root, precision)) for _ in range(rounds)]
            before, now = (statistics.median(each) for each in zip(*pairs, strict=True))
            ratios = [mine / theirs for theirs, mine in pairs]
            yield {
                "work": name,
                f"{commit}, samples/s": f"{before:.4g}",
                "this version, samples/s": f"{now:.4g}",
                "times as fast": f"{statistics.median(ratios):.2f}",
                "lowest and highest": f"{min(ratios):.2f} to {max(ratios):.2f}",
            }


def _checked_out(commit: str, folder: Path) -> Path:
    """A copy of the repository at a commit."""
    for command in (
        ["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder)],
        ["git", "-C", str(folder), "checkout", "--quiet", "--detach", commit],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise UserError("--against", f"{commit}: {lines[-1] if lines else 'git failed'}")
    return folder


def _hrm(version: Path, *arguments: str) -> dict[str, Any]:
    """The JSON object that a version's command prints."""
    command = [sys.executable, "-m", "hrm_arc", *arguments, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(version)}
    done = subprocess.run(command, cwd=version, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(" ".join(command), done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def _trained(name: str, version: Path, root: Path, precision: str | None) -> float:
    """Samples per second of a training after its warm-up."""
    work = TRAININGS[name]
    length = ["--training.max_steps", str(work.warm_up + work.steps), "--training.log_every", "1"]
    chosen = ["--training.precision", precision] if precision else []
    with tempfile.TemporaryDirectory(dir=root) as runs:
        flags = [*length, *chosen, "--validation.every", "0", "--out", runs]
        folder = Path(_hrm(version, "train", *work.recipe, *flags)["folder"])
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        seconds = {row["step"]: row["seconds"] for row in rows if "loss" in row and "lr" in row}
        config = (folder / "config.yaml").read_text()
    size = int(next(line for line in config.splitlines() if "batch_size:" in line).split(":")[1])
    return work.steps * size / (seconds[work.warm_up + work.steps] - seconds[work.warm_up])


def _evaluated(name: str, version: Path, root: Path, precision: str | None) -> float:
    """Variants of test inputs that are answered per second, by a model that has learned nothing much."""
    run = root / "evaluated"
    if not run.exists():
        recipe = TRAININGS["grid-hrm 0.8M, evaluation tasks"].recipe
        flags = ["--training.max_steps", "2", "--validation.every", "0", "--out", str(root / "made")]
        Path(_hrm(root / "other", "train", *recipe, *flags)["folder"]).rename(run)
    with tempfile.TemporaryDirectory(dir=root) as out:
        chosen = ["--precision", precision] if precision and _has_precision(version) else []
        scores = _hrm(version, "eval", str(run), "--votes", "8", *chosen, "--out", out)
    return 8 * scores["test_outputs"] / scores["seconds"]


def _has_precision(version: Path) -> bool:
    """Whether a version's ``hrm eval`` takes a precision; the first ones always used single precision."""
    command = [sys.executable, "-m", "hrm_arc", "eval", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(version)}
    done = subprocess.run(command, cwd=version, env=environment, capture_output=True, text=True, check=True)
    return "--precision" in done.stdout
