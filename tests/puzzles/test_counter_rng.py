from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_arc.puzzles.counter_rng import below, mix, name_key, permute


@given(st.integers(1, 3000), st.integers(0, 2**31), st.integers(0, 100))
def test_permute_is_a_permutation(size: int, key: int, epoch: int) -> None:
    assert sorted(permute(np.arange(size), size, key, epoch).tolist()) == list(range(size))


@given(st.integers(1, 2**40), st.data())
def test_permute_needs_no_memory_for_its_range(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert 0 <= permute(np.array([index]), size, 7)[0] < size


def test_keys_change_the_order() -> None:
    orders = {tuple(permute(np.arange(50), 50, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_an_index_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="outside range"):
        permute(np.array([5]), 5, 0)


def test_draws_are_the_same_on_every_machine() -> None:
    # Computed once and written down: a change here changes every data set ever drawn.
    assert [int(v) for v in mix(1, np.array([0, 1, 2])) % np.uint64(1000)] == [158, 606, 227]
    assert permute(np.arange(10), 10, 3, 4).tolist() == [4, 1, 3, 2, 7, 0, 5, 6, 8, 9]
    assert name_key("0d3d703e") == 4050556163


def test_half_a_surrogate_pair_is_a_name() -> None:
    assert name_key("task \ud800") != name_key("task \ud801")
    assert name_key("größer→") == 697892766, "as without it"


def test_below_is_nearly_uniform() -> None:
    counts = np.bincount(below(10, 5, np.arange(100_000)), minlength=10)
    # Each count is binomial with deviation 95; six of them are a chance in a billion.
    assert abs(counts - 10_000).max() < 600
