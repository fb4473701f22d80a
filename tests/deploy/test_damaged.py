"""Exports, imports and validations of files that are damaged, edited or made up: one line each, and no wrong number."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from hrm_arc.deploy.agreement import read_result
from hrm_arc.deploy.export import export
from hrm_arc.deploy.exported import KEY, with_checksum
from hrm_arc.deploy.importing import import_checkpoint
from hrm_arc.deploy.progress import read_file
from hrm_arc.deploy.runtime import OnnxBackend
from hrm_arc.deploy.validating import BATCH, prepare_file
from hrm_arc.errors import ReportedError, UserError
from hrm_arc.evaluation.predict import predict
from hrm_arc.evaluation.submission import read_answers
from hrm_arc.evaluation.torch_backend import TorchBackend, load_model
from hrm_arc.files import write_sealed_json
from hrm_arc.puzzles.arrays import read_identifiers
from hrm_arc.puzzles.build import BuildConfig, build
from hrm_arc.puzzles.corpus import Corpus
from hrm_arc.puzzles.sources import load_tasks
from hrm_arc.reading import unsealed
from hrm_arc.runs.checkpoint import WEIGHTS, save_checkpoint
from tests.deploy.fitted import TASKS
from tests.deploy.test_importing import OPTIONS, published
from tests.deploy.test_validating import ALL, FINGERPRINT, FixedAnswers, run


def stopped(path: Path) -> dict[str, Any]:
    """The content of the progress file of a validation that was stopped after two batches."""
    with pytest.raises(KeyboardInterrupt):
        run(FixedAnswers("copy", batches=2), path)
    return unsealed(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda data: {"exact": 10 * data["done"]}, "exact is"),
        (lambda data: {"done": 1_000_000}, "done is 1000000, expected a whole number from 0 to"),
        (lambda data: {"done": -1}, "done is -1"),
        (lambda data: {"done": "128"}, "done is '128'"),
        (lambda data: {"done": True}, "done is True"),
        (lambda data: {"done": data["done"] + 1}, "are not those of this validation"),
        (lambda data: {"samples": data["samples"] + 1}, "are not those of this validation"),
        (lambda data: {"correct_cells": 901 * data["done"]}, "correct_cells is"),
        (lambda data: {"segments": 0}, "segments is 0"),
        (lambda data: {"seconds": -1.0}, "seconds is -1.0"),
        (lambda data: {"seconds": None}, "seconds is None"),
        (lambda data: {"fingerprint": 5}, "fingerprint is a number"),
        (lambda data: {"result": {}}, "has a result, but is not finished"),
        (lambda data: {"more": 1}, "unknown field 'more'"),
    ],
)
def test_a_progress_file_is_checked_even_with_a_right_checksum(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], what: str
) -> None:
    path = tmp_path / "v.json"
    data = stopped(path)
    assert data["done"] == 2 * BATCH
    write_sealed_json(path, data | change(data))
    with pytest.raises(UserError, match=what):
        run(FixedAnswers("copy"), path)


def test_an_edited_progress_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    data = stopped(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "exact": data["exact"] + 1}))
    for reader in (lambda: run(FixedAnswers("copy"), path), lambda: prepare_file(path, FINGERPRINT, resume=True)):
        with pytest.raises(UserError, match="checksum is not that of its content"):
            reader()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"is not a regular file|is a device, FIFO or socket"):
        prepare_file(path, FINGERPRINT, resume=False)


def test_a_result_is_that_of_its_counts(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    run(FixedAnswers("copy"), path)
    data = unsealed(json.loads(path.read_text()))
    assert data["done"] == len(ALL)
    assert read_result(path) == data["result"]
    for change, what in (
        ({"exact_accuracy": 0.9}, "its counts give"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
    ):
        write_sealed_json(path, {**data, "result": {**data["result"], **change}})
        with pytest.raises(UserError, match=what):
            read_result(path)
        with pytest.raises(UserError, match=what):
            run(FixedAnswers("copy"), path)


def described(path: Path, out: Path, **changes: Any) -> Path:
    """An exported file whose description is changed, with a right checksum."""
    model = onnx.load(path)
    (entry,) = [each for each in model.metadata_props if each.key == KEY]
    entry.value = json.dumps({**json.loads(entry.value), **changes})
    kept = [each for each in model.metadata_props if each.key == KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    out.write_bytes(with_checksum(model.SerializeToString()))
    return out


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"segments": 1_000_000_000}, "segments is 1000000000, expected a whole number from 1 to"),
        ({"segments": 4}, "segments is 4, and 3 in the model's options"),
        ({"num_heads": 0}, "num_heads is 0"),
        ({"hidden_size": 10**9}, "hidden_size is 1000000000"),
        ({"prefix": -1}, "prefix is -1"),
        ({"carry": [1, 2]}, "carry is a number"),
        ({"carry": ["h", "x"]}, "the graph has"),
        ({"canvas": [30]}, "canvas is not"),
        ({"canvas": [10**9, 1]}, "canvas is 1000000000"),
        ({"card": 5}, "the card is a number"),
        ({"versions": {"torch": 2}}, "versions.torch is a number"),
        ({"recipe": []}, "recipe is a list"),
        ({"precision": "fp1"}, "precision is 'fp1'"),
        ({"more": 1}, "unknown field 'more'"),
    ],
    ids=str,
)
def test_a_description_of_an_exported_file_is_checked(
    exported_file: Path, tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    path = described(exported_file, tmp_path / "model.onnx", **changes)
    with pytest.raises(UserError) as caught:
        OnnxBackend(path)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_named(run_folder: Path, tmp_path: Path) -> None:
    backend, card = load_model(run_folder, "cpu")
    for number, wrong in enumerate((torch.nan, torch.inf)):
        weights = {name: tensor.clone() for name, tensor in backend.model.state_dict().items()}
        name = next(name for name, tensor in weights.items() if tensor.ndim == 2)
        weights[name][0, 0] = wrong
        (tmp_path / str(number)).mkdir()
        damaged = save_checkpoint(tmp_path / str(number) / "checkpoints", "step", card, weights, {})
        for use in (load_model, lambda path: export(path, tmp_path / "x.onnx")):
            with pytest.raises(UserError, match=f"1 of .* values of {name} are not finite"):
                use(damaged.parent.parent)
    assert not (tmp_path / "x.onnx").exists()


def test_logits_that_are_not_numbers_are_no_wrong_answers(run_folder: Path) -> None:
    backend, card = load_model(run_folder, "cpu")
    assert isinstance(backend, TorchBackend)
    # Finite, and too large for single precision two layers on.
    with torch.no_grad():
        for parameter in backend.model.parameters():
            parameter.fill_(3e38)
    with pytest.raises(ReportedError, match="its logits are not numbers"):
        list(predict(backend, TASKS[:1], {}, votes=1, canvas=card.canvas, ignores_padding=True))


def test_a_full_disk_is_found_before_the_long_part(run_folder: Path, tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from hrm_arc.deploy import export, graph
        from hrm_arc.errors import ReportedError
        def trace(*arguments):
            raise SystemExit("the long part has begun")
        graph.trace = trace
        try:
            export.export(Path(sys.argv[1]), Path(sys.argv[2]))
        except ReportedError as error:
            print(error)
    """
    script = "\n".join(line[8:] for line in code.splitlines())
    out = tmp_path / "out" / "model.onnx"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    command = [sys.executable, "-c", script, str(run_folder), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, timeout=120)
    assert f"{out}: cannot be written: " in done.stdout, done.stderr
    assert list(out.parent.iterdir()) == []


def state_with(path: Path, **changes: Any) -> Path:
    published(path, "hrm_tiny")
    torch.save({**torch.load(path, weights_only=True), **changes}, path)
    return path


PREFIX = "_orig_mod.model.inner."
MADE_UP: dict[str, tuple[dict[str, Any], str]] = {
    "layer": ({f"{PREFIX}H_level.layers.99999999.mlp.down_proj.weight": torch.zeros(1)}, "has a layer 99999999"),
    "digits": ({f"{PREFIX}L_level.layers.{'9' * 5000}.x": torch.zeros(1)}, "has a layer 9999"),
    "flat tokens": (
        {f"{PREFIX}embed_tokens.embedding_weight": torch.zeros(5)},
        "its token embedding has the shape (5,)",
    ),
    "table": ({f"{PREFIX}puzzle_emb.weights": torch.zeros(())}, "puzzle embedding has the shape ()"),
    "wide": ({f"{PREFIX}embed_tokens.embedding_weight": torch.zeros(1).expand(12, 10**9)}, "puzzle embedding"),
    "sparse": ({f"{PREFIX}H_init": torch.zeros(64).to_sparse()}, "is not a dense tensor"),
    "complex": ({f"{PREFIX}H_init": torch.zeros(64, dtype=torch.complex64)}, "is not a dense tensor"),
    "NaN": ({f"{PREFIX}lm_head.weight": torch.full((12, 64), torch.nan)}, "values of lm_head.weight are not finite"),
}


@pytest.mark.parametrize("kind", MADE_UP)
def test_a_made_up_checkpoint_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    changes, what = MADE_UP[kind]
    path = state_with(tmp_path / "step_1", **changes)
    with pytest.raises(UserError) as caught:
        import_checkpoint("hrm", path, tmp_path / "run", options=OPTIONS["hrm_tiny"])
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def safetensors(run_folder: Path, path: Path) -> None:
    """Read a run whose newest checkpoint has this file as its weights."""
    run = shutil.copytree(run_folder, path.parent / "run")
    (weights,) = run.glob(f"checkpoints/*/{WEIGHTS}")
    shutil.copy(path, weights)
    load_model(run, "cpu")


def arrays(run_folder: Path, path: Path) -> None:
    """Read a folder of a build that has this file as its training inputs."""
    out = path.parent / "set"
    build(Corpus(solve=TASKS[:1]), BuildConfig((), augment=0), out, workers=1)
    shutil.copy(path, out / "train" / "all__inputs.npy")
    load_tasks(str(out))


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("task.json", lambda run, path: load_tasks(str(path))),
        ("boards.csv", lambda run, path: load_tasks(str(path))),
        ("submission.json", lambda run, path: read_answers(path, TASKS)),
        ("predictions.jsonl", lambda run, path: read_answers(path, TASKS)),
        ("all__inputs.npy", arrays),
        ("identifiers.json", lambda run, path: read_identifiers(path)),
        (WEIGHTS, safetensors),
        ("model.onnx", lambda run, path: OnnxBackend(path)),
        ("step_1", lambda run, path: import_checkpoint("hrm", path, path.parent / "run")),
    ],
)
def test_a_pointer_of_git_lfs_is_told_what_it_is(
    run_folder: Path, tmp_path: Path, name: str, use: Callable[[Path, Path], object]
) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(
        UserError, match="is a Git LFS pointer, not the file itself: fetch it with git lfs pull"
    ) as caught:
        use(run_folder, tmp_path / name)
    assert name in str(caught.value)


def test_files_that_are_not_regular_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        for use in (lambda path: import_checkpoint("hrm", path, tmp_path / "run"), OnnxBackend, read_result):
            with pytest.raises(UserError, match="is not a regular file"):
                use(path)
        with pytest.raises(UserError, match="is not replaced"):
            prepare_file(path, FINGERPRINT, resume=False)


def test_answers_without_a_number_stop_a_validation(tmp_path: Path) -> None:
    class Broken(FixedAnswers):
        def answer(self, samples: Any) -> Any:
            answers = super().answer(samples)
            return answers._replace(confidence=np.full(len(samples), np.nan))

    with pytest.raises(ReportedError, match="its logits are not numbers"):
        run(Broken("copy"), tmp_path / "v.json")
    assert read_file(tmp_path / "v.json")[0].done == 0
