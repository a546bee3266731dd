"""Names and numbers as words, and rows as CSV."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

Labels = float | int | None
# What a spreadsheet takes for a formula, also with the wide signs that it reads as the narrow ones.
_FORMULA = re.compile("[\\s\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


def csv_text(columns: Sequence[str], records: Iterable[Sequence[Any]]) -> str:
    """The records under the names of their columns, as CSV; text that a spreadsheet would run begins with a '."""
    stream = io.StringIO()
    rows = ([_cell(value) for value in row] for row in (columns, *records))
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")  # the writer quotes the one, and not the other
    if not _FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def encoders_name(encoders: tuple[str, ...]) -> str:
    """The encoders in words."""
    return " + ".join(encoders) or "raw pixels"


def labels_name(labels: Labels) -> str:
    """The label budget in words."""
    if labels is None:
        return "all labels"
    return f"{100 * labels:g} % of labels" if isinstance(labels, float) else f"{labels} labels"


def p_text(p: float) -> str:
    """Four decimals, and never a zero that is none; a dash where there is no value."""
    if math.isnan(p):
        return "\N{EN DASH}"
    return f"{p:.4f}" if p >= 0.0001 else f"{p:.1e}"
