"""Figures as text of a page and as files, in colours, markers and lines that anybody can tell apart."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fusion.data.writing import replacing

# Okabe and Ito: told apart without colour vision, and by marker in print. Their yellow is too pale for white paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # as many as share no factor with the colours: 56 pairs
LINES = ("-", "--", "-.", ":")

_DPI = 200


def style(number: int) -> dict[str, Any]:
    """Colour, marker and line of a curve, by its number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "ls": LINES[number % len(LINES)],
    }


def svg(figure: Figure) -> Markup:
    """The figure as an inline SVG element; the same figure gives the same text."""
    stream = io.StringIO()
    _as_svg(figure, stream)
    text = stream.getvalue()
    return Markup(text[text.index("<svg") :])


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure as PNG or SVG, as the path ends; the same figure gives the same file.

    Raises:
        ValueError: The path ends otherwise.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg"):
        raise ValueError(f"path must end in .png or .svg (got {str(path)!r}). Try {Path(path).with_suffix('.png')}.")
    with replacing(path) as part:
        if suffix == ".svg":
            _as_svg(figure, part)
        else:
            _lay_out(figure)
            figure.savefig(part, format="png", dpi=_DPI)


def _as_svg(figure: Figure, target: io.StringIO | str | Path) -> None:
    _lay_out(figure)
    with mpl.rc_context({"svg.hashsalt": "sslzoo"}):
        figure.savefig(target, format="svg", metadata={"Date": None})


def _lay_out(figure: Figure) -> None:
    """Lay the figure out once and for all: each further time moves it by a hair. (Saving would do so twice.)"""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        for _ in range(2):
            figure.draw_without_rendering()
        figure.set_layout_engine("none")
