"""What optimisers and random numbers have to remember to go on as if they had never stopped, as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    """The inverse of :func:`optimiser_tensors`, onto fresh optimisers of the same kinds.

    Raises:
        ValueError: they are of other kinds, or of other parameters.
    """
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimisers]
    shapes = [[p.shape for group in each.param_groups for p in group["params"]] for each in optimisers]
    for key, value in tensors.items():
        if key.startswith(f"{OPTIMISER}."):
            _, which, parameter, name = key.split(".")
            place, number = int(which), int(parameter)
            if place >= len(shapes) or number >= len(shapes[place]):
                raise ValueError(f"there is no parameter for {key}")
            if value.ndim and value.shape != shapes[place][number]:
                raise ValueError(f"{key} has shape {tuple(value.shape)}, not its parameter's")
            states[place].setdefault(number, {})[name] = value
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
