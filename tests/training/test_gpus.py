"""What is particular to GPUs, without one: torch's answers about devices are replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hrm_arc.errors import UserError, is_out_of_memory
from hrm_arc.evaluation.torch_backend import find_device
from hrm_arc.models import build_model
from hrm_arc.models.reasoner import Reasoner
from hrm_arc.training.config import TrainingConfig
from hrm_arc.training.distributed import Distributed
from hrm_arc.training.segments import MAX_CELLS_PER_FORWARD, bytes_kept_per_cell, max_cells_per_forward
from tests.models.examples import made_batch

CUDA = torch.device("cuda")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs, as far as torch says; nothing can be computed on them."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: CUDA)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_of_an_evaluation_has_a_gpu_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, place in (("0", 0), ("1", 1), ("2", 0)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert find_device(name) == torch.device("cuda", place)
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
def test_more_processes_than_gpus_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(UserError, match="torchrun: 3 processes on this machine, which has 2 GPUs"):
        Distributed(TrainingConfig(accelerator="cuda", precision="32-true"))


def test_importing_the_trainer_leaves_the_question_for_a_gpu_to_cuda() -> None:
    code = "import os, hrm_arc.training.trainer; print('PYTORCH_NVML_BASED_CUDA_CHECK' in os.environ)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTORCH_NVML")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":1016',
    ],
)
def test_every_form_of_exhausted_memory_is_known(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_one_process_gathers_without_distributed_training(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a torch that was built without it.
    monkeypatch.delattr(torch.distributed, "group")
    here: Any = SimpleNamespace(world_size=1)
    assert Distributed.all_gather(here, torch.tensor([3, 4])).tolist() == [[3, 4]]


def dual_loop(**options: Any) -> Reasoner:
    return build_model("dual-loop", {"hidden_size": 32, "num_heads": 2, "h_layers": 1, "dropout": 0.0, **options}, 3)


def test_what_a_forward_pass_keeps_grows_with_its_layers_and_not_with_its_samples() -> None:
    small, large = made_batch(2), made_batch(8)
    model = dual_loop(l_layers=2)
    kept = bytes_kept_per_cell(model, large)
    assert bytes_kept_per_cell(model, small) == pytest.approx(kept, rel=0.1)
    # Of each of 24 blocks at least its input, queries, keys, values, and the inputs of three products (of four hidden
    # sizes in the feed-forward), in single precision.
    assert kept > 24 * (1 + 3 + 1 + 1 + 4) * 32 * 4
    assert bytes_kept_per_cell(dual_loop(l_layers=4), large) > 1.4 * kept
    assert bytes_kept_per_cell(dual_loop(l_layers=2, recompute=True), large) < 0.5 * kept


def test_a_gpu_takes_as_many_cells_as_its_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(total_memory=40 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    assert max_cells_per_forward(CUDA) == 4 * MAX_CELLS_PER_FORWARD
    # 16,384 cells that keep 3 GB leave the limit as it is; with 17 GB it is what takes half of the memory.
    assert max_cells_per_forward(CUDA, 3e9 / 16_384) == 4 * MAX_CELLS_PER_FORWARD
    assert max_cells_per_forward(CUDA, 17e9 / 16_384) == int(20e9 / (17e9 / 16_384))
    assert max_cells_per_forward(torch.device("cpu"), 17e9 / 16_384) == MAX_CELLS_PER_FORWARD
