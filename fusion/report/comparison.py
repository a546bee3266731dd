"""Self-contained HTML pages of what is inside encoders: how alike their blocks are, and which to fuse, cut where."""

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fusion.report import charts
from fusion.report.page import Page, Section, Table, number, render
from fusion.selection.scan import Scan
from fusion.similarity.batch_sizes import BatchSizes
from fusion.similarity.compare import Comparison

Floats = npt.NDArray[np.float64]

_WIDE = 12  # columns that a sheet of paper takes
_STEADY = 0.9  # share of draws
_EVEN = 0.6

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


def selection_page(scan: Scan, *, task: str, unit: str = "groups", command: str = "") -> str:
    """One page for what `fusion.scan` found.

    Args:
        scan: What it found.
        task: Which images and labels these were, in a sentence.
        unit: What was drawn for the stability: `groups`, or `images` where there are none.
        command: What reproduces the page.
    """
    parts = [Section("What to fuse", verdict(scan, unit), use(scan, unit)), _levels(scan)]
    if scan.pairs:
        parts += [_pairs(scan), _map(scan)]
    return render(Page("Which encoders to fuse, cut where", task, parts, command))


def use(scan: Scan, unit: str = "groups") -> str:
    """The line of Python that fuses what is recommended."""
    given = "images, labels, groups" if unit == "groups" else "images, labels"
    mean = ', head="mean"' if len(scan.recommended) > 1 else ""
    return f"model = FusionClassifier({json.dumps(scan.recommended)}{mean}, folds={scan.folds}).fit({given})"


def verdict(scan: Scan, unit: str = "groups") -> list[str]:
    """What to fuse, what it is worth beside the usual way, and how sure that is, in sentences."""
    names = " + ".join(scan.recommended)
    alone = len(scan.recommended) == 1
    best = f"Take {names} alone" if alone else f"Fuse {names}"
    how = "of its probe" if alone else "of the mean of their probes"
    why = " No partner adds to it." if alone and scan.pairs else ""
    return [
        f"{best}: AUC {scan.auc:.3f} {how}, on images that no probe had seen.{why}",
        f"The baseline: one probe on all encoders at their last depth, concatenated, has AUC {scan.concat:.3f}.",
        *_stability(scan, unit),
        "Depths and set were chosen by these figures, which flatters them a little, but not the baseline: judge the "
        "fusion on other images.",
    ]


def levels_table(scan: Scan) -> Table:
    """Every depth of every encoder; the recommended ones are chosen."""
    rows = [
        [level.encoder, f"{level.depth:.3g}", *map(number, (level.logme, level.h_score, level.knn, level.auc))]
        for level in scan.levels
    ]
    return Table(
        "Every depth; a dash where no probe was fitted. The recommended depth of each encoder is bold.",
        ("encoder", "depth", "LogME", "H-score", "neighbours' AUC", "probe's AUC"),
        rows,
        [place for place, level in enumerate(scan.levels) if scan.depths[level.encoder] == level.depth],
    )


def matches_table(comparison: Comparison) -> Table:
    """For each block of the first encoder the value at the same depth, where both have the same, and its best match."""
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


def similarities(scan: Scan) -> tuple[list[str], Floats, Floats]:
    """Names at their recommended depths, CKA (E, E) and kappa (E, E) between all of them."""
    names = [f"{name}@{depth:g}" for name, depth in scan.depths.items()]
    cka, kappa = np.eye(len(names)), np.eye(len(names))
    for pair in scan.pairs:
        i, j = map(names.index, pair.names)
        cka[i, j] = cka[j, i] = pair.cka.value
        kappa[i, j] = kappa[j, i] = pair.kappa.value
    return names, cka, kappa


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


def _stability(scan: Scan, unit: str) -> list[str]:
    shares = ", ".join(f"{name} in {_percent(share)}" for name, share in scan.stability.items() if name != "set")
    share = scan.stability["set"]
    sure = "The choice is steady."
    if share < _STEADY:
        sure = "Other choices are close." if share >= _EVEN else "The choice is not steady: others do about as well."
    return [
        f"Had other {unit} been drawn, the same set at the same depths would have come out in {_percent(share)} of "
        f"draws; the same depth of {shares}. {sure}"
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _levels(scan: Scan) -> Section:
    return Section(
        "Depth by depth",
        [
            "LogME, H-score and nearest neighbours judge every depth; probes judge those that LogME puts first. Every "
            "AUC is of images that were held out.",
            "Small differences between depths may be chance: the shares of draws above say how sure the choice is.",
        ],
        picture=charts.depth_curves(scan),
        tables=[levels_table(scan)],
    )


def _pairs(scan: Scan) -> Section:
    names, _, kappa = similarities(scan)
    rows = [[" + ".join(p.names), number(p.auc), number(p.gain), number(p.cka), number(p.kappa)] for p in scan.pairs]
    caption = "Pairs at their recommended depths, best first; 95 % intervals in brackets."
    return Section(
        "Pairs",
        [
            "The gain is over the better one alone. Kappa is 1 where both are wrong on the same images, and 0 where "
            "their mistakes are independent.",
            "Low CKA or kappa leaves room for a gain; it does not promise one.",
        ],
        picture=charts.agreement_matrix(names, kappa, label="kappa of mistakes") if len(names) > 2 else None,
        tables=[Table(caption, ("pair", "AUC of the mean", "gain", "debiased CKA", "kappa"), rows)],
    )


def _map(scan: Scan) -> Section:
    names, cka, _ = similarities(scan)
    rows = [[name, *map(number, line)] for name, line in zip(names, cka, strict=True)]
    return Section(
        "How alike they are",
        [
            "Points far apart lay these images out differently. The stress says how much of that a plane cannot show: "
            "0 is nothing, 0.2 is much.",
        ],
        picture=charts.zoo_map(names, cka),
        tables=[Table("Debiased CKA at the recommended depths.", ("encoder", *names), rows)],
    )
