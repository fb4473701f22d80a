"""Writes arc-aug-N as files, in the layout that the published HRM and TRM read.

Several processes write the arrays in parts, through memory maps. Each finished part is a line
in a journal, so a build that was interrupted can be resumed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hrm_arc.errors import ReportedError, UserError, unwritable
from hrm_arc.files import exclusive_lock, open_append
from hrm_arc.puzzles.augmented import AugmentedSet
from hrm_arc.puzzles.build_folder import (
    JOURNAL,
    RECORD,
    TOKENS,
    check_arrays,
    open_journal,
    reserve_arrays,
    write_compact,
)
from hrm_arc.puzzles.canvas import FULL, PAD, VOCABULARY, CanvasKind
from hrm_arc.puzzles.corpus import Corpus, Puzzle
from hrm_arc.puzzles.formats import task_json
from hrm_arc.puzzles.processes import processes, signals_held
from hrm_arc.puzzles.published_tokens import MAZE_VOCABULARY, board_vocabulary, to_board_tokens
from hrm_arc.puzzles.variant_names import PUBLISHED_DIHEDRALS, SEPARATOR, split_variant

# Samples of one part, and samples that a process holds in memory at a time.
PART = 8192
AT_ONCE = 1024
BLANK = "<blank>"


@dataclass(frozen=True)
class BuildConfig:
    """The settings of a build.

    Attributes:
        sources: the sources of the corpus; they are only recorded.
        augment: the number of distinct variants of each puzzle beside the original.
        seed: selects the variants and the offsets.
        repeat: how often the set repeats its samples.
    """

    sources: tuple[str, ...]
    augment: int
    seed: int = 0
    repeat: int = 1


def build(
    corpus: Corpus,
    config: BuildConfig,
    out: Path,
    *,
    workers: int = 0,
    part: int = PART,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write the ``train`` and ``test`` arrays, the identifiers and the puzzles, or resume an interrupted build.

    Args:
        corpus: the tasks.
        config: the settings.
        out: the folder to write. It is created, or it holds the same build, finished or not.
        workers: the number of processes; 0 for one on each core that this process may use.
        part: the number of samples between two lines of the journal.
        progress: called with the number of samples written and the number of all samples.

    Returns:
        ``train_samples`` and ``test_samples``, the numbers of samples; ``bytes``, the size on the disk;
        ``identifiers``, the number of puzzle identifiers.

    Raises:
        UserError: the folder holds something else, another process writes to it, or the disk has too little space.
        ReportedError: a worker process was killed.
    """
    plan = _Plan(corpus, config)
    record = {
        "sources": list(config.sources),
        "augment": config.augment,
        "seed": config.seed,
        # The key in the files of earlier builds, which can still be resumed.
        "copies": config.repeat,
        "fingerprint": plan.fingerprint(),
        "part": part,
    }
    if plan.vocabulary != VOCABULARY:
        # The vocabulary identifies the build, too.
        record["vocabulary"] = plan.vocabulary
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from None
    with exclusive_lock(out, "writing"):
        files = [out / split / f"all__{name}.npy" for split in plan.sets for name in TOKENS]
        done = open_journal(out, record, files)
        if done is None:
            check_arrays(out, plan.sizes, plan.canvas)
        else:
            _fill(plan, out, done, part, workers, progress)
            write_compact(out / RECORD, record | {"finished": True})
            (out / JOURNAL).unlink(missing_ok=True)
    return {
        "train_samples": len(plan.sets["train"]),
        "test_samples": len(plan.sets["test"]) if "test" in plan.sets else 0,
        "bytes": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
        "identifiers": plan.identifiers,
    }


def _fill(
    plan: _Plan, out: Path, done: set[tuple[str, int]], part: int, workers: int, progress: Callable[[int, int], None]
) -> None:
    """Write all parts that are not ``done``, with a line in the journal for each, and then the small files."""
    sizes = plan.sizes
    reserve_arrays(out, sizes, plan.canvas)
    todo = [(split, start) for split in sizes for start in range(0, sizes[split], part) if (split, start) not in done]
    total = sum(sizes.values())
    written = total - sum(min(part, sizes[split] - start) for split, start in todo)
    progress(written, total)
    with open_append(out / JOURNAL) as journal:
        for split, start in _write_parts(plan, out, todo, part, workers):
            journal.write(f"{split} {start}\n")
            journal.flush()
            written += min(part, sizes[split] - start)
            progress(written, total)
    plan.write_small_files(out)


@dataclass(frozen=True)
class _Part:
    """The arguments of a split's set. They are sent to the worker processes, because the set itself is larger."""

    puzzles: list[Puzzle]
    config: BuildConfig
    canvas: CanvasKind
    translate: bool
    vocabulary: int

    def open(self) -> AugmentedSet:
        config = self.config
        return AugmentedSet(
            self.puzzles,
            augment=config.augment,
            seed=config.seed,
            canvas=self.canvas,
            translate=self.translate,
            repeat=config.repeat,
        )


class _Plan:
    """The training set and the test set, and the names of their puzzles."""

    def __init__(self, corpus: Corpus, config: BuildConfig):
        self.corpus = corpus
        self._repeat = config.repeat
        puzzles = {"train": corpus.training_puzzles(), "test": corpus.held_out_puzzles()}
        boards = {puzzle.canvas for part in puzzles.values() for puzzle in part}
        if not puzzles["train"]:
            raise UserError("hrm data build", "these sources have nothing to train on, only boards to be solved")
        for task in corpus.tasks:
            if split_variant(task.id)[0] != task.id:
                raise UserError(task.id, "is the name of a variant in the published sets; rename the task")
        if len({task.boards for task in corpus.tasks}) > 1:
            # In the published layout boards have no identifiers, and tasks are told apart by identifiers alone.
            raise UserError("hrm data build", "tasks and games together; write each into a folder of its own")
        # Games with boards of one size are written at that size, as in the published sets.
        is_one_size = all(task.boards for task in corpus.tasks) and len(boards) == 1
        self.canvas = boards.pop() if is_one_size else FULL
        kind: CanvasKind = "cropped" if is_one_size else "full"
        # Games have the tokens of the published sets: 11 for Sudoku, 6 for Maze.
        vocabularies = {board_vocabulary(task) for task in corpus.tasks} if is_one_size else set()
        self.vocabulary = vocabularies.pop() if len(vocabularies) == 1 else VOCABULARY
        self.parts = {
            split: _Part(part, config, kind, split == "train", self.vocabulary)
            for split, part in puzzles.items()
            if part
        }
        self.sets = {split: part.open() for split, part in self.parts.items()}
        # In the tokens of a maze, a wall that has become a path is another cell.
        if self.vocabulary == MAZE_VOCABULARY and (self.sets["train"].variants > 1).any():
            what = f"variants permute colors, which the {MAZE_VOCABULARY} tokens of the published set cannot hold"
            raise UserError("--augment", f"{what}; leave --augment out")

    @cached_property
    def names(self) -> list[str]:
        """The names of the identifiers. As in the published sets, boards have no identifiers of their own."""
        return [BLANK, *self._variant_names()]

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples of each split."""
        return {split: len(data) for split, data in self.sets.items()}

    @property
    def identifiers(self) -> int:
        """The number of identifiers; they are not named for it."""
        return 1 + int(self._named(self.sets["train"]).sum())

    def _named(self, data: AugmentedSet) -> np.ndarray:
        """The number of identifiers of each puzzle, ``[puzzles]``: of its variants, and none for a board."""
        is_board = np.array([self.corpus.tasks[puzzle.row - 1].boards for puzzle in data.puzzles])
        return np.where(is_board, 0, data.variants)

    def fingerprint(self) -> str:
        """A hash of all grids and ids of the corpus, test outputs included, as hexadecimal digits."""
        digest = hashlib.sha256()
        for side, tasks in (("solve", self.corpus.solve), ("study", self.corpus.study)):
            for task in tasks:
                digest.update(f"{side} {task.id} {len(task.demonstrations)}".encode("utf-8", "surrogatepass"))
                for grid in (grid for pair in task.demonstrations + task.tests for grid in (pair.input, pair.output)):
                    digest.update(b"-" if grid is None else repr(grid.shape).encode() + grid.tobytes())
        return digest.hexdigest()

    def write_small_files(self, out: Path) -> None:
        """Write all files except the arrays of tokens."""
        first = self._first_identifiers()
        for split, data in self.sets.items():
            identifiers = [
                np.arange(first[puzzle.row], first[puzzle.row] + count) if named else np.zeros(count, np.int32)
                for puzzle, count, named in zip(data.puzzles, data.variants, self._named(data), strict=True)
            ]
            pairs = np.tile(np.repeat(data.pairs, data.variants), self._repeat)
            arrays = {
                "puzzle_identifiers": np.tile(np.concatenate(identifiers), self._repeat),
                "puzzle_indices": np.concatenate([[0], np.cumsum(pairs)]),
                "group_indices": np.concatenate([[0], np.cumsum(np.tile(data.variants, self._repeat))]),
            }
            for name, array in arrays.items():
                np.save(out / split / f"all__{name}.npy", array.astype(np.int32))
            write_compact(out / split / "dataset.json", self._card(data, len(pairs)))
        write_compact(out / "identifiers.json", self.names)
        write_compact(out / "test_puzzles.json", {task.id: task_json(task) for task in self.corpus.solve})

    def _card(self, data: AugmentedSet, puzzles: int) -> dict[str, Any]:
        """The content of a split's ``dataset.json``, with the keys that the published loaders read."""
        return {
            "seq_len": self.canvas.cells,
            "vocab_size": self.vocabulary,
            "pad_id": PAD,
            "ignore_label_id": PAD,
            "blank_identifier_id": 0,
            "num_puzzle_identifiers": self.identifiers,
            "total_groups": len(data.puzzles) * self._repeat,
            "total_puzzles": puzzles,
            "mean_puzzle_examples": len(data) / puzzles,
            "sets": ["all"],
        }

    def _first_identifiers(self) -> dict[int, int]:
        """The identifier of the original of each task, by its row; identifiers follow the order of the corpus.

        Names would not do: a task can be to solve and, in a version of its own, to study.
        """
        data = self.sets["train"]
        counts = self._named(data)
        starts = 1 + np.cumsum(counts) - counts
        return {p.row: int(start) for p, start in zip(data.puzzles, starts, strict=True)}

    def _variant_names(self) -> Iterator[str]:
        """For each puzzle ``task``, then ``task|||t3|||0213456789`` for each variant: the names that TRM uses."""
        data = self.sets["train"]
        for number in np.flatnonzero(self._named(data)):
            puzzle, variants = data.puzzles[number], np.arange(data.variants[number])
            dihedrals, colors = data.symmetries(np.full_like(variants, number), variants)
            yield puzzle.id
            for dihedral, color in zip(dihedrals[1:], colors[1:], strict=True):
                digits = "".join(map(str, color))
                yield f"{puzzle.id}{SEPARATOR}t{PUBLISHED_DIHEDRALS[dihedral]}{SEPARATOR}{digits}"


def _write_parts(
    plan: _Plan, out: Path, parts: Sequence[tuple[str, int]], part: int, workers: int
) -> Iterator[tuple[str, int]]:
    """Write parts, in parallel, and yield each when it is written."""
    workers = min(workers or _cores(), len(parts))
    if workers <= 1:
        _sets.update({split: (data, plan.vocabulary) for split, data in plan.sets.items()})
        yield from (_write_part(out, *each, part) for each in parts)
        return
    with processes(workers, _open_sets, plan.parts) as pool:
        try:
            with signals_held():
                futures = [pool.submit(_write_part, out, *each, part) for each in parts]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            what = "a worker process was killed, perhaps because memory ran out"
            raise ReportedError(out, f"{what}; run the same command with fewer --workers to resume") from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# The sets of a worker process and the vocabularies that they are written in, by split.
_sets: dict[str, tuple[AugmentedSet, int]] = {}


def _open_sets(parts: dict[str, _Part]) -> None:
    """Initialize a worker process."""
    _sets.update({split: (part.open(), part.vocabulary) for split, part in parts.items()})


def _write_part(out: Path, split: str, start: int, part: int) -> tuple[str, int]:
    data, vocabulary = _sets[split]
    end = min(start + part, len(data))
    arrays = [np.load(out / split / f"all__{name}.npy", mmap_mode="r+") for name in TOKENS]
    for first in range(start, end, AT_ONCE):
        last = min(first + AT_ONCE, end)
        (samples,) = data.samples(np.arange(first, last))
        assert samples.labels is not None, "a training set has outputs"
        for array, tokens in zip(arrays, (samples.inputs, samples.labels), strict=True):
            assert tokens is not None, "every sample of a set has its output"
            array[first:last] = tokens if vocabulary == VOCABULARY else to_board_tokens(tokens, vocabulary)
    for array in arrays:
        array.flush()
    return split, start
