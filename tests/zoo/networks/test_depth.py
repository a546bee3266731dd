from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from zoo.networks.depth import blocks_kept, check


def exact(depth: Fraction, quarters: tuple[int, ...]) -> int:
    """The definition in exact arithmetic."""
    quarter = max(1, ceil(depth * 4))
    inside = max(1, ceil((depth * 4 - (quarter - 1)) * quarters[quarter - 1]))
    return sum(quarters[: quarter - 1]) + inside


@pytest.mark.parametrize(
    "quarters", [(3, 4, 6, 3), (6, 12, 24, 16), (4, 4, 4, 4), (2, 2, 18, 2), (1, 1, 1, 1), (200,) * 4]
)
def test_float_depths_mean_what_fractions_mean(quarters):
    for n in range(1, 201):
        for k in range(1, n + 1):
            assert blocks_kept(k / n, quarters) == exact(Fraction(k, n), quarters), (k, n)


def test_isotropic_network_of_n_blocks_keeps_k_at_every_k_over_n():
    for n in range(1, 201):
        assert [blocks_kept(k / n, [1] * n) for k in range(1, n + 1)] == list(range(1, n + 1))


def test_quarter_ends_and_between():
    assert [blocks_kept(d, (3, 4, 6, 3)) for d in (0.25, 0.5, 0.75, 1.0)] == [3, 7, 13, 16]
    assert blocks_kept(1e-6, (3, 4, 6, 3)) == 1
    assert blocks_kept(0.26, (3, 4, 6, 3)) == 4


@pytest.mark.parametrize("depth", [0, -1, 1.5, float("nan"), float("inf")])
def test_depth_out_of_range_is_refused(depth):
    with pytest.raises(ValueError, match=r"depth must be in \(0, 1\] \(got .*\)\. Try depth=0\.75\."):
        check(depth)


@pytest.mark.parametrize("depth", ["x", None, True, [0.5]])
def test_depth_that_is_no_number_is_refused(depth):
    with pytest.raises(TypeError, match="depth must be a number"):
        check(depth)


def test_numpy_numbers_are_numbers():
    assert check(np.float64(0.75)) == 0.75
    assert check(1) == 1.0


@pytest.mark.parametrize("depth", [np.float32(0.75), np.float64(0.75), Fraction(3, 4)])
def test_every_kind_of_real_number_is_a_depth(depth):
    assert check(depth) == 0.75
