"""Probabilities as a CSV: a row per image, a column per class, what was decided, and why an image has no answer.

`fusion predict --out` writes it, and `fusion evaluate` judges it, whoever's model it is of.
"""

from collections.abc import Sequence
from typing import Any

OF_IMAGES = ("path", "patient", "predicted")
OF_PATIENTS = ("patient", "images", "predicted")
ERROR = "error"
BAR = "|"  # between the labels of one image

_OTHERS = {*OF_IMAGES, *OF_PATIENTS, ERROR, "label", "split"}  # columns that are no class
_PREFIX = "probability of "


def headings(classes: Sequence[Any]) -> list[str]:
    """The columns of the classes: their names, told apart from the other columns where they are called as these."""
    return [_PREFIX + str(name) if str(name).casefold() in _OTHERS else str(name) for name in classes]
