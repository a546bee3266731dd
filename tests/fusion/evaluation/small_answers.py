"""Names and ends that several tests use."""

from hypothesis import strategies as some

CLASSES = ["a", "b", "c"]
SEEDS = some.integers(0, 2**31)


def ends(interval):
    return interval.low, interval.high


def width(interval):
    return interval.high - interval.low
