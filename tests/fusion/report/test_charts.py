"""Pictures say the numbers they are made of, in colours of one palette."""

import warnings

import matplotlib as mpl
import numpy as np
import pytest

from fusion.report import charts, style
from fusion.similarity.compare import Comparison
from tests.fusion.report.small_results import DEPTHS, PAIR, SCAN, VALUES

ANGLES = np.array([[0, 3, 4], [3, 0, 5], [4, 5, 0]]) / 10  # a right triangle


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
