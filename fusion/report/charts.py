"""Similarity, agreement and depth as pictures that are legible in print and without colour vision."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from sklearn.manifold import MDS

from fusion.report.style import COLOURS, style
from fusion.selection.scan import Level, Scan
from fusion.similarity.compare import Comparison

Floats = npt.NDArray[np.float64]
Curves = Mapping[str, Sequence[float]]

MAP = "cividis"  # even steps, also in grey and without colour vision

_NUMBERED = 10  # rows and columns that leave room for numbers
_TICKS = 12
_QUARTERS = (0, 0.25, 0.5, 0.75, 1)
_NEAR = 0.4  # radians: a map reaches at least this far, so that what is near looks near
_DARK = 0.18  # luminance below which white letters stand out more than black ones
_NAMES = {"cka": "debiased CKA", "biased-cka": "biased CKA", "cca": "mean CCA"}


def heat_map(comparison: Comparison) -> Figure:
    """Every block of one encoder against every block of another, from 0 to 1; numbers where there is room.

    What is below 0 has the colour of 0 and its own number.
    """
    rows, columns = comparison.depths
    figure = _sheet(len(rows), len(columns))
    panel = figure.subplots()
    _cells(panel, comparison.values, measure_name(comparison.measure))
    _depth_ticks(panel, rows, columns)
    panel.set(ylabel=f"{comparison.first}: depth", xlabel=f"{comparison.second}: depth")
    panel.set_title(f"{measure_name(comparison.measure)}, {comparison.images} images", fontsize=10)
    return figure


def by_layer(curves: Curves, depths: Sequence[float], *, ylabel: str = "similarity") -> Figure:
    """One curve per name over depth, such as CKA or CCA; the scale is 0 to 1, and further down if a value is.

    Args:
        curves: A value per depth.
        depths: In (0, 1], ascending.
        ylabel: What the values are.

    Raises:
        ValueError: A curve has another number of values than there are depths, or there is no curve.
    """
    _check_curves(curves, depths)
    figure = _chart(len(curves))
    panel = figure.subplots()
    _draw(panel, curves, depths)
    panel.set(xlabel="depth", ylabel=ylabel)
    panel.set_xticks(_some(depths), [f"{depth:.3g}" for depth in _some(depths)])
    figure.legend(loc="outside lower center", ncols=1, fontsize=8)
    return figure


def by_batch(curves: Curves, sizes: Sequence[int]) -> Figure:
    """Minibatch CKA over the batch size, on a scale of doublings.

    Args:
        curves: A value per size.
        sizes: Images in a batch, ascending.

    Raises:
        ValueError: As in `by_layer`.
    """
    _check_curves(curves, sizes)
    figure = _chart(len(curves))
    panel = figure.subplots()
    _draw(panel, curves, sizes)
    panel.set_xscale("log", base=2)
    panel.set(xlabel="images in a batch", ylabel="minibatch CKA")
    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.xaxis.set_minor_locator(NullLocator())
    figure.legend(loc="outside lower center", ncols=1, fontsize=8)
    return figure


def agreement_matrix(names: Sequence[str], values: npt.ArrayLike, *, label: str = "agreement") -> Figure:
    """Models by models, from 0 to 1; numbers where there is room, and a dash where a value is not defined.

    Args:
        names: Of E models.
        values: (E, E), symmetric; NaN where nothing is defined. What is below 0 has the colour of 0 and its own number.
        label: What the values are.

    Raises:
        ValueError: `values` are not (E, E) or not symmetric.
    """
    cells = _square(names, values, least=1)
    figure = _sheet(len(names), len(names), 0.08 * max(map(len, names)))
    panel = figure.subplots()
    _cells(panel, cells, label)
    panel.set_xticks(range(len(names)), names, rotation=30, ha="right")
    panel.set_yticks(range(len(names)), names)
    return figure


def depth_curves(scan: Scan) -> Figure:
    """Draw what a scan says of each depth: AUC of probes and of nearest neighbours, and LogME beside them.

    Rings mark the depth that is recommended of each encoder.
    """
    names = list(scan.depths)
    figure = Figure(figsize=(8.4, 3.4 + 0.2 * (len(names) + 1)), layout="constrained")
    panels = figure.subplots(1, 2)
    for number, name in enumerate(names):
        own = [level for level in scan.levels if level.encoder == name]
        _of_encoder(panels, own, style(number) | {"ls": "-"}, scan.depths[name])
    panels[0].plot([], [], label="recommended depth", **_RING)
    panels[0].set(xlabel="depth", ylabel="AUC on images not seen")
    panels[1].set(xlabel="depth", ylabel="LogME, higher is better")
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.set_xlim(0, 1.04)
        panel.set_xticks(_QUARTERS)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def zoo_map(names: Sequence[str], similarity: npt.ArrayLike) -> Figure:
    """Encoders as points: the further apart, the less alike, by metric scaling of arccos(CKA clipped to [0, 1]).

    The stress in the title says how much of the distances a plane cannot show: 0 is nothing, 0.2 is much.

    Args:
        names: Of E encoders, at least two.
        similarity: (E, E) CKA, symmetric.

    Raises:
        ValueError: There are fewer than two, or `similarity` is not (E, E), not symmetric, or not finite.
    """
    cells = _square(names, similarity, least=2)
    if not np.isfinite(cells).all():
        raise ValueError("similarity must be finite (got NaN or infinity). Leave those encoders out.")
    points, stress = _placed(np.arccos(np.clip(cells, 0, 1)))
    figure = Figure(figsize=(4.8, 5.0 + 0.22 * len(names)), layout="constrained")
    panel = figure.subplots()
    for number, (name, point) in enumerate(zip(names, points, strict=True)):
        panel.plot(*point[:, None], ms=10, label=name, **style(number) | {"ls": ""})
    reach = max(_NEAR, 1.2 * float(np.abs(points).max()))
    panel.set_box_aspect(1)
    panel.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="radians; directions mean nothing", ylabel="radians")
    panel.set_title(f"arccos of CKA in a plane, stress {stress:.3f}", fontsize=10)
    panel.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=1, fontsize=8)
    return figure


def measure_name(measure: str) -> str:
    """A measure of `fusion.compare` in words."""
    return _NAMES.get(measure, measure.replace("minibatch-cka", "minibatch CKA"))


_RING: dict[str, Any] = {"ls": "", "marker": "o", "ms": 15, "mfc": "none", "color": COLOURS[-1], "mew": 1.5}


def _of_encoder(panels: Sequence[Axes], levels: Sequence[Level], look: dict[str, Any], best: float) -> None:
    """The curves of one encoder, and rings at its best depth."""
    left, right = panels
    name, depths = levels[0].encoder, [level.depth for level in levels]
    probed = {level.depth: level.auc for level in levels if level.auc is not None}
    left.plot(list(probed), list(probed.values()), label=f"{name}, probe", **look)
    thin = look | {"ls": ":", "mfc": "#FFFFFF", "ms": 5}
    left.plot(depths, [level.knn for level in levels], label=f"{name}, nearest neighbours", **thin)
    scores = {level.depth: level.logme for level in levels}
    right.plot(depths, list(scores.values()), **look)
    for panel, values in ((left, probed), (right, scores)):
        panel.plot([best], [values[best]], **_RING)


def _sheet(rows: int, columns: int, names: float = 0.0) -> Figure:
    """Room for a number in every cell, and for names of so many inches; many cells share what a page takes."""
    wide, high = (min(6.5, max(1.6, 0.5 * count)) for count in (columns, rows))
    return Figure(figsize=(wide + 1.9 + names, high + 1.0 + names / 2), layout="constrained")


def _chart(curves: int) -> Figure:
    return Figure(figsize=(5.6, 3.2 + 0.2 * curves), layout="constrained")


def _cells(panel: Axes, values: Floats, label: str) -> None:
    """Rows from the top, as in a table; the middle of a cell is at whole numbers."""
    edges = [np.arange(count + 1) - 0.5 for count in values.shape]
    colours = mpl.colormaps[MAP].with_extremes(bad="#FFFFFF")
    mesh = panel.pcolormesh(edges[1], edges[0], np.clip(values, 0, 1), cmap=colours, vmin=0, vmax=1)
    mesh.set(edgecolor="face", linewidth=0.4)  # no seams between the cells of an SVG
    panel.invert_yaxis()
    below = bool((values < 0).any())
    said = f"{label}\n(below 0 as 0)" if below else label
    cast(Figure, panel.figure).colorbar(mesh, ax=panel, label=said, extend="min" if below else "neither")
    if max(values.shape) <= _NUMBERED:
        for (i, j), value in np.ndenumerate(values):
            panel.text(j, i, _written(value), ha="center", va="center", fontsize=8, color=_ink(mesh, value))


def _written(value: float) -> str:
    """Two decimals, without the sign of a zero; a dash where nothing is defined."""
    return "\N{EN DASH}" if np.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def _ink(mesh: QuadMesh, value: float) -> str:
    """White or black, whichever stands out more from the cell (WCAG's relative luminance)."""
    channels = np.asarray(mesh.to_rgba(np.ma.masked_invalid([value]))[0][:3])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return "#FFFFFF" if linear @ [0.2126, 0.7152, 0.0722] < _DARK else "#000000"


def _depth_ticks(panel: Axes, rows: Sequence[float], columns: Sequence[float]) -> None:
    for axis, depths in ((panel.yaxis, rows), (panel.xaxis, columns)):
        shown = _some(range(len(depths)))
        axis.set_ticks(shown, [f"{depths[place]:.3g}" for place in shown])
    panel.tick_params(axis="x", rotation=45)


def _some(values: Sequence[Any]) -> list[Any]:
    """At most a dozen at even steps, the last one among them."""
    step = -(-len(values) // _TICKS)
    return list(values[::-1][::step][::-1])


def _draw(panel: Axes, curves: Curves, places: Sequence[float]) -> None:
    for number, (name, values) in enumerate(curves.items()):
        panel.plot(places, values, ms=5, lw=1.4, label=name, **style(number))
    lowest = min(0.0, *(value for values in curves.values() for value in values))
    panel.set_ylim(lowest - 0.03, 1.03)
    panel.grid(alpha=0.3)


def _check_curves(curves: Curves, places: Sequence[float]) -> None:
    counts = {name: len(values) for name, values in curves.items()}
    if not places or set(counts.values()) != {len(places)}:
        raise ValueError(
            f"curves must have a value at each of {len(places)} places (got {counts}). Draw unlike ones by themselves."
        )


def _square(names: Sequence[str], values: npt.ArrayLike, least: int) -> Floats:
    cells = np.asarray(values, np.float64)
    if cells.shape != (len(names),) * 2 or len(names) < least:
        raise ValueError(
            f"values must be (E, E) for E names, E at least {least} (got {cells.shape} for {len(names)}). "
            "Give one per pair."
        )
    if not np.allclose(cells, cells.T, equal_nan=True):
        raise ValueError("values must be symmetric (got others). Pass a measure that takes both alike.")
    return cells


def _placed(angles: Floats) -> tuple[Floats, float]:
    """(E, 2) and Stress-1; where all are the same, one place."""
    np.fill_diagonal(angles, 0)
    if angles.max() < 1e-6:
        return np.zeros((len(angles), 2)), 0.0
    scaling = MDS(2, metric="precomputed", init="classical_mds", normalized_stress=True, random_state=0)
    return scaling.fit_transform((angles + angles.T) / 2), float(scaling.stress_)
