"""What a run has to remember to go on as if it had never stopped, as tensors and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# Keys of a checkpoint's training tensors.
LIVE, OPTIMISER, RANDOM = "live", "optimiser", "random"


def optimiser_tensors(optimisers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The state of every optimiser, as ``optimiser.<which>.<parameter>.<name>``.

    Learning rates are functions of the step and are not part of it.
    """
    return {
        f"{OPTIMISER}.{which}.{parameter}.{name}": value
        for which, optimiser in enumerate(optimisers)
        for parameter, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimisers(optimisers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`optimiser_tensors`, onto fresh optimisers of the same kinds."""
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimisers]
    for key, value in tensors.items():
        if key.startswith(f"{OPTIMISER}."):
            _, which, parameter, name = key.split(".")
            states[int(which)].setdefault(int(parameter), {})[name] = value
    for optimiser, state in zip(optimisers, states, strict=True):
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def random_state(device: torch.device) -> Tensor:
    """This process's random state, of the CPU and of its GPU, as bytes in one tensor."""
    state = torch.get_rng_state()
    return torch.cat([state, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else state


def restore_random_state(state: Tensor, device: torch.device) -> None:
    """The inverse of :func:`random_state`; a GPU's part is passed over on a CPU."""
    length = len(torch.get_rng_state())
    torch.set_rng_state(state[:length])
    if device.type == "cuda" and len(state) > length:
        torch.cuda.set_rng_state(state[length:], device)


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Dotted keys under which two recipes, as plain data, say different things."""
    flat_one, flat_other = _flat(one), _flat(other)
    keys = sorted(flat_one.keys() | flat_other.keys())
    return [key for key in keys if flat_one.get(key) != flat_other.get(key)]


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
