"""Messages and progress on standard error."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import threading
from dataclasses import replace

import pytest

from hrm_arc.cli.progress import ConsoleProgress, progress_line
from hrm_arc.cli.show import configure_logging, counted, counting, emit, note, table
from hrm_arc.cli.streams import _Descriptor
from hrm_arc.errors import printable
from hrm_arc.training.metrics import StepMetrics

METRICS = StepMetrics(
    step=30,
    epoch=1.5,
    progress=0.25,
    seconds=60.0,
    loss=0.5,
    halt_loss=0.1,
    halt_accuracy=0.9,
    mean_segments=2.0,
    grad_norm=1.234,
    lr=1e-3,
    token_accuracy=0.8,
    exact_accuracy=0.5,
    samples_per_sec=300.0,
    cells_per_sec=3e4,
    model_flops_per_sec=None,
    peak_memory_bytes=1,
    timing={},
)


@pytest.fixture(autouse=True)
def _restored_logger() -> object:
    log = logging.getLogger("hrm_arc")
    handlers, level = list(log.handlers), log.level
    yield
    log.handlers[:], log.level = handlers, level


def test_messages_of_the_package_are_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger("hrm_arc.training").info("run %s", "runs/one")
    logging.getLogger("hrm_arc.runs").warning("a checkpoint is damaged")
    logging.getLogger("hrm_arc.runs").debug("a detail")
    logging.getLogger("other").warning("of another package")
    assert capsys.readouterr().err == "run runs/one\nwarning: a checkpoint is damaged\n"


def test_the_line_of_a_step() -> None:
    line = " 25%  3:00 left  step 30  loss 0.500  exact 50.0%  grad norm 1.23  lr 1.0e-03  300 samples/s"
    assert progress_line(METRICS) == line
    assert "grad norm -" in progress_line(replace(METRICS, grad_norm=None))
    assert progress_line(replace(METRICS, seconds=3600.0)).startswith(" 25%  3:00:00 left")


def test_without_a_terminal_a_line_is_printed_for_each_twentieth(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress() as progress:
        for step in range(1, 101):
            progress.on_step(replace(METRICS, step=step, progress=step / 100))
    lines = capsys.readouterr().err.splitlines()
    assert 18 <= len(lines) <= 22
    assert re.fullmatch(r"training    1%  \S+ left  step 1  loss 0\.500  .*", lines[0])
    assert re.fullmatch(r"training  100%  \S+ left  step 100  .*", lines[-1])


def test_a_reader_of_messages_that_went_away_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    closed = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stderr", closed)
    note("nobody reads this")
    note("nor this")
    with contextlib.suppress(BrokenPipeError):
        closed.close()


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    note("a\x1b[2J\nb\x9b\u202e\ud800")
    assert capsys.readouterr().err == "a\\x1b[2J\\x0ab\\x9b\\u202e\\ud800\n"
    table("title\x07", ["name\x1b"], [["[b]\x1b"]])
    emit({"names": ["\x1b", {"\x07": 1}]}, False, print)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[b]\\x1b" in shown
    assert printable("größer → 1") == "größer → 1"


def test_a_table_that_a_narrow_terminal_has_no_room_for_is_paragraphs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns, rows = ["run", "state", "best answer"], [["20261130_084223", "finished", "64.3%"], ["second", "[b]", ""]]
    monkeypatch.setenv("COLUMNS", "40")
    table("2 runs", columns, rows)
    assert len(capsys.readouterr().out.splitlines()) == 4
    monkeypatch.setenv("COLUMNS", "30")
    table("2 runs", columns, rows)
    assert capsys.readouterr().out.splitlines() == [
        *("2 runs", "20261130_084223", "  state: finished, best", "  answer: 64.3%"),
        *("second", "  state: [b], best answer:"),
    ]


def test_counted_things() -> None:
    counts = [counted(0, "runs"), counted(1, "test outputs"), counted(1200, "steps")]
    assert counts == ["0 runs", "1 test output", "1,200 steps"]


def test_a_narrow_terminal_cuts_the_end_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with ConsoleProgress() as progress:
        progress.on_step(METRICS)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.getvalue())
    assert re.search(r"training .*25%  3:00 left  step 30  loss 0\.500", shown), shown


def test_long_work_without_a_terminal_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("hrm_arc.cli.show.time.monotonic", lambda: now[0])
    with counting("answering", 1000) as progress:
        for done in (10, 20, 30, 40):
            progress(done)
            now[0] += 20
        progress(50, 2000, "2 hours left")
    assert capsys.readouterr().err == "answering: 30 of 1,000\nanswering: 50 of 2,000, 2 hours left\n"


def test_a_descriptor_without_a_reader_remembers_and_does_not_raise() -> None:
    reader, writer = os.pipe()
    stream = _Descriptor(writer, retry=False)
    assert stream.write(b"read") == 4
    assert os.read(reader, 10) == b"read"
    os.close(reader)
    assert stream.write(b"unread") == 6
    assert stream.error is not None
    assert stream.lost is None, "a reader that went away is no error"
    os.close(writer)


def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    content = bytes(range(256)) * 4096
    read = bytearray()

    def drain() -> None:
        while part := os.read(reader, 65536):
            read.extend(part)

    thread = threading.Thread(target=drain)
    thread.start()
    _Descriptor(writer, retry=False).write(content)
    os.close(writer)
    thread.join(timeout=10)
    os.close(reader)
    assert bytes(read) == content
