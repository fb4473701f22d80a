from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hrm_arc import telemetry
from hrm_arc.deploy.agreement import Fingerprint, agreement, check_comparable, read_result, validation_fingerprint
from hrm_arc.deploy.progress import Progress, read_file
from hrm_arc.deploy.validating import BATCH, prepare_file, validate
from hrm_arc.errors import UserError
from hrm_arc.evaluation.backend import Answers
from hrm_arc.evaluation.baselines import baselines
from hrm_arc.puzzles.augmented import AugmentedSet, Samples
from hrm_arc.puzzles.canvas import PAD
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.puzzles.task import Pair, make_grid
from hrm_arc.runs.card import Card

TASKS = load_tasks("arc-agi-1/evaluation")[:40]
CARD = Card("grid-hrm", {}, [], "full", False, [], [], 0, 1, 0, [], 7, "run", {})
HELD_OUT = AugmentedSet(Corpus(solve=TASKS).held_out_puzzles(), augment=15, canvas="full")
ALL = np.arange(len(HELD_OUT))
FINGERPRINT = Fingerprint("data", "checkpoint", "whole")


class FixedAnswers:
    """A backend that answers with padding, or with a copy of the input; it may be interrupted after some batches."""

    def __init__(self, what: str, batches: int | None = None):
        self.what = what
        self.left = batches

    def answer(self, samples: Samples) -> Answers:
        if self.left is not None:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
        tokens = samples.inputs if self.what == "copy" else np.full_like(samples.inputs, PAD)
        return Answers(tokens, np.zeros(len(samples)), np.full(len(samples), 2))

    def refine(self, samples: Samples) -> np.ndarray:
        raise NotImplementedError


def run(backend: FixedAnswers, file: Path, indices: np.ndarray = ALL) -> dict[str, object]:
    return validate(backend, CARD, HELD_OUT, indices, FINGERPRINT, file)


def figures(result: dict[str, object]) -> dict[str, object]:
    """The figures that do not depend on the machine."""
    changing = ("seconds", "samples_per_second", "peak_memory_bytes", "temperature", "watts")
    return {name: value for name, value in result.items() if name not in changing}


@pytest.mark.parametrize(("what", "name"), [("padding", "pad_only"), ("copy", "copy_input")])
def test_baseline_answers_score_as_the_baselines(what: str, name: str, tmp_path: Path) -> None:
    result = run(FixedAnswers(what), tmp_path / "v.json")
    expected = baselines(HELD_OUT)
    assert result["baselines"] == expected
    assert result["token_accuracy"] == expected[name]["token_accuracy"]
    assert result["exact_accuracy"] == expected[name]["exact_accuracy"]
    assert (result["samples"], result["progress"], result["mean_segments"]) == (len(HELD_OUT), 1.0, 2.0)


def test_a_validation_that_is_stopped_five_times_gives_the_same_figures(tmp_path: Path) -> None:
    whole = run(FixedAnswers("copy"), tmp_path / "whole.json")
    assert len(ALL) > 6 * BATCH
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            run(FixedAnswers("copy", batches=1), tmp_path / "stopped.json")
    assert read_file(tmp_path / "stopped.json")[0].done == 5 * BATCH
    with pytest.raises(UserError, match="finished validation"):
        read_result(tmp_path / "stopped.json")
    assert figures(run(FixedAnswers("copy"), tmp_path / "stopped.json")) == figures(whole)
    # A finished validation is not computed again.
    assert figures(run(FixedAnswers("copy", batches=0), tmp_path / "stopped.json")) == figures(whole)


class Prepared(FixedAnswers):
    """A backend to which its work is announced."""

    def __init__(self, batches: int | None = None) -> None:
        super().__init__("copy", batches)
        self.announced: list[int] = []

    def prepare(self, cells: int) -> None:
        self.announced.append(cells)


def test_the_whole_work_is_announced_to_a_backend_also_where_it_is_resumed(tmp_path: Path) -> None:
    # What it does then decides on its rounding, so a resumed validation has to tell it the same.
    for each in (Prepared(batches=1), Prepared()):
        with contextlib.suppress(KeyboardInterrupt):
            run(each, tmp_path / "v.json")
        assert each.announced == [len(ALL) * 900]
    finished = Prepared()
    run(finished, tmp_path / "v.json")
    assert finished.announced == [], "nothing is left to answer"


def test_a_part_is_scored_beside_its_own_baselines(tmp_path: Path) -> None:
    part = HELD_OUT.part(0.1)
    assert len(part) == round(len(HELD_OUT) * 0.1)
    assert len(np.unique(part)) == len(part)
    result = run(FixedAnswers("copy"), tmp_path / "v.json", part)
    assert result["baselines"] == baselines(HELD_OUT, part)
    assert result["baselines"] != baselines(HELD_OUT)


def test_another_validations_file_is_refused(tmp_path: Path) -> None:
    run(FixedAnswers("copy"), tmp_path / "v.json")
    other = Fingerprint("data", "checkpoint", "other")
    with pytest.raises(UserError, match="another model or other data"):
        validate(FixedAnswers("copy"), CARD, HELD_OUT, ALL, other, tmp_path / "v.json")
    for content in ("{", "[]", '{"done": 1}'):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(UserError, match="not the progress"):
            run(FixedAnswers("copy"), tmp_path / "bad.json")
        with pytest.raises(UserError, match="not the progress"):
            prepare_file(tmp_path / "bad.json", FINGERPRINT, resume=False)
        assert (tmp_path / "bad.json").read_text() == content, "no file of another kind is removed"


def test_a_validation_starts_again_only_where_nothing_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "v.json"
    prepare_file(file, FINGERPRINT, resume=False)
    with pytest.raises(UserError, match="no validation to resume"):
        prepare_file(file, FINGERPRINT, resume=True)
    with pytest.raises(KeyboardInterrupt):
        run(FixedAnswers("copy", batches=1), file)
    prepare_file(file, FINGERPRINT, resume=True)
    with pytest.raises(UserError, match="continue it with --resume"):
        prepare_file(file, FINGERPRINT, resume=False)
    run(FixedAnswers("copy"), file)
    prepare_file(file, FINGERPRINT, resume=True)
    assert file.is_file()
    prepare_file(file, FINGERPRINT, resume=False)
    assert not file.exists()


def test_fingerprints_distinguish_validations() -> None:
    def made(
        held_out: AugmentedSet = HELD_OUT, indices: np.ndarray = ALL, model: str = "m", on: int = 96
    ) -> Fingerprint:
        return validation_fingerprint(TASKS, held_out, indices, (model, "checkpoint"), ("cpu", on))

    own = made()
    assert made() == own
    assert made(model="other").data == own.data
    assert made(model="other").whole != own.whole
    assert (made(on=10).data == own.data, made(on=10).whole == own.whole) == (True, False)
    first = HELD_OUT.puzzles[0]
    corrected = replace(first, drawn=(Pair(first.drawn[0].input, make_grid([[5]])), *first.drawn[1:]))
    other_answers = AugmentedSet([corrected, *HELD_OUT.puzzles[1:]], augment=15, canvas="full")
    for other in (
        made(indices=ALL[1:]),
        made(AugmentedSet(HELD_OUT.puzzles, augment=14, canvas="full")),
        made(other_answers),
    ):
        assert other.data != own.data


def test_machines_agree_or_do_not(tmp_path: Path) -> None:
    ours = run(FixedAnswers("copy"), tmp_path / "ours.json")
    theirs = read_result(tmp_path / "ours.json")
    assert agreement(ours, theirs).verdict == "the machines agree: the same figures"
    nearly = {**theirs, "token_accuracy": theirs["token_accuracy"] + 0.0004}
    assert agreement(ours, nearly).agree
    assert "0.1 percentage points" in agreement(ours, nearly).verdict
    far = {**theirs, "exact_accuracy": theirs["exact_accuracy"] + 0.02}
    assert not agreement(ours, far).agree
    check_comparable(theirs, FINGERPRINT, tmp_path)
    with pytest.raises(UserError, match="other samples"):
        check_comparable({**theirs, "data": "x"}, FINGERPRINT, tmp_path)
    with pytest.raises(UserError, match="another checkpoint"):
        check_comparable({**theirs, "checkpoint": "x"}, FINGERPRINT, tmp_path)
    (tmp_path / "bad.json").write_text('{"result": {"token_accuracy": "much"}}')
    with pytest.raises(UserError, match="finished validation"):
        read_result(tmp_path / "bad.json")


def test_figures_before_the_first_sample_are_zero() -> None:
    assert Progress("mark", 10).figures()["token_accuracy"] == 0
    assert Progress("mark", 10).speed()["samples_per_second"] == 0


@pytest.fixture
def sensors(tmp_path: Path) -> Path:
    """The kernel's files, as on a Jetson Orin Nano."""
    for number, value in enumerate(("45250", "51000", "")):
        zone = tmp_path / "thermal" / f"thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "temp").write_text(value)
    meter = tmp_path / "hwmon" / "hwmon3"
    meter.mkdir(parents=True)
    (tmp_path / "hwmon" / "hwmon0").mkdir()
    for number, (label, volts, amperes) in enumerate((("VDD_IN", 5000, 1400), ("VDD_SOC", 5000, 300)), start=1):
        (meter / f"in{number}_label").write_text(f"{label}\n")
        (meter / f"in{number}_input").write_text(str(volts))
        (meter / f"curr{number}_input").write_text(str(amperes))
    return tmp_path


def test_sensors_of_a_board(sensors: Path) -> None:
    assert telemetry.temperature(sensors / "thermal") == 51.0
    assert telemetry.power(sensors / "hwmon") == 7.0
    assert telemetry.temperature(sensors / "nothing") is None
    assert telemetry.power(sensors / "nothing") is None


def test_peak_memory_is_a_process_own() -> None:
    held = np.ones(50_000_000)
    assert telemetry.peak_memory() > held.nbytes
    code = "from hrm_arc.telemetry import peak_memory; print(peak_memory())"
    small = int(subprocess.check_output([sys.executable, "-c", code]))
    assert 5_000_000 < small < 100_000_000, "not the peak of the parent process"


def test_the_progress_file_is_readable_json(tmp_path: Path) -> None:
    run(FixedAnswers("copy"), tmp_path / "v.json")
    fields = json.loads((tmp_path / "v.json").read_text())
    assert fields["done"] == fields["samples"] == len(ALL)
    assert fields["result"]["model"] == "grid-hrm"
