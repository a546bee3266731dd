"""Figures as text of a page, in colours and markers that anybody can tell apart."""

import io

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

# Okabe and Ito: told apart without colour vision, and by marker in print. Their yellow is too pale for white paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # as many as share no factor with the colours: 56 pairs


def svg(figure: Figure) -> Markup:
    """The figure as an inline SVG element; the same figure gives the same text."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "sslzoo"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return Markup(text[text.index("<svg") :])
