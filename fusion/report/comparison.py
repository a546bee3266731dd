"""Self-contained HTML pages of what is inside encoders: how alike their blocks are, and which to fuse, cut where."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fusion.report import charts
from fusion.report.page import Page, Section, Table, number, render
from fusion.similarity.compare import BatchSizes, Comparison

Floats = npt.NDArray[np.float64]

_WIDE = 12  # columns that a sheet of paper takes

_NOT = "It does not say which of the two is better for a task, and other images may give other values."
_SAME = "1 means that both lay the images out alike, up to rotation, reflection, shift and scale"
_MORE = "the more so the fewer the images and the wider the features"
_READ = {
    "cka": f"{_SAME}; unrelated features give about 0, a little above or below it by chance.",
    "biased-cka": f"{_SAME}; unrelated features give more than 0, {_MORE}.",
    "cca": f"1 means that each is a linear map of the other; unrelated features give more than 0, {_MORE}.",
    "minibatch-cka": f"{_SAME}, here of whole maps, position by position, and as seen in batches of that size.",
}


def comparison_page(
    comparisons: Sequence[Comparison], *, task: str, batches: Sequence[BatchSizes] = (), command: str = ""
) -> str:
    """One page for one comparison of `fusion.compare` or several, such as those of `fusion.before_after`.

    Args:
        comparisons: At least one.
        task: Which images these were, in a sentence.
        batches: Minibatch CKA over batch sizes, where it was computed.
        command: What reproduces the page.

    Raises:
        ValueError: There is no comparison.
    """
    if not comparisons:
        raise ValueError("comparisons must be one or more (got none). Pass [fusion.compare(...)].")
    several = len(comparisons) > 1
    title = f"{len(comparisons)} comparisons of encoders" if several else _title(comparisons[0])
    maps = [_blocks(each, _title(each) if several else "Every block beside every block") for each in comparisons]
    return render(Page(title, task, [*maps, *_same_depths(comparisons), *map(_over_sizes, batches)], command))


def matches_table(comparison: Comparison) -> Table:
    """List each block of the first encoder: the value at the same depth, where both have it, and its best match."""
    rows, columns = comparison.depths
    best = comparison.values.argmax(1)
    same = [[number(value)] for value in comparison.values.diagonal()] if rows == columns else [[] for _ in rows]
    return Table(
        f"{comparison.first} beside {comparison.second}, {charts.measure_name(comparison.measure)}",
        ("depth", *(["same depth"] if rows == columns else []), "best match at", "value"),
        [
            [f"{depth:.3g}", *same[i], f"{columns[best[i]]:.3g}", number(comparison.values[i, best[i]])]
            for i, depth in enumerate(rows)
        ],
    )


def _title(comparison: Comparison) -> str:
    return f"{comparison.first} and {comparison.second}"


def _blocks(comparison: Comparison, heading: str) -> Section:
    measure = charts.measure_name(comparison.measure)
    caption = (
        f"{measure}, {comparison.images} images; rows: depth of {comparison.first}; columns: of {comparison.second}."
    )
    return Section(
        heading,
        [_READ[comparison.measure.split(",")[0]], _NOT],
        picture=charts.heat_map(comparison),
        tables=list(_grids(caption, "depth", *comparison.depths, comparison.values)),
    )


def _grids(
    caption: str, corner: str, rows: Iterable[float], columns: Sequence[float], values: Floats
) -> Iterator[Table]:
    """A wide table is cut into several that fit a sheet."""
    for start in range(0, len(columns), _WIDE):
        part = slice(start, start + _WIDE)
        cells = [[f"{depth:.3g}", *map(number, line[part])] for depth, line in zip(rows, values, strict=True)]
        yield Table(caption, (corner, *(f"{depth:.3g}" for depth in columns[part])), cells)


def _same_depths(comparisons: Sequence[Comparison]) -> Iterator[Section]:
    """A curve per comparison of two encoders with the same depths; a section per measure and depths."""
    alike = [each for each in comparisons if each.depths[0] == each.depths[1]]
    for measure, depths in dict.fromkeys((each.measure, each.depths[0]) for each in alike):
        own = [each for each in alike if (each.measure, each.depths[0]) == (measure, depths)]
        curves = {_title(each): each.values.diagonal().tolist() for each in own}
        said = charts.measure_name(measure)
        yield Section(
            "At the same depth",
            ["Each block of the one beside the block of the other that ends at the same depth: the diagonal."],
            picture=charts.by_layer(curves, depths, ylabel=said),
            tables=[_columns(f"{said} at the same depth.", "depth", [f"{d:.3g}" for d in depths], curves)],
        )


def _over_sizes(found: BatchSizes) -> Section:
    curves = {"debiased": found.debiased, "biased": found.biased}
    pair = " and ".join(found.names)
    return Section(
        "Minibatch CKA over the batch size",
        [
            f"Of the last blocks' features of {pair}, on {found.images} of the images in batches of a drawn order.",
            "Where the curves lie apart, the small batch raises the biased one, not likeness.",
        ],
        picture=charts.by_batch(curves, found.sizes),
        tables=[_columns(f"Minibatch CKA of {pair}.", "images in a batch", list(map(str, found.sizes)), curves)],
    )


def _columns(caption: str, corner: str, names: Sequence[str], curves: dict[str, list[float]]) -> Table:
    rows = [[name, *map(number, values)] for name, *values in zip(names, *curves.values(), strict=True)]
    return Table(caption, (corner, *curves), rows)
