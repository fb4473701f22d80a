"""Randomness without state: every draw is a function of a key and an index.

A sample drawn this way is the same on every machine, in any order, from any process,
which is what makes a run resumable by remembering one number.
"""

from __future__ import annotations

import zlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = 6


def mix(*parts: int | np.ndarray) -> np.ndarray:
    """Hash integers (broadcast against each other) to uniform 64-bit integers.

    The finaliser is splitmix64 (Steele, Lea, Flood 2014: Fast splittable pseudorandom
    number generators), applied once for each part.
    """
    return mix_on(np.zeros(1, dtype=np.uint64), *parts)


def mix_on(state: np.ndarray, *parts: int | np.ndarray) -> np.ndarray:
    """Go on from the hash of earlier parts: ``mix_on(mix(a), b)`` is ``mix(a, b)``."""
    # Arrays wrap around in silence; only numpy's scalars would warn.
    for part in parts:
        state = (state ^ np.asarray(part).astype(np.uint64)) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def below(limit: int | np.ndarray, *parts: int | np.ndarray) -> np.ndarray:
    """Uniform integers in ``[0, limit)``, hashed from ``parts`` (int64)."""
    return (mix(*parts) % np.asarray(limit).astype(np.uint64)).astype(np.int64)


def name_key(name: str) -> int:
    """A number for a name, stable across processes and machines (unlike ``hash``)."""
    return zlib.crc32(name.encode())


def permute(index: np.ndarray, size: int | np.ndarray, *key: int | np.ndarray) -> np.ndarray:
    """Where a keyed permutation of ``range(size)`` sends each index (int64).

    A Feistel network over the next power of four, walked until it lands inside the
    range (Black and Rogaway 2002: Ciphers with arbitrary finite domains). It needs no
    memory for the permutation, whatever its size. Sizes and keys may differ by index.

    Raises:
        ValueError: an index outside ``range(size)``.
    """
    values = np.array(index, dtype=np.int64, ndmin=1)
    sizes, *keys = (np.broadcast_to(each, values.shape) for each in (size, *key))
    if values.size and not (values.min() >= 0 and (values < sizes).all()):
        raise ValueError(f"index outside range({size})")
    # frexp's exponent is the number of bits.
    half = np.maximum(1, (np.frexp((sizes - 1).astype(np.float64))[1] + 1) // 2).astype(np.uint64)
    rounds = np.arange(_ROUNDS)[:, None]
    states = mix_on(mix(*keys), rounds) if keys else mix(rounds + np.zeros_like(values))
    walking = np.arange(len(values))
    while walking.size:
        values[walking] = _feistel(values[walking].astype(np.uint64), half[walking], states[:, walking])
        walking = walking[values[walking] >= sizes[walking]]
    return values


def _feistel(values: np.ndarray, half: np.ndarray, states: np.ndarray) -> np.ndarray:
    """One pass of the network; ``states`` ``[rounds, n]`` are hashes of the key and the round."""
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for state in states:
        left, right = right, left ^ (mix_on(state, right) & mask)
    return ((left << half) | right).astype(np.int64)
