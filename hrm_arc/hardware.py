"""What this machine multiplies fast, and the precision that the program chooses by it.

Many processors multiply bfloat16 several times as fast as single precision (AVX512_BF16, AMX, Arm's BF16), and so do
GPUs. Where a device does, ``auto`` stands for mixed precision with bfloat16, and elsewhere for single precision.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
# The features of a processor, in torch's words, each of which multiplies bfloat16.
BF16_FEATURES = ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16")
# The features of a processor that decide how fast it multiplies.
SHOWN_FEATURES = (*BF16_FEATURES, "avx2", "avx512_f", "avx512_vnni", "avx_vnni", "amx_int8", "neon", "i8mm", "sve")
# Parameters of glibc's mallopt, and the size up to which freed buffers are kept.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_BUFFER = 1 << 30


def bf16_features() -> list[str]:
    """The features of this processor that multiply bfloat16."""
    # A version of torch that cannot tell is taken for a processor that has none.
    features: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return [name for name in BF16_FEATURES if features.get(name)]


@cache
def multiplies_bf16(device: str) -> bool:
    """Whether a type of device (``cpu``, ``cuda``, ...) multiplies bfloat16 in hardware."""
    if device == "cpu":
        return bool(torch.backends.mkldnn.is_available() and bf16_features())  # type: ignore[no-untyped-call]
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def chosen_precision(precision: str, device: str) -> Precision:
    """The precision that a setting stands for.

    Args:
        precision: ``auto``, or a precision.
        device: the type of device that computes.
    """
    if precision == "auto":
        return "bf16-mixed" if multiplies_bf16(device) else "32-true"
    assert precision in get_args(Precision), precision
    return cast(Precision, precision)


def device_type(accelerator: str) -> str:
    """The type of device of an accelerator's name (``auto``, ``gpu``, ``cpu``, ``cuda``, ``mps``)."""
    if accelerator not in ("auto", "gpu"):
        return accelerator
    found = torch.accelerator.current_accelerator()
    return found.type if found is not None and torch.accelerator.is_available() else "cpu"


def autocast(precision: Precision, device: str) -> contextlib.AbstractContextManager[object]:
    """A context in which a model computes in a precision; its weights stay as they are."""
    dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    if precision not in dtypes:
        return contextlib.nullcontext()
    return torch.autocast(device, dtype=dtypes[precision])


@cache
def keep_buffers() -> None:
    """Let this process keep the memory of large tensors that it frees.

    By default glibc gives buffers of 32 MB and more back to the system, and every new one is zeroed page by page,
    which takes longer than most operations on it. Other systems and libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # Another C library.
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_BUFFER)
        mallopt(M_TRIM_THRESHOLD, LARGEST_BUFFER)


def processor() -> dict[str, Any]:
    """This machine's processor: ``name``, ``cores``, ``threads`` of a computation, ``features``, ``memory_bytes``."""
    features: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return {
        "name": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "features": [name for name in SHOWN_FEATURES if features.get(name)],
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def product_speed(device: str, dtype: torch.dtype, seconds: float = 0.2) -> float:
    """Operations per second of products of two large matrices, the best of as many as fit the time."""
    size = 4096 if device == "cuda" else 1024
    a = torch.randn(size, size, device=device).to(dtype)
    out = a @ a
    best, started = math.inf, time.perf_counter()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        torch.mm(a, a, out=out)
        if device != "cpu":
            torch.accelerator.synchronize()
        best = min(best, time.perf_counter() - before)
    return 2 * size**3 / best


def memory_speed(device: str, seconds: float = 0.2) -> float:
    """Bytes per second of a copy that no cache holds, read and written."""
    # Caches of GPUs hold more than 64 MiB together.
    source = torch.zeros(1 << (30 if device == "cuda" else 26), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best, started = math.inf, time.perf_counter()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        target.copy_(source)
        if device != "cpu":
            torch.accelerator.synchronize()
        best = min(best, time.perf_counter() - before)
    return 2 * source.numel() / best


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    found = next((line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))), "")
    return found or platform.processor() or platform.machine()
