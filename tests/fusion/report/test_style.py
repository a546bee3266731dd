"""Colours of one palette, and figures as files."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from fusion.report import charts, style
from fusion.report import style as style_
from tests.fusion.report.small_results import DEPTHS, PAIR, SCAN


def everything():
    yield charts.heat_map(PAIR)
    yield charts.agreement_matrix(["a", "b"], np.eye(2))
    yield charts.by_layer({f"curve {n}": [n / 9] * 4 for n in range(9)}, DEPTHS)
    yield charts.by_batch({"a": [0.1, 0.2]}, [4, 8])
    yield charts.depth_curves(SCAN)
    yield charts.zoo_map(list("abcdefghi"), np.eye(9))


def test_no_colour_is_outside_the_palette():
    palette = {*style.COLOURS, "#FFFFFF"}
    for figure in everything():
        lines = [line for panel in figure.axes for line in panel.lines]
        used = [c for line in lines for c in (line.get_color(), line.get_markerfacecolor(), line.get_markeredgecolor())]
        assert {to_hex(c).upper() for c in used if c != "none"} <= palette
        assert {to_hex(text.get_color()).upper() for panel in figure.axes for text in panel.texts} <= palette
        for panel in figure.axes:
            assert {c.get_cmap().name for c in panel.collections if c.get_array() is not None} <= {"cividis"}


def test_png_and_svg_are_of_the_same_figure(tmp_path):
    figure = charts.heat_map(PAIR)
    for name in ("a.png", "a.svg", "b.svg"):
        style.save(figure, tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert text[text.index("<svg") :] == style.svg(figure)
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        size = image.size
        pixels = {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in set(image.convert("RGB").get_flattened_data())}
    assert np.array(size) == pytest.approx(figure.get_size_inches() * 200, abs=1)
    fills = {to_hex(colour) for colour in figure.axes[0].collections[0].get_facecolor()}
    assert len(fills) == 11  # two cells are of 0
    assert fills <= pixels
    assert all(f"fill: {colour}" in text for colour in fills)


def test_every_pair_of_colour_and_marker_is_another():
    count = len(style_.COLOURS) * len(style_.MARKERS)
    pairs = {(style_.COLOURS[n % 7], style_.MARKERS[n % 8]) for n in range(count)}
    assert (len(style_.COLOURS), len(style_.MARKERS), len(pairs)) == (7, 8, count)
