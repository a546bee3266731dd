"""Names and numbers as words, and rows as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

Labels = float | int | None


def csv_text(columns: Sequence[str], records: Iterable[Sequence[Any]]) -> str:
    """The records under the names of their columns, as CSV."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([columns, *records])
    return stream.getvalue()


def encoders_name(encoders: tuple[str, ...]) -> str:
    """The encoders in words."""
    return " + ".join(encoders) or "raw pixels"


def labels_name(labels: Labels) -> str:
    """The label budget in words."""
    if labels is None:
        return "all labels"
    return f"{100 * labels:g} % of labels" if isinstance(labels, float) else f"{labels} labels"


def p_text(p: float) -> str:
    """Four decimals, and never a zero that is none."""
    return f"{p:.4f}" if p >= 0.0001 else f"{p:.1e}"
