"""A self-contained HTML page of pictures, each above a table of its numbers."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from fusion.evaluation.intervals import Interval
from fusion.report.html import fill


@dataclass(frozen=True)
class Table:
    """Numbers as text; the first cell of a row names it, and `chosen` rows stand out."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    chosen: Collection[int] = ()


@dataclass(frozen=True)
class Section:
    """One part of a page; a picture stands above the tables that hold its numbers."""

    heading: str
    sentences: Sequence[str] = ()
    code: str = ""
    picture: Figure | None = None
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Page:
    """A title, what was looked at, and the parts."""

    title: str
    task: str
    sections: Sequence[Section]
    command: str = ""


def render(page: Page) -> str:
    """One HTML page without links to anything outside it."""
    return fill("fusion.report", {"page": page})


def number(value: float | Interval | None) -> str:
    """Three decimals, an interval in brackets, a dash for what is not there."""
    if isinstance(value, Interval):
        return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    return f"{value:.3f}".replace("-0.000", "0.000").replace("-", "\N{MINUS SIGN}")
