"""Which parameters of a test every run takes, and which only the runs of `-m slow`."""

import pytest


def slow_but(values, *quick):
    """Give the values as parameters, marked slow but for the quick ones."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]
