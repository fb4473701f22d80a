"""Cores that other processes keep busy, by hand-made readings."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from hrm_arc.training import cores
from hrm_arc.training.cores import Cores, Reading, busy_cores, read


def stat(*ticks: int) -> str:
    """A /proc/stat in which each core was busy for so many ticks, half for users and half for the system."""
    lines = [f"cpu{n} {each // 2} 0 {each - each // 2} 1000 70 0 0 0 9 9" for n, each in enumerate(ticks)]
    return "\n".join(["cpu  1 2 3 4 5 6 7 8", *lines, "intr 5 5 5"]) + "\n"


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file in place of /proc/stat, for two cores and 100 ticks a second."""
    file = tmp_path / "stat"
    monkeypatch.setattr(cores, "STAT", file)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    monkeypatch.setattr(cores.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(cores.time, "process_time", lambda: 0.0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return file


def at(times: Path, monkeypatch: pytest.MonkeyPatch, clock: float, *ticks: int) -> None:
    times.write_text(stat(*ticks))
    monkeypatch.setattr(cores.time, "monotonic", lambda: clock)


def test_busy_cores_are_those_of_others(times: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(times, monkeypatch, 10.0, 300, 100, 900)
    found = read()
    # The third core is not one of this process; neither are idle time and waiting for a disk.
    assert found == Reading(10.0, 4.0, 0.0)
    assert busy_cores(Reading(0, 0, 0), Reading(10, 15, 5)) == 1.0
    assert busy_cores(Reading(0, 0, 0), Reading(10, 5, 6)) == 0.0


@pytest.mark.parametrize(("adapts", "threads"), [(True, 1), (False, 2)])
def test_a_training_takes_the_threads_that_are_free(
    times: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, adapts: bool, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        at(times, monkeypatch, 0.0, 0, 0)
        watched = Cores(adapts)
        at(times, monkeypatch, 1.0, 90, 0)
        with caplog.at_level(logging.WARNING):
            watched.start()
        assert torch.get_num_threads() == threads
        (record,) = caplog.records
        assert record.getMessage().startswith("other processes keep 0.9 of 2 cores busy")
    finally:
        torch.set_num_threads(before)


def test_what_is_said_once_is_not_repeated(
    times: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        at(times, monkeypatch, 0.0, 0, 0)
        watched = Cores(True)
        at(times, monkeypatch, 1.0, 10, 0)
        with caplog.at_level(logging.WARNING):
            watched.start()
            assert caplog.records == []
            for clock, ticks in ((20.0, 5000), (40.0, 9000), (80.0, 13000)):
                at(times, monkeypatch, clock, ticks, 0)
                watched.warn_if_busy()
        (record,) = caplog.records
        assert "training is slow" in record.getMessage()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_system_without_readings_is_left_alone(times: Path) -> None:
    watched = Cores(True)
    watched.start()
    watched.warn_if_busy()
    assert read() is None
