"""Disturb commands at random times, let them go on, and compare how they end with undisturbed ones.

train      killed with SIGKILL, and resumed each time
readers    a training loses the readers of its output: closed pipes, full devices
sighup     a training's session is closed; under nohup that is ignored
eval, validate, export, build    killed with SIGKILL, and run again

While trainings are killed a thread reads status.json without pause. Their checkpoints are so frequent that many kills
interrupt the writing of one. A checkpoint counts as unreadable if a file does not match its checksum. Leftovers are
files that an undisturbed command does not leave.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._faulty_readers import Trainings
from benchmarks._killed_commands import COMMANDS, Kills
from benchmarks._same import (
    HRM,
    TRAIN,
    Tally,
    differing,
    differing_rows,
    finish,
    is_same_run,
    leftovers,
    only_run,
    progress,
    tensors,
)
from hrm_arc.cli.show import counting
from hrm_arc.errors import UserError
from hrm_arc.runs.checkpoint import LATEST, check, list_checkpoints
from hrm_arc.runs.folder import RunFolder

PARTS = ("train", "readers", "sighup", *COMMANDS)
# Kills of a training; and of each other command.
TRAIN_KILLS, COMMAND_KILLS = 50, 25


class Reader(threading.Thread):
    """Reads every status.json under a folder again and again, and counts reads that do not parse."""

    def __init__(self, root: Path):
        super().__init__(daemon=True)
        self.root = root
        self.reads = self.invalid = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            for path in self.root.glob("*/status.json"):
                self.reads += 1
                try:
                    json.loads(path.read_text())
                except ValueError:
                    self.invalid += 1
            time.sleep(0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"some of {', '.join(PARTS)}")
    parser.add_argument(
        "--kills",
        type=int,
        help=f"number of kills (default: {TRAIN_KILLS} of a training, {COMMAND_KILLS} of each other command)",
    )
    parser.add_argument("--moments", type=int, default=20, help="trainings that lose their readers (default 20)")
    parser.add_argument("--hangups", type=int, default=5, help="trainings that get a SIGHUP (default 5)")
    parser.add_argument("--steps", type=int, help="length of the killed training (default: 100 steps for each kill)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default 0)")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in ("kills", "moments", "hangups"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}", f"{value}, expected at least 1")
    chosen = [part for part in PARTS if not options.only or part in options.only]
    with tempfile.TemporaryDirectory() as folder:
        # Names without the links of a temporary folder, as commands print them.
        root = Path(folder).resolve()
        for name in ("train", "other", "commands"):
            (root / name).mkdir()
        if "train" in chosen:
            yield from _killed_training(root / "train", options)
        if {"readers", "sighup"} & set(chosen):
            trainings = Trainings(root / "other", options.seed)
            yield from trainings.readers(options.moments if "readers" in chosen else 0)
            yield from trainings.hangups(options.hangups if "sighup" in chosen else 0)
        commands = [part for part in chosen if part in COMMANDS]
        if commands:
            kills = Kills(root / "commands", options.seed)
            for name in commands:
                yield from kills.rows(name, options.kills or COMMAND_KILLS)


def _killed_training(root: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One training that is killed and resumed again and again."""
    kills = options.kills or TRAIN_KILLS
    steps = ["--training.max_steps", str(options.steps or 100 * kills)]
    straight = finish([*TRAIN, *steps, "--out", str(root / "straight")], root / "straight")
    reader = Reader(root / "killed")
    reader.start()
    resumed, unreadable, inside = _kill_often(root / "killed", steps, kills, options.seed)
    reader.ended.set()
    reader.join()
    details = [
        f"{inside} inside the writing of a checkpoint",
        f"{differing(straight, resumed)} of {len(tensors(straight))} tensors differ",
        f"{differing_rows(straight, resumed)} rows of metrics differ, are missing or come twice",
        f"{unreadable} unreadable checkpoints",
        f"{reader.invalid} of {reader.reads:,} reads of status.json invalid",
    ]
    is_same = is_same_run(resumed, straight) and not unreadable and not reader.invalid
    tally = Tally(kills, kills if is_same else 0, leftovers(resumed, straight))
    yield tally.row("train: SIGKILL, then --resume", "; ".join(details))


def _kill_often(root: Path, steps: list[str], kills: int, seed: int) -> tuple[RunFolder, int, int]:
    """Kill and resume a run ``kills`` times, then let it end.

    Returns:
        the run, unreadable checkpoints, kills while a checkpoint was being written.
    """
    moments = random.Random(seed)
    command = [*TRAIN, *steps, "--out", str(root)]
    unreadable = inside = 0
    with counting("kills of train", kills) as count:
        for number in range(kills):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            before = progress(root)
            while process.poll() is None and progress(root) in (0, before):
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.3))
            if process.poll() is not None:
                raise UserError("--steps", "the run ended before all kills were done, expected more steps")
            process.send_signal(signal.SIGKILL)
            process.wait()
            folder = only_run(root)
            inside += any(folder.checkpoints.glob(".*"))
            for checkpoint in list_checkpoints(folder.checkpoints, LATEST):
                try:
                    check(checkpoint)
                except UserError:
                    unreadable += 1
            command = [*HRM, "train", "--resume", str(folder.path)]
            count(number + 1)
    return finish(command, root), unreadable, inside
