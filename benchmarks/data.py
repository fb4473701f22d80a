"""Speed and robustness of the data code: first batch, samples per second, hrm data build, malformed files.

The set is arc-aug-500: ARC-AGI-1 and, with --concept-arc, ConceptARC. For comparison, a plain loop
makes one sample after another, as published dataset builders do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._hostile import hostile_file
from benchmarks._processes import run

AUGMENT = 500
BATCH = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--concept-arc", type=Path, metavar="DIR", help="ConceptARC's folder (default: without ConceptARC)"
    )
    parser.add_argument("--batches", type=int, default=2000, help="number of batches of 256 samples to time")
    parser.add_argument("--kills", type=int, default=5, help="number of times that the build is killed and resumed")
    parser.add_argument("--files", type=int, default=10_000, help="number of malformed files to check")
    parser.add_argument("--scratch", type=Path, help="a folder with 8 GB of free space (default: the temporary folder)")
    parser.add_argument("--part", choices=["ours", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=["lazy", "build", "hostile"], help="measure only this part of the table")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if options.part:
        yield _in_this_process(options)
        return
    if options.only in (None, "lazy"):
        yield from _lazy(options)
    if options.only in (None, "build"):
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            yield from _build(options, Path(folder))
    if options.only in (None, "hostile"):
        yield from _hostile(options.files)


def _row(what: str, measured: str, plain: str = "", target: str = "") -> dict[str, Any]:
    return {"what": what, "hrm-arc": measured, "plain loop": plain, "target": target}


# Samples computed when they are needed ---------------------------------------------------


def _lazy(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    first, rates, peaks = {}, {}, {}
    for part in ("ours", "plain"):
        batches = options.batches if part == "ours" else max(2, options.batches // 20)
        starts = [_child(options, part, 1) for _ in range(5)]
        first[part] = statistics.median(each["first"] for each in starts)
        through = _child(options, part, batches)
        rates[part], peaks[part] = through["rate"], through["peak"]
    cells = {part: f"{first[part]:.2f} s" for part in first}
    yield _row("first batch of 256, from the start of the process (median of 5)", cells["ours"], cells["plain"], "2 s")
    cells = {part: f"{rates[part]:,.0f}" for part in rates}
    yield _row("samples per second, one core, 900 tokens each", cells["ours"], cells["plain"], "50,000")
    cells = {part: f"{peaks[part] / 1e6:.0f} MB" for part in peaks}
    yield _row("peak resident memory", cells["ours"], cells["plain"], "300 MB")


def _child(options: argparse.Namespace, part: str, batches: int) -> dict[str, float]:
    command = [sys.executable, "-m", "hrm_arc", "bench", "data", "--part", part, "--batches", str(batches), "--json"]
    if options.concept_arc:
        command += ["--concept-arc", str(options.concept_arc)]
    started = time.time()
    row = json.loads(run(command).output)["rows"][0]
    return {**row, "first": row["first"] - started}


def _in_this_process(options: argparse.Namespace) -> dict[str, Any]:
    from hrm_arc.puzzles.augmented import AugmentedSet
    from hrm_arc.puzzles.counter_rng import permute
    from hrm_arc.puzzles.sources import load_corpus
    from hrm_arc.telemetry import peak_memory

    corpus = load_corpus(["arc-agi-1"], [str(options.concept_arc)] if options.concept_arc else [])
    puzzles = corpus.training_puzzles()
    if options.part == "plain":
        loop = _plain_loop(puzzles)

        def batch(number: int) -> Any:
            return [next(loop) for _ in range(BATCH)]

    else:
        data = AugmentedSet(puzzles, augment=AUGMENT, translate=True)

        def batch(number: int) -> Any:
            return data.samples(permute(np.arange(BATCH) + number * BATCH, len(data), 0, 0))

    batch(0)
    first, started = time.time(), time.perf_counter()
    for number in range(1, options.batches):
        batch(number)
    seconds = time.perf_counter() - started
    peak = peak_memory()
    return {"first": first, "rate": (options.batches - 1) * BATCH / seconds, "peak": peak}


def _plain_loop(puzzles: list[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One sample after another: dihedral transform, color permutation, padding, EOS."""
    generator = np.random.default_rng(0)
    while True:
        puzzle = puzzles[generator.integers(len(puzzles))]
        pair = puzzle.drawn[generator.integers(len(puzzle.drawn))]
        colors = np.concatenate([[0], generator.permutation(9) + 1]).astype(np.uint8)
        dihedral = int(generator.integers(8))
        grids = [colors[np.rot90(g.T if dihedral >= 4 else g, dihedral % 4)] for g in (pair.input, pair.output)]
        rows, columns = (int(generator.integers(31 - max(grid.shape[axis] for grid in grids))) for axis in (0, 1))
        sample = []
        for grid in grids:
            padded = np.zeros((30, 30), dtype=np.uint8)
            bottom, right = rows + grid.shape[0], columns + grid.shape[1]
            padded[rows:bottom, columns:right] = grid + 2
            if bottom < 30:
                padded[bottom, columns:right] = 1
            if right < 30:
                padded[rows:bottom, right] = 1
            sample.append(padded.reshape(-1))
        yield sample[0], sample[1]


# The set written to files ----------------------------------------------------------------


def _build(options: argparse.Namespace, scratch: Path) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "hrm_arc", "data", "build", "arc-agi-1", "--augment", str(AUGMENT), "--json"]
    if options.concept_arc:
        command += ["--concept-arc", str(options.concept_arc)]
    disk = _disk_speed(scratch)
    ran = run([*command, "--out", str(scratch / "one")], watch=True)
    done = json.loads(ran.output)
    at_disk_speed = done["bytes"] / disk
    yield _row("training and test samples", f"{done['train_samples']:,} and {done['test_samples']:,}")
    target = f"90 s, or {at_disk_speed:.0f} s at the {disk / 1e6:.0f} MB/s of the disk"
    yield _row(f"hrm data build, {done['bytes'] / 1e9:.2f} GB", f"{ran.seconds:.0f} s", target=target)
    yield _row("peak memory of all its processes", f"{ran.peak_bytes / 1e6:.0f} MB", target="600 MB")
    kills = _killed(command, scratch / "two", options.kills, ran.seconds)
    differing = _differing(scratch / "one", scratch / "two")
    yield _row(f"files that differ after {kills} kills and resumes", str(differing), target="0")
    shutil.rmtree(scratch / "two")
    yield from _distinct(options)


def _killed(command: list[str], out: Path, kills: int, seconds: float) -> int:
    """The same build, killed at random moments and resumed; returns how often it was running when it was killed.

    All kills come within the time of one build, because each resumed build has less left to do.
    """
    moments, killed = random.Random(0), 0
    for _ in range(kills):
        process = subprocess.Popen(
            [*command, "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(seconds * moments.uniform(0.3, 0.9) / kills)
        except subprocess.TimeoutExpired:
            # Kill the workers too, as when a machine is lost.
            subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)
            process.wait()
            killed += process.returncode == -signal.SIGKILL
    run([*command, "--out", str(out)])
    return killed


def _differing(one: Path, two: Path) -> int:
    def sums(folder: Path) -> dict[str, str]:
        found = {}
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                with file.open("rb") as stream:
                    found[str(file.relative_to(folder))] = hashlib.file_digest(stream, "blake2b").hexdigest()
        return found

    a, b = sums(one), sums(two)
    return len(a.keys() ^ b.keys()) + sum(a[name] != b[name] for name in a.keys() & b.keys())


def _distinct(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Hash every sample without translation, and count repetitions within each puzzle."""
    from hrm_arc.puzzles.augmented import AugmentedSet
    from hrm_arc.puzzles.sources import load_corpus

    corpus = load_corpus(["arc-agi-1"], [str(options.concept_arc)] if options.concept_arc else [])
    samples = variants = alike = repeated = 0
    for puzzles in (corpus.training_puzzles(), corpus.held_out_puzzles()):
        data = AugmentedSet(puzzles, augment=AUGMENT)
        for number in range(len(data.puzzles)):
            indices = np.arange(data.starts[number], data.starts[number + 1])
            (batch,) = data.samples(indices)
            assert batch.labels is not None
            hashes = [hash(a.tobytes() + b.tobytes()) for a, b in zip(batch.inputs, batch.labels, strict=True)]
            whole = np.array(hashes).reshape(-1, int(data.pairs[number]))
            samples, variants = samples + len(hashes), variants + len(whole)
            repeated += len(hashes) - len(set(hashes))
            if puzzles[number].visible and len(puzzles[number].drawn) == len(puzzles[number].visible):
                alike += len(whole) - len({frozenset(row) for row in whole.tolist()})
    yield _row(f"repeated variants of a puzzle, of {variants:,}", str(alike), target="0")
    note = "variants that differ only in a color have equal pairs where that color is absent"
    yield _row(f"repeated samples of a puzzle, of {samples:,}; {note}", f"{repeated:,}")


def _disk_speed(folder: Path) -> float:
    """Bytes per second of a plain write of 1 GB, with fsync."""
    import os

    block = os.urandom(2**24)
    started = time.perf_counter()
    with (folder / "speed").open("wb") as file:
        for _ in range(64):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    (folder / "speed").unlink()
    return 64 * len(block) / seconds


# Malformed files -------------------------------------------------------------------------


def _hostile(count: int) -> Iterator[dict[str, Any]]:
    from hrm_arc.puzzles.check import check

    generator = random.Random(0)
    tracebacks = unnamed = 0
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            path = hostile_file(Path(folder), number, generator)
            started = time.perf_counter()
            try:
                found = check([str(path)])
                unnamed += not found.problems
                unnamed += any(str(file) != str(path) or not p.what for file, p in found.problems)
            except Exception:
                tracebacks += 1
            slowest = max(slowest, time.perf_counter() - started)
            path.unlink()
    yield _row(f"tracebacks from {count:,} malformed files", str(tracebacks), target="0")
    yield _row("malformed files without a problem that names them", str(unnamed), target="0")
    yield _row("longest check of a malformed file", f"{slowest:.2f} s", target="2 s")
