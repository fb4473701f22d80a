"""Folders of builds that something has damaged, and builds that no disk holds."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from hrm_arc.errors import ReportedError, UserError
from hrm_arc.puzzles.build import JOURNAL, RECORD, BuildConfig, build
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Task
from tests.puzzles.test_build import CORPUS, TASKS, contents


@pytest.mark.parametrize("content", ["[]", "5", "null", "{}", '"x"', "{", "[" * 100_000])
def test_a_damaged_record_is_refused(tmp_path: Path, content: str) -> None:
    config = BuildConfig(("some",), augment=1)
    corpus = Corpus(solve=TASKS[:1])
    build(corpus, config, tmp_path / "set", workers=1)
    (tmp_path / "set" / RECORD).write_text(content)
    with pytest.raises(UserError):
        build(corpus, config, tmp_path / "set", workers=1)


def test_parts_count_as_written_only_in_arrays_that_are_there(tmp_path: Path) -> None:
    config, corpus, out = BuildConfig(("some",), augment=1), Corpus(solve=TASKS[:2]), tmp_path / "set"
    build(corpus, config, out, workers=1, part=5)
    before = contents(out)
    labels = out / "train" / "all__labels.npy"
    labels.unlink()
    with pytest.raises(UserError, match=r"all__labels\.npy: is missing in a finished build"):
        build(corpus, config, out, workers=1, part=5)
    record = json.loads((out / RECORD).read_text())
    (out / RECORD).write_text(json.dumps(record | {"finished": False}))
    (out / JOURNAL).write_text("train 0\ntrain 5\n")
    build(corpus, config, out, workers=1, part=5)
    assert contents(out) == before
    labels.write_bytes(labels.read_bytes()[:-1])
    for finished in (True, False):
        (out / RECORD).write_text(json.dumps(record | {"finished": finished}))
        with pytest.raises(UserError, match=r"all__labels\.npy: is not the array of this build"):
            build(corpus, config, out, workers=1, part=5)


@pytest.mark.parametrize("content", [b"train x\n", b"train\n", b"\xff\n", b"train -1\n"])
def test_a_damaged_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    config, corpus, out = BuildConfig(("some",), augment=1), Corpus(solve=TASKS[:1]), tmp_path / "set"
    build(corpus, config, out, workers=1)
    record = json.loads((out / RECORD).read_text())
    (out / RECORD).write_text(json.dumps(record | {"finished": False}))
    (out / JOURNAL).write_bytes(content)
    with pytest.raises(UserError, match=JOURNAL):
        build(corpus, config, out, workers=1)


def test_a_set_without_end_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="samples, expected at most 1,099,511,627,776"):
        build(CORPUS, BuildConfig((), augment=2**31, repeat=2**31), tmp_path / "set", workers=1)
    # Millions of identifiers are not named before it is known whether the arrays have room.
    started = time.process_time()
    with pytest.raises(UserError, match=r"needs [\d,.]+ GB"):
        build(CORPUS, BuildConfig((), augment=2**31, repeat=1000), tmp_path / "set", workers=1)
    assert time.process_time() - started < 5


def damage(folder: Path, kind: str) -> str:
    """Damage a folder; returns a part of the expected error."""
    train = folder / "train"
    if kind == "archive":
        np.savez(train / "all__inputs.npz", np.zeros((2, 900)))
        (train / "all__inputs.npz").rename(train / "all__inputs.npy")
        return "all__inputs.npy: cannot be read as an array: it is a zip archive such as .npz, expected .npy"
    if kind == "objects":
        np.save(train / "all__puzzle_indices.npy", np.array([{}, 1], dtype=object))
        return "all__puzzle_indices.npy: cannot be read as an array"
    if kind == "header":
        header = b"(" * 8000 + b"\n"
        (train / "all__inputs.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        return "all__inputs.npy: cannot be read as an array"
    if kind == "fifo":
        (train / "all__labels.npy").unlink()
        os.mkfifo(train / "all__labels.npy")
        return "all__labels.npy: is not a regular file"
    if kind == "name":
        (folder / "identifiers.json").write_text(json.dumps(["<blank>", "\ud800"]))
        return "identifiers.json: [1]: a name that is not valid Unicode text"
    (train / "dataset.json").write_text("[" * 100_000)
    return "dataset.json: nested too deeply"


@pytest.mark.parametrize("kind", ["archive", "objects", "header", "fifo", "name", "deep"])
def test_a_made_up_folder_is_named(tmp_path: Path, kind: str) -> None:
    build(Corpus(solve=TASKS[:2]), BuildConfig((), augment=1), tmp_path / "set", workers=1)
    message = damage(tmp_path / "set", kind)
    with pytest.raises(UserError) as caught:
        load_tasks(str(tmp_path / "set"))
    assert message in str(caught.value)


def test_a_file_system_that_allocates_nothing_in_advance_is_built_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, corpus = BuildConfig((), augment=1), Corpus(solve=TASKS[:1])
    build(corpus, config, tmp_path / "set", workers=1)

    def refuse(number: int) -> None:
        def allocate(handle: int, offset: int, length: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", allocate)

    for number in (errno.EOPNOTSUPP, errno.EINVAL):
        refuse(number)
        build(corpus, config, tmp_path / str(number), workers=1)
        assert contents(tmp_path / str(number)) == contents(tmp_path / "set")
    refuse(errno.ENOSPC)
    with pytest.raises(ReportedError, match=r"all__inputs\.npy: cannot be written: No space left on device"):
        build(corpus, config, tmp_path / "full", workers=1)


def test_half_a_surrogate_pair_in_a_name_is_built(tmp_path: Path) -> None:
    task = Task("half \ud800", TASKS[0].demonstrations, TASKS[0].tests)
    build(Corpus(solve=(task,)), BuildConfig((), augment=1), tmp_path / "set", workers=1)
    assert json.loads((tmp_path / "set" / "identifiers.json").read_text())[1] == task.id
