"""arc-aug-N written out in the layout that the published HRM and TRM read.

Arrays are written part by part through memory maps, by as many processes as there are
cores. A line in a journal says which parts are done, so a build that was killed goes on.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.errors import ReportedError, UserError, unwritable
from hrm_arc.files import claimed, write_text, writing
from hrm_arc.puzzles.arrays import SEPARATOR
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.canvas import FULL, PAD, VOCABULARY, Canvas, CanvasKind
from hrm_arc.puzzles.corpus import Corpus, Puzzle
from hrm_arc.puzzles.formats import task_json
from hrm_arc.puzzles.symmetry import turn

# Samples between two lines of the journal, and those that a process holds at a time.
PART = 8192
AT_ONCE = 1024
JOURNAL, RECORD = "building.journal", "build.json"
BLANK = "<blank>"
# The arrays of a split that are large: one byte for each cell of each sample.
TOKENS = ("inputs", "labels")


@dataclass(frozen=True)
class BuildConfig:
    """What is built.

    Attributes:
        sources: what the corpus was made of, for the record.
        augment: distinct variants of each puzzle beside the original.
        seed: which ones, and the offsets.
        copies: how often the set holds every sample.
    """

    sources: tuple[str, ...]
    augment: int
    seed: int = 0
    copies: int = 1


def build(
    corpus: Corpus,
    config: BuildConfig,
    out: Path,
    *,
    workers: int = 0,
    part: int = PART,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write ``train`` and ``test`` arrays, identifiers and puzzles; go on where a build was cut off.

    Args:
        corpus: tasks to solve and tasks given away.
        config: which variants.
        out: the folder; it is made, or holds the same build unfinished or whole.
        workers: processes; 0 for one on each core that this process may use.
        part: samples written at once.
        progress: called with samples written and samples in all.

    Returns:
        ``train_samples``, ``test_samples``, ``bytes`` on the disk, ``identifiers``.

    Raises:
        UserError: the folder holds something else, another process is writing it, or the disk has no room.
        ReportedError: a process that wrote it was killed.
    """
    plan = _Plan(corpus, config)
    record = {**asdict(config), "sources": list(config.sources), "fingerprint": plan.fingerprint(), "part": part}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from None
    with claimed(out, "writing"):
        done = _open_journal(out, record)
        if done is not None:
            _fill(plan, out, done, part, workers, progress)
            _write_json(out / RECORD, record | {"finished": True})
            (out / JOURNAL).unlink(missing_ok=True)
    return {
        "train_samples": len(plan.sets["train"]),
        "test_samples": len(plan.sets["test"]) if "test" in plan.sets else 0,
        "bytes": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
        "identifiers": len(plan.names),
    }


def _fill(
    plan: _Plan, out: Path, done: set[tuple[str, int]], part: int, workers: int, progress: Callable[[int, int], None]
) -> None:
    """Write all parts but those that are ``done``, a line of the journal for each, and then the rest."""
    sizes = {split: len(data) for split, data in plan.sets.items()}
    _reserve(out, sizes, plan.canvas)
    todo = [(split, start) for split in sizes for start in range(0, sizes[split], part) if (split, start) not in done]
    total = sum(sizes.values())
    written = total - sum(min(part, sizes[split] - start) for split, start in todo)
    progress(written, total)
    with (out / JOURNAL).open("a", encoding="utf-8") as journal:
        for split, start in _write_parts(plan, out, todo, part, workers):
            journal.write(f"{split} {start}\n")
            journal.flush()
            written += min(part, sizes[split] - start)
            progress(written, total)
    plan.write_rest(out)


@dataclass(frozen=True)
class _Part:
    """What a process needs to know of a split: less to send than the set itself."""

    puzzles: list[Puzzle]
    config: BuildConfig
    canvas: CanvasKind
    shift: bool

    def open(self) -> AugmentedSet:
        config = self.config
        return AugmentedSet(
            self.puzzles,
            augment=config.augment,
            seed=config.seed,
            canvas=self.canvas,
            shift=self.shift,
            copies=config.copies,
        )


class _Plan:
    """Both sets, and the arrays that say which rows belong to which puzzle."""

    def __init__(self, corpus: Corpus, config: BuildConfig):
        self.corpus = corpus
        self._copies = config.copies
        puzzles = {"train": corpus.training_puzzles(), "test": corpus.held_back_puzzles()}
        boards = {puzzle.canvas for part in puzzles.values() for puzzle in part}
        games = all(task.boards for task in corpus.tasks)
        # Games on boards of one size are written at that size, like the published ones.
        self.canvas = boards.pop() if games and len(boards) == 1 else FULL
        kind: CanvasKind = "full" if self.canvas == FULL else "cropped"
        self.parts = {split: _Part(part, config, kind, split == "train") for split, part in puzzles.items() if part}
        self.sets = {split: part.open() for split, part in self.parts.items()}
        # Boards have no names of their own: the game's rules are all there is to know.
        self.names = [BLANK] if games else [BLANK, *self._variant_names()]

    def fingerprint(self) -> str:
        """What tells this corpus from another, answers included, as hexadecimal digits."""
        digest = hashlib.sha256()
        for side, tasks in (("solve", self.corpus.solve), ("study", self.corpus.study)):
            for task in tasks:
                digest.update(f"{side} {task.id} {len(task.demonstrations)}".encode())
                for grid in (grid for pair in task.demonstrations + task.tests for grid in (pair.input, pair.output)):
                    digest.update(b"-" if grid is None else repr(grid.shape).encode() + grid.tobytes())
        return digest.hexdigest()

    def write_rest(self, out: Path) -> None:
        """Everything but the tokens."""
        first = self._first_names()
        for split, data in self.sets.items():
            identifiers = [
                np.zeros(count, np.int32)
                if len(self.names) == 1
                else np.arange(first[puzzle.id], first[puzzle.id] + count)
                for puzzle, count in zip(data.puzzles, data.variants.tolist(), strict=True)
            ]
            pairs = np.tile(np.repeat(data.pairs, data.variants), self._copies)
            arrays = {
                "puzzle_identifiers": np.tile(np.concatenate(identifiers), self._copies),
                "puzzle_indices": np.concatenate([[0], np.cumsum(pairs)]),
                "group_indices": np.concatenate([[0], np.cumsum(np.tile(data.variants, self._copies))]),
            }
            for name, array in arrays.items():
                np.save(out / split / f"all__{name}.npy", array.astype(np.int32))
            _write_json(out / split / "dataset.json", self._card(data, len(pairs)))
        _write_json(out / "identifiers.json", self.names)
        _write_json(out / "test_puzzles.json", {task.id: task_json(task) for task in self.corpus.solve})

    def _card(self, data: AugmentedSet, puzzles: int) -> dict[str, Any]:
        """What the published loaders ask of a split."""
        return {
            "seq_len": self.canvas.cells,
            "vocab_size": VOCABULARY,
            "pad_id": PAD,
            "ignore_label_id": PAD,
            "blank_identifier_id": 0,
            "num_puzzle_identifiers": len(self.names),
            "total_groups": len(data.puzzles) * self._copies,
            "total_puzzles": puzzles,
            "mean_puzzle_examples": len(data) / puzzles,
            "sets": ["all"],
        }

    def _first_names(self) -> dict[str, int]:
        """The identifier of each puzzle's original, in the corpus's order."""
        starts = 1 + np.cumsum(self.sets["train"].variants) - self.sets["train"].variants
        return {p.id: int(start) for p, start in zip(self.sets["train"].puzzles, starts, strict=True)}

    def _variant_names(self) -> Iterator[str]:
        """``task``, then ``task|||t3|||0213456789`` for each variant, as TRM names them."""
        data = self.sets["train"]
        for number, puzzle in enumerate(data.puzzles):
            variants = np.arange(data.variants[number])
            dihedrals, colours = data.symmetries(np.full_like(variants, number), variants)
            yield puzzle.id
            for dihedral, colour in zip(dihedrals[1:], colours[1:], strict=True):
                digits = "".join(map(str, colour))
                yield f"{puzzle.id}{SEPARATOR}t{PUBLISHED_DIHEDRALS[dihedral]}{SEPARATOR}{digits}"


def _published_dihedrals() -> list[int]:
    """The number that the published sets have for each of our dihedral transforms."""
    probe = np.arange(4).reshape(2, 2)
    theirs = [np.rot90(probe, quarters) for quarters in range(4)]
    theirs += [np.fliplr(probe), np.flipud(probe), probe.T, np.fliplr(np.rot90(probe))]
    return [next(n for n, image in enumerate(theirs) if np.array_equal(image, turn(probe, d))) for d in range(8)]


PUBLISHED_DIHEDRALS = _published_dihedrals()


def _write_parts(
    plan: _Plan, out: Path, parts: Sequence[tuple[str, int]], part: int, workers: int
) -> Iterator[tuple[str, int]]:
    """Write parts and yield each when it is on its way to the disk."""
    workers = min(workers or _cores(), len(parts))
    if workers <= 1:
        _sets.update(plan.sets)
        yield from (_write_part(out, *each, part) for each in parts)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _open_sets, (plan.parts,)) as pool:
        try:
            for future in as_completed([pool.submit(_write_part, out, *each, part) for each in parts]):
                yield future.result()
        except BrokenProcessPool:
            what = "a process that wrote it was killed, perhaps for want of memory; the same command goes on"
            raise ReportedError(out, f"{what}, with fewer --workers") from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_sets: dict[str, AugmentedSet] = {}


def _open_sets(parts: dict[str, _Part]) -> None:
    """What a process does before its first part. Ctrl-C is for the one that has started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _sets.update({split: part.open() for split, part in parts.items()})


def _write_part(out: Path, split: str, start: int, part: int) -> tuple[str, int]:
    data = _sets[split]
    end = min(start + part, len(data))
    arrays = [np.load(out / split / f"all__{name}.npy", mmap_mode="r+") for name in TOKENS]
    for first in range(start, end, AT_ONCE):
        last = min(first + AT_ONCE, end)
        (samples,) = data.samples(np.arange(first, last))
        for array, tokens in zip(arrays, (samples.inputs, samples.labels), strict=True):
            array[first:last] = tokens
    for array in arrays:
        array.flush()
    return split, start


def _reserve(out: Path, samples: Mapping[str, int], canvas: Canvas) -> None:
    """Files of the right size for the tokens of so many samples of each split, unless they are there.

    Raises:
        UserError: the disk has no room for all of them.
    """
    files = [(out / split / f"all__{name}.npy", count) for split, count in samples.items() for name in TOKENS]
    missing = {file: (count, canvas.cells) for file, count in files if not file.is_file()}
    needed, free = sum(map(math.prod, missing.values())), shutil.disk_usage(out).free
    if free < needed:
        raise UserError(out, f"needs {needed / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB left")
    for file, shape in missing.items():
        with writing(file) as beside:
            np.lib.format.open_memmap(beside, "w+", np.uint8, shape).flush()
            _take_room(beside)


def _take_room(file: Path) -> None:
    """Have the disk set aside all of a file, where it can: a map of one that it has no room for ends in a crash."""
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)


def _open_journal(out: Path, record: dict[str, Any]) -> set[tuple[str, int]] | None:
    """The parts that are done, or None if all of it is.

    Raises:
        UserError: the folder holds something else, or cannot be written to.
    """
    journal = out / JOURNAL
    if not (out / RECORD).is_file():
        if any(out.iterdir()):
            raise UserError(out, "is not empty; choose another folder or remove it")
        _write_json(out / RECORD, record | {"finished": False})
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except ValueError:
        found = {}
    finished = found.pop("finished", False)
    if found != record:
        raise UserError(out, "holds another build; choose another folder or remove it")
    if finished:
        return None
    # A line that a kill cut off stands for no part; what follows it has to begin a line.
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True) if journal.is_file() else []
    done = [line.split() for line in lines if line.endswith("\n")]
    write_text(journal, "".join(f"{split} {start}\n" for split, start in done))
    return {(split, int(start)) for split, start in done}


def _write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data))
