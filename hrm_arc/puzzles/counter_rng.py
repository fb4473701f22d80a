"""A counter-based random number generator: every number is a function of a key and an index.

There is no state. A sample is the same on every machine, in any order and in any process, so
a run can be resumed from its step number alone.
"""

from __future__ import annotations

import zlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = 6


def mix(*parts: int | np.ndarray) -> np.ndarray:
    """Hash integers, broadcast against each other, to uniform 64-bit integers (uint64).

    The hash is the finalizer of splitmix64 (Steele, Lea, Flood 2014: Fast splittable
    pseudorandom number generators), applied once for each part.
    """
    return mix_on(np.zeros(1, dtype=np.uint64), *parts)


def mix_on(state: np.ndarray, *parts: int | np.ndarray) -> np.ndarray:
    """Continue from the hash of earlier parts: ``mix_on(mix(a), b)`` equals ``mix(a, b)``."""
    # Arrays wrap around without a warning; NumPy scalars would warn.
    for part in parts:
        state = (state ^ np.asarray(part).astype(np.uint64)) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def below(limit: int | np.ndarray, *parts: int | np.ndarray) -> np.ndarray:
    """Uniform integers in ``[0, limit)`` (int64), hashed from ``parts``."""
    return (mix(*parts) % np.asarray(limit).astype(np.uint64)).astype(np.int64)


def name_key(name: str) -> int:
    """A number for a name. Unlike ``hash``, it is the same in every process and on every machine."""
    # A name may hold a lone surrogate, which UTF-8 cannot encode.
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))


def permute(index: np.ndarray, size: int | np.ndarray, *key: int | np.ndarray) -> np.ndarray:
    """Apply a keyed pseudorandom permutation of ``range(size)`` to each index.

    A Feistel network over the next power of four, repeated until the value is inside the
    range (cycle walking: Black and Rogaway 2002, Ciphers with arbitrary finite domains). The
    memory needed does not depend on ``size``.

    Args:
        index: values in ``range(size)``, ``[n]``.
        size: one size, or a size for each index.
        key: integers that select the permutation, each for all indices or one for each index.

    Returns:
        The permuted indices ``[n]``, int64.

    Raises:
        ValueError: an index is outside ``range(size)``.
    """
    values = np.array(index, dtype=np.int64, ndmin=1)
    sizes, *keys = (np.broadcast_to(each, values.shape) for each in (size, *key))
    if values.size and not (values.min() >= 0 and (values < sizes).all()):
        raise ValueError(f"index outside range({size})")
    # The exponent that frexp gives is the number of bits.
    half = np.maximum(1, (np.frexp((sizes - 1).astype(np.float64))[1] + 1) // 2).astype(np.uint64)
    rounds = np.arange(_ROUNDS)[:, None]
    states = mix_on(mix(*keys), rounds) if keys else mix(rounds + np.zeros_like(values))
    walking = np.arange(len(values))
    while walking.size:
        values[walking] = _feistel(values[walking].astype(np.uint64), half[walking], states[:, walking])
        walking = walking[values[walking] >= sizes[walking]]
    return values


def _feistel(values: np.ndarray, half: np.ndarray, states: np.ndarray) -> np.ndarray:
    """One pass of the Feistel network; ``states`` ``[rounds, n]`` are hashes of the key and the round."""
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for state in states:
        left, right = right, left ^ (mix_on(state, right) & mask)
    return ((left << half) | right).astype(np.int64)
