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
    state: np.ndarray = np.zeros(1, dtype=np.uint64)
    with np.errstate(over="ignore"):
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


def permute(index: np.ndarray, size: int, *key: int) -> np.ndarray:
    """Where a keyed permutation of ``range(size)`` sends each index (int64).

    A Feistel network over the next power of four, walked until it lands inside the
    range (Black and Rogaway 2002: Ciphers with arbitrary finite domains). It needs no
    memory for the permutation, whatever its size.

    Raises:
        ValueError: an index outside ``range(size)``.
    """
    values = np.array(index, dtype=np.int64, ndmin=1)
    if values.size and not (values.min() >= 0 and values.max() < size):
        raise ValueError(f"index outside range({size})")
    half = max(1, (int(size - 1).bit_length() + 1) // 2)
    outside = np.ones(values.shape, dtype=bool)
    while outside.any():
        values[outside] = _feistel(values[outside].astype(np.uint64), half, key)
        outside = values >= size
    return values


def _feistel(values: np.ndarray, half: int, key: tuple[int, ...]) -> np.ndarray:
    mask = np.uint64((1 << half) - 1)
    left, right = values >> np.uint64(half), values & mask
    for turn in range(_ROUNDS):
        left, right = right, left ^ (mix(*key, turn, right) & mask)
    return ((left << np.uint64(half)) | right).astype(np.int64)
