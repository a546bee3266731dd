"""Numbers that a spreadsheet shortened to `1.23457E+12`: different ones read the same, and no reader can tell."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

STEP = "Format the column as Text in the spreadsheet, enter it anew, and save it again."

_LONG = 1e11  # spreadsheets write out whole numbers below
_SHORT = re.compile(r"\s*[+-]?[0-9](?:[.,][0-9]+)?[eE]\+([0-9]+)\s*")


def shortened(text: str, least: int = 0) -> bool:
    """Tell whether a text is a number of which digits may be left out, of that power of ten or above."""
    found = _SHORT.fullmatch(text)
    return found is not None and int(found[1]) >= least


def check(values: Sequence[Any], what: str) -> None:
    """Refuse numbers that a spreadsheet shortened; warn of those that were read from such text, as pandas does.

    Raises:
        ValueError: A text is one; the rows are named.
    """
    short = [row for row, value in enumerate(values) if isinstance(value, str) and shortened(value)]
    if short:
        raise ValueError(
            f"{what} must have all their digits (got {values[short[0]]!r} for images {short[:10]}, and others may read "
            f"the same). {STEP}"
        )
    if any(isinstance(value, float) and abs(value) >= _LONG and _rounded(value) == value for value in values):
        warnings.warn(f"{what} seem to have lost digits, and others may read the same. {STEP}", stacklevel=3)


def _rounded(value: float) -> float:
    return float(f"{value:.5e}")  # as a spreadsheet writes what is longer
