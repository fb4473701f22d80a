"""Augmentations of training samples beside the symmetries: functions of samples and random keys, by name.

A transform gets one random number for each sample, which is a function of the run's seed and of the
position of the sample in the training data. Therefore a resumed run gives the same samples as a run
that was not interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from hrm_arc.errors import UserError
from hrm_arc.puzzles.augmented import Samples
from hrm_arc.puzzles.canvas import FIRST_COLOR, VOCABULARY
from hrm_arc.puzzles.counter_rng import below, mix, mix_on
from hrm_arc.puzzles.task import COLORS
from hrm_arc.registry import Registry

# transform(samples, keys) -> samples; keys: one random number for each sample, [n], uint64.
Transform: TypeAlias = Callable[[Samples, np.ndarray], Samples]

# The fraction of color cells that ``input_noise`` changes.
NOISE = 0.02


def input_noise(samples: Samples, keys: np.ndarray) -> Samples:
    """Replace each color cell of the inputs by another random color with a probability of 2%.

    Labels do not change, so a model learns to answer correctly when some cells are wrong (denoising).
    PAD and EOS do not change, so the grid keeps its size and its place.

    Args:
        samples: the samples.
        keys: one random number for each sample, ``[n]``, uint64.
    """
    draws = mix_on(mix(keys)[:, None], np.arange(samples.canvas.cells))
    changed = (samples.inputs >= FIRST_COLOR) & (draws < np.uint64(int(NOISE * 2**64)))
    inputs = samples.inputs.copy()
    # A step of 1 to 9 around the circle of ten colors never ends at the same color.
    steps = below(COLORS - 1, draws[changed]) + 1
    inputs[changed] = (inputs[changed] - FIRST_COLOR + steps) % COLORS + FIRST_COLOR
    return Samples(samples.canvas, inputs, samples.labels, samples.identity)


TRANSFORMS: Registry[Transform] = Registry("augmentation", {"input_noise": input_noise})


def register_augmentation(name: str, transform: Transform) -> None:
    """Make a transform of training samples available by name.

    Recipes can also use a function that is not registered, as ``package.module:function``.

    Example:
        ``register_augmentation("my_noise", my_noise)``

    Args:
        name: the name, without a colon. A second transform of the same name replaces the first.
        transform: a function ``transform(samples: Samples, keys: np.ndarray) -> Samples``. ``keys`` is one
            random number for each sample, ``[n]``, uint64; all randomness has to come from it, for example
            through :func:`hrm_arc.puzzles.counter_rng.mix`. The result has as many samples, in the same order
            and with arrays of the same shapes; the arguments must not be changed in place.

    Raises:
        ValueError: the name is empty or has a colon.
    """
    TRANSFORMS.register(name, transform)


def find_transforms(names: Sequence[str], where: str) -> list[Transform]:
    """The transforms with the given names.

    Args:
        names: registered names, or references ``package.module:function``.
        where: the recipe key or flag that an error message names.

    Raises:
        UserError: there is no such transform, it cannot be imported, or it is not a function.
    """
    transforms = []
    for name in names:
        transform = TRANSFORMS.find(name, where)
        if not callable(transform):
            raise UserError(where, f"{name} is not a function, expected transform(samples, keys) -> samples")
        transforms.append(transform)
    return transforms


def apply_transforms(samples: Samples, transforms: Sequence[Transform], keys: np.ndarray) -> Samples:
    """Apply transforms one after another; each gets its own random numbers, derived from the keys.

    Args:
        samples: the samples.
        transforms: the transforms, in their order.
        keys: one random number for each sample, ``[n]``, uint64.

    Raises:
        UserError: a transform does not return valid samples; the message names the transform.
    """
    for number, transform in enumerate(transforms):
        before, samples = samples, transform(samples, mix(keys, number))
        if problem := _problem(before, samples):
            name = getattr(transform, "__qualname__", type(transform).__name__)
            raise UserError(f"augmentation {name}", problem)
    return samples


def _problem(before: Samples, after: object) -> str | None:
    """The mistake in the result of a transform, or None."""
    if not isinstance(after, Samples):
        return f"returned {type(after).__name__}, expected Samples"
    if after.canvas != before.canvas or len(after.identity.task) != len(before):
        return "returned other samples or another canvas, expected the same samples on the same canvas"
    for name, old, new in (("inputs", before.inputs, after.inputs), ("labels", before.labels, after.labels)):
        if old is None or new is None:
            if old is not new:
                return f"added or removed the {name}, expected to keep them"
        elif new.shape != old.shape or new.dtype != np.uint8:
            return f"returned {name} of {new.dtype} {list(new.shape)}, expected uint8 {list(old.shape)}"
        elif new.size and int(new.max()) >= VOCABULARY:
            return f"returned token {int(new.max())} in the {name}, expected 0 to {VOCABULARY - 1}"
    return None
