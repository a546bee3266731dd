"""Pictures say the numbers they are made of, in colours of one palette."""

import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from fusion.evaluation.intervals import Interval
from fusion.report import charts, style
from fusion.selection.scan import Level, Pair, Scan
from fusion.similarity.compare import Comparison

DEPTHS = (0.25, 0.5, 0.75, 1.0)
VALUES = np.array([[0.99, 0.5, 0.104, -0.061], [0.8, 0.7, 0.4, -0.001], [0.3, 0.2, 0.6, 0.45]])
PAIR = Comparison("cka", "left@0.75", "right@1", (DEPTHS[:3], DEPTHS), VALUES, 120)
ANGLES = np.array([[0, 3, 4], [3, 0, 5], [4, 5, 0]]) / 10  # a right triangle


def levels(name, scores, probed):
    return [
        Level(name, depth, logme=score, h_score=2.0, knn=0.6 + score, auc=probed.get(depth))
        for depth, score in zip(DEPTHS, scores, strict=True)
    ]


def interval(value):
    return Interval(value, value - 0.1, value + 0.1)


SCAN = Scan(
    levels=levels("left", (0.1, 0.2, 0.15, 0.0), {0.5: 0.8, 0.75: 0.9}) + levels("right", (0, 0, 0.1, 0.3), {1.0: 0.7}),
    recommended=["left@0.75"],
    auc=0.9,
    depths={"left": 0.75, "right": 1.0},
    concat=0.65,
    pairs=[Pair(("left@0.75", "right@1"), 0.88, -0.02, interval(0.4), interval(0.6))],
    folds=5,
    stability={"left": 0.95, "right": 0.7, "set": 0.65},
)


def numbers(panel):
    """What is written in the cell of each row and column."""
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in panel.texts}


def contrast(first, second):
    """By WCAG 2."""

    def luminance(colour):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour)]
        return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_heat_map_writes_every_value_where_a_table_has_it():
    panel, bar = charts.heat_map(PAIR).axes
    written = numbers(panel)
    assert len(written) == 12
    assert written[0, 0] == "0.99"
    assert written[0, 2] == "0.10"
    assert written[0, 3] == "\N{MINUS SIGN}0.06"  # the number, though the colour is that of 0
    assert written[1, 3] == "0.00"
    assert written[2, 0] == "0.30"
    assert panel.get_ylim() == (2.5, -0.5)  # shallow blocks at the top
    assert (panel.get_ylabel(), panel.get_xlabel()) == ("left@0.75: depth", "right@1: depth")
    assert [text.get_text() for text in panel.get_yticklabels()] == ["0.25", "0.5", "0.75"]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["0.25", "0.5", "0.75", "1"]
    assert panel.get_title() == "debiased CKA, 120 images"
    assert bar.get_ylabel() == "debiased CKA\n(below 0 as 0)"


def test_the_heat_map_has_one_scale_from_0_to_1():
    (mesh,) = charts.heat_map(PAIR).axes[0].collections
    assert mesh.get_clim() == (0, 1)
    assert mesh.get_cmap().name == "cividis"
    shown = mesh.get_array().reshape(3, 4)
    np.testing.assert_array_equal(shown, np.clip(VALUES, 0, 1))
    above = Comparison("minibatch-cka, batch 8", "a", "b", (DEPTHS[:3], DEPTHS), np.abs(VALUES), 9)
    panel, bar = charts.heat_map(above).axes
    assert bar.get_ylabel() == "minibatch CKA, batch 8"
    assert panel.collections[0].get_clim() == (0, 1)


def test_every_number_stands_out_from_its_cell():
    found = Comparison("cka", "a", "b", ((1.0,) * 10,) * 2, np.linspace(0, 1, 100).reshape(10, 10), 9)
    panel = charts.heat_map(found).axes[0]
    colours = mpl.colormaps["cividis"]
    for text, value in zip(panel.texts, found.values.ravel(), strict=True):
        assert contrast(text.get_color(), colours(value)) > 4.5


def test_more_blocks_than_numbers_fit_have_fewer_ticks_and_no_numbers():
    depths = tuple(k / 58 for k in range(1, 59))
    panel = charts.heat_map(Comparison("cca", "a", "b", (depths, DEPTHS), np.zeros((58, 4)), 9)).axes[0]
    assert len(panel.texts) == 0
    shown = [text.get_text() for text in panel.get_yticklabels()]
    assert len(shown) == 12
    assert shown[-1] == "1"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["0.25", "0.5", "0.75", "1"]


def test_curves_over_depth():
    figure = charts.by_layer({"one": [0.9, 0.8, 0.2, -0.2], "other": [1, 1, 1, 1]}, DEPTHS, ylabel="mean CCA")
    (panel,) = figure.axes
    assert [list(line.get_ydata()) for line in panel.lines] == [[0.9, 0.8, 0.2, -0.2], [1, 1, 1, 1]]
    assert [line.get_label() for line in panel.lines] == ["one", "other"]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("depth", "mean CCA")
    assert panel.get_ylim() == pytest.approx((-0.23, 1.03))
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in panel.lines}) == 2
    assert [text.get_text() for text in figure.legends[0].texts] == ["one", "other"]


def test_curves_over_batch_sizes_stand_at_doublings():
    (panel,) = charts.by_batch({"debiased": [0.5, 0.4, 0.4]}, [4, 8, 16]).axes
    assert panel.get_xscale() == "log"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["4", "8", "16"]
    assert panel.get_xlabel() == "images in a batch"


def test_the_agreement_matrix():
    values = np.array([[1, 0.25, np.nan], [0.25, 1, -0.3], [np.nan, -0.3, 1]])
    panel, bar = charts.agreement_matrix(["a", "b", "c"], values, label="kappa").axes
    written = numbers(panel)
    assert [written[0, 1], written[1, 0], written[1, 2]] == ["0.25", "0.25", "\N{MINUS SIGN}0.30"]
    assert written[0, 2] == written[2, 0] == "\N{EN DASH}"
    assert [text.get_text() for text in panel.get_yticklabels()] == ["a", "b", "c"]
    assert bar.get_ylabel() == "kappa\n(below 0 as 0)"


def test_the_curves_of_a_scan_and_the_rings_at_what_is_recommended():
    figure = charts.depth_curves(SCAN)
    left, right = figure.axes
    curves = {line.get_label(): line for line in left.lines}
    assert list(curves["left, probe"].get_xdata()) == [0.5, 0.75]
    assert list(curves["left, probe"].get_ydata()) == [0.8, 0.9]
    assert list(curves["right, nearest neighbours"].get_ydata()) == pytest.approx([0.6, 0.6, 0.7, 0.9])
    assert curves["left, probe"].get_linestyle() != curves["left, nearest neighbours"].get_linestyle()
    assert curves["left, probe"].get_color() == curves["left, nearest neighbours"].get_color()
    assert [list(line.get_ydata()) for line in right.lines if line.get_linestyle() == "-"] == [
        [0.1, 0.2, 0.15, 0.0],
        [0, 0, 0.1, 0.3],
    ]
    for panel, expected in ((left, {(0.75, 0.9), (1.0, 0.7)}), (right, {(0.75, 0.15), (1.0, 0.3)})):
        rings = [line for line in panel.lines if line.get_markersize() == 15 and len(line.get_xdata())]
        assert {(ring.get_xdata()[0], ring.get_ydata()[0]) for ring in rings} == expected
    assert (left.get_ylabel(), right.get_ylabel()) == ("AUC on images not seen", "LogME, higher is better")
    assert [text.get_text() for text in figure.legends[0].texts][-1] == "recommended depth"


def points(figure):
    return np.array([[line.get_xdata()[0], line.get_ydata()[0]] for line in figure.axes[0].lines])


def distances(found):
    return np.linalg.norm(found[:, None] - found[None], axis=-1)


def test_the_map_keeps_angles_that_a_plane_can_hold():
    figure = charts.zoo_map(["a", "b", "c"], np.cos(ANGLES))
    np.testing.assert_allclose(distances(points(figure)), ANGLES, atol=1e-4)
    assert figure.axes[0].get_title() == "arccos of CKA in a plane, stress 0.000"
    assert [text.get_text() for text in figure.legends[0].texts] == ["a", "b", "c"]
    assert figure.axes[0].get_xlim() == figure.axes[0].get_ylim()  # one scale, so that distances compare


def test_the_map_of_two_and_of_the_same():
    two = points(charts.zoo_map(["a", "b"], [[1, 0.5], [0.5, 1]]))
    assert distances(two)[0, 1] == pytest.approx(np.pi / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = charts.zoo_map(["a", "b", "c"], np.ones((3, 3)) - 1e-15)
    assert np.ptp(points(same), axis=0).max() == 0
    assert same.axes[0].get_xlim()[1] >= 0.4  # what is near looks near


def test_the_map_states_the_stress_of_what_a_plane_cannot_hold():
    """Five encoders all at right angles, those below 0 too; Kruskal's Stress-1."""
    similarity = np.where(np.eye(5), 1, -0.2)
    first, second = (charts.zoo_map(list("abcde"), similarity) for _ in range(2))
    np.testing.assert_array_equal(points(first), points(second))
    wanted, found = np.pi / 2 * (1 - np.eye(5)), distances(points(first))
    stress = np.sqrt(((wanted - found) ** 2).sum() / (found**2).sum())
    assert stress > 0.1
    assert first.axes[0].get_title().endswith(f"stress {stress:.3f}")


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


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in .png or .svg \(got .*a.pdf'\). Try .*a.png"):
        style.save(charts.heat_map(PAIR), tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"a value at each of 4 places \(got {'a': 4, 'b': 2}\)"):
        charts.by_layer({"a": [1] * 4, "b": [1] * 2}, DEPTHS)
    with pytest.raises(ValueError, match=r"a value at each of 2 places \(got {}\)"):
        charts.by_batch({}, [4, 8])
    with pytest.raises(ValueError, match=r"\(E, E\) for E names, E at least 2 \(got \(1, 1\) for 1\)"):
        charts.zoo_map(["a"], [[1]])
    with pytest.raises(ValueError, match=r"\(got \(2, 2\) for 3\)"):
        charts.agreement_matrix(["a", "b", "c"], np.eye(2))
    with pytest.raises(ValueError, match="values must be symmetric"):
        charts.agreement_matrix(["a", "b"], [[1, 0.2], [0.3, 1]])
    with pytest.raises(ValueError, match="similarity must be finite"):
        charts.zoo_map(["a", "b"], [[1, np.nan], [np.nan, 1]])
