"""Depth, a number in (0, 1], to the blocks that are kept.

`depth = q / 4` ends quarter q; inside a quarter its blocks share it equally, and a depth between two blocks takes the
next block's end. Source: the quarters of Khan and Fang, arXiv:2307.10915; the map itself is ours (see architectures).
"""

import math
from collections.abc import Sequence
from numbers import Real

# A product such as 0.07 * 100 may lie a few ulp above the integer it stands for; no real depth is this close to one.
_GUARD = 1e-9


def check(depth: object) -> float:
    """Return `depth` as a float in (0, 1]; anything else is a `ValueError` or, when it is no number, a `TypeError`."""
    if isinstance(depth, bool) or not isinstance(depth, Real):
        raise TypeError(f"depth must be a number in (0, 1] (got {depth!r}). Try depth=0.75.")
    if not 0 < float(depth) <= 1:
        raise ValueError(f"depth must be in (0, 1] (got {depth!r}). Try depth=0.75.")
    return float(depth)


def blocks_kept(depth: float, quarters: Sequence[int]) -> int:
    """Count the blocks that a network keeps whose four quarters hold that many blocks each.

    Example:
        >>> blocks_kept(0.75, (3, 4, 6, 3))  # ResNet-50: the end of layer3
        13
        >>> blocks_kept(0.6, (3, 4, 6, 3))
        10
    """
    whole = max(1, _ceil(check(depth) * len(quarters)))
    share = depth * len(quarters) - (whole - 1)
    inside = max(1, _ceil(share * quarters[whole - 1]))
    return sum(quarters[: whole - 1]) + inside


def depths_of(quarters: Sequence[int]) -> tuple[float, ...]:
    """The depth at the end of each block of a network whose four quarters hold that many blocks each.

    Example:
        >>> depths_of((2, 2, 2, 2))
        (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    """
    whole = len(quarters)
    return tuple((q + (i + 1) / count) / whole for q, count in enumerate(quarters) for i in range(count))


def _ceil(value: float) -> int:
    return math.ceil(value - _GUARD)
