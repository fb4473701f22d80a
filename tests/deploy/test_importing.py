from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from hrm_arc.deploy.importing import import_checkpoint
from hrm_arc.errors import UserError
from hrm_arc.evaluation.torch_backend import load_model
from hrm_arc.runs.checkpoint import read_card
from tests.cli.commands import answer, hrm
from tests.made import write_tasks
from tests.models.test_published import GOLDEN, batch_of

NAMES = ["<blank>", "aaaa", "aaaa|||t3|||0213456789", "bbbb", "bbbb_t5_0213456789"]
OPTIONS = {
    "hrm_tiny": {"num_heads": 4, "segments": 3},
    "trm_tiny": {"num_heads": 4, "segments": 3, "puzzle_emb_len": 4, "l_cycles": 2},
    "trm_mlp_tiny": {"num_heads": 4, "segments": 3, "puzzle_emb_len": 4, "l_cycles": 2},
}


def published(path: Path, name: str, prefix: str = "_orig_mod.model.inner.", table: bool = True) -> dict[str, Tensor]:
    """A checkpoint as the published trainers leave it, with a golden file's weights."""
    with safe_open(GOLDEN / f"{name}.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    own = "weights.inner."
    state = {prefix + key.removeprefix(own): value for key, value in tensors.items() if key.startswith(own)}
    state = {key: value for key, value in state.items() if table or "puzzle_emb" not in key}
    torch.save(state, path)
    return tensors


def identifiers(folder: Path, names: list[str] = NAMES) -> Path:
    path = folder / "identifiers.json"
    path.write_text(json.dumps(names))
    return path


@pytest.mark.parametrize("prefix", ["_orig_mod.model.inner.", "model.inner.", "inner.", ""])
@pytest.mark.parametrize("name", OPTIONS)
def test_an_imported_checkpoint_answers_as_the_original(tmp_path: Path, name: str, prefix: str) -> None:
    tensors = published(tmp_path / "step_1", name, prefix)
    kind = name.split("_")[0]
    done = import_checkpoint(kind, tmp_path / "step_1", tmp_path / "run", identifiers(tmp_path), OPTIONS[name])
    assert done.tasks == 2
    backend, card = load_model(tmp_path / "run", "cpu")
    assert card.tasks == ["aaaa", "bbbb"]
    # Rows 1 and 3 of the published table are rows 1 and 2 here; samples of other rows are left out.
    theirs = tensors["puzzle_identifiers"]
    ours = {1: 1, 3: 2}
    chosen = torch.tensor([int(row) in ours for row in theirs])
    assert chosen.any()
    batch = batch_of(tensors).select(chosen)
    batch.identity.task = torch.tensor([ours[int(row)] for row in theirs[chosen]])
    with torch.inference_mode():
        _, output = backend.model(backend.model.initial_carry(batch), batch)
    torch.testing.assert_close(output.logits, tensors["segment0.logits"][chosen], atol=1e-4, rtol=0)


def test_an_imported_checkpoint_is_asked_about_the_rows_it_has(tmp_path: Path) -> None:
    published(tmp_path / "step_1", "hrm_tiny", "")
    import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", identifiers(tmp_path), OPTIONS["hrm_tiny"])
    tasks = write_tasks(tmp_path / "tasks", count=1)
    assert answer("eval", tmp_path / "run", "--data", tasks)["votes"] == 1
    scores = answer("eval", tmp_path / "run", "--data", tasks, "--votes", "3")
    assert (scores["votes"], scores["answers_seen_in_training"]) == (3, 0)
    assert any("an imported checkpoint" in str(line) for line in scores["warnings"])  # type: ignore[attr-defined]


def test_every_tensor_is_accounted_for(tmp_path: Path) -> None:
    published(tmp_path / "step_1", "hrm_tiny")
    done = import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", options=OPTIONS["hrm_tiny"])
    state = torch.load(tmp_path / "step_1", weights_only=True)
    assert {theirs for theirs, _, _ in done.mapped} | {theirs for theirs, _ in done.left_out} == set(state)
    assert [why for _, why in done.left_out] == ["no --identifiers to name its rows"]
    assert read_card(next((tmp_path / "run" / "checkpoints").iterdir())).tasks == []


def test_without_a_table_it_loads_as_well(tmp_path: Path) -> None:
    published(tmp_path / "step_1", "hrm_tiny", table=False)
    done = import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", identifiers(tmp_path), OPTIONS["hrm_tiny"])
    assert (done.tasks, done.left_out) == (0, [])


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("hostile",)


def damage(tmp_path: Path, kind: str) -> str:
    """Break a checkpoint; returns what the error has to say."""
    path = tmp_path / "step_1"
    published(path, "hrm_tiny")
    state = torch.load(path, weights_only=True)
    first = next(key for key in state if key.endswith("H_level.layers.1.mlp.down_proj.weight"))
    if kind == "missing":
        del state[first]
        torch.save(state, path)
        return "lacks H_level.layers.1.mlp.down_proj.weight of HRM's tensors"
    if kind == "left over":
        torch.save({**state, "model.inner.extra.weight": torch.zeros(2)}, path)
        return "has model.inner.extra.weight, unknown to HRM"
    if kind == "shape":
        torch.save({**state, first: torch.zeros(3, 3)}, path)
        return "mlp.down_proj.weight has shape (3, 3), expected (64, 256)"
    if kind == "hostile":
        torch.save({"x": Hostile()}, path)
        return "holds more than tensors, and its code is not run"
    if kind == "eight bits":
        torch.save({**state, first: torch.full(state[first].shape, torch.nan).to(torch.float8_e4m3fn)}, path)
        return f"of {state[first].numel():,} values of"
    if kind == "no values":
        torch.save({**state, first: state[first].to("meta")}, path)
        return "has a shape and no values"
    if kind == "noise":
        path.write_bytes(b"noise" * 100)
        return "expected a state dict that torch.save has written"
    if kind == "other":
        torch.save({"weight": torch.zeros(2)}, path)
        return "has no token embedding"
    path.unlink()
    return "cannot be read"


@pytest.mark.parametrize(
    "kind", ["missing", "left over", "shape", "hostile", "noise", "other", "absent", "eight bits", "no values"]
)
def test_what_does_not_fit_is_named(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = damage(tmp_path, kind)
    with pytest.raises(UserError) as caught:
        import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", options=OPTIONS["hrm_tiny"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "hostile").exists(), "no code was run"
    assert not (tmp_path / "run").exists(), "nothing is left behind"


def test_a_table_of_another_length_is_refused(tmp_path: Path) -> None:
    published(tmp_path / "step_1", "hrm_tiny")
    with pytest.raises(UserError, match="3 names, and the puzzle embedding has 5 rows"):
        import_checkpoint(
            "hrm", tmp_path / "step_1", tmp_path / "run", identifiers(tmp_path, NAMES[:3]), OPTIONS["hrm_tiny"]
        )


def test_the_command_says_what_was_mapped_and_the_result_can_be_scored(tmp_path: Path) -> None:
    published(tmp_path / "step_1", "trm_tiny")
    flags = (
        "--num-heads",
        "4",
        "--puzzle-emb-len",
        "4",
        "--l-cycles",
        "2",
        "--segments",
        "2",
        "--out",
        tmp_path / "run",
    )
    done = answer("import", "trm", tmp_path / "step_1", *flags)
    assert done["tasks"] == 0
    assert {"theirs", "ours", "shape"} == set(done["mapped"][0])  # type: ignore[index]
    task = tmp_path / "tasks" / "t.json"
    task.parent.mkdir()
    task.write_text('{"train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[2]], "output": [[2]]}]}')
    scores = answer("eval", tmp_path / "run", "--data", task, "--votes", "1")
    assert scores["test_outputs"] == 1
    again = hrm("import", "trm", tmp_path / "step_1", *flags)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("names", "tasks"),
    [
        (["<blank>", "aaaa", "aaaa_t3_0481963275", "bbbb", "bbbb_t0_0213456789"], ["aaaa", "bbbb"]),
        (["<blank>", "aaaa", "aaaa|||t3|||0481963275", "bbbb", "bbbb|||t0|||0213456789"], ["aaaa", "bbbb"]),
        # ConceptARC's tasks have underscores in their names.
        (
            ["<blank>", "Above_t3", "Above_t3_t7_0481963275", "Above_1", "Above_3_0"],
            ["Above_t3", "Above_1", "Above_3_0"],
        ),
        (["<blank>", *["aaaa_t3_0481963275"] * 4], []),
    ],
    ids=["HRM", "TRM", "underscores", "variants only"],
)
def test_rows_of_variants_are_left_out(tmp_path: Path, names: list[str], tasks: list[str]) -> None:
    published(tmp_path / "step_1", "hrm_tiny")
    file = identifiers(tmp_path, names)
    done = import_checkpoint("hrm", tmp_path / "step_1", tmp_path / "run", file, OPTIONS["hrm_tiny"])
    card = read_card(next((tmp_path / "run" / "checkpoints").iterdir()))
    assert card.tasks == tasks
    assert done.tasks == len(tasks)
    assert [why for _, why in done.left_out] == ([] if tasks else ["no rows of original tasks"])
