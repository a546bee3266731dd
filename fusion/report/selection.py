"""The page of `fusion select`: which encoders to fuse, cut where, and how sure that is."""

import json
import math

import numpy as np
import numpy.typing as npt

from fusion.report import charts
from fusion.report.page import Page, Section, Table, number, render
from fusion.selection.scan import Scan

Floats = npt.NDArray[np.float64]
Window = tuple[float, float] | None

_STEADY = 0.9  # share of draws

_EVEN = 0.6


def selection_page(scan: Scan, *, task: str, unit: str = "groups", window: Window = None, command: str = "") -> str:
    """One page for what `fusion.scan` found.

    Args:
        scan: What it found.
        task: Which images and labels these were, in a sentence.
        unit: What was drawn for the stability: `groups`, or `images` where there are none.
        window: By which the encoders were loaded; None: that of their cards.
        command: What reproduces the page.
    """
    parts = [Section("What to fuse", verdict(scan, unit), use(scan, unit, window)), _levels(scan)]
    if scan.pairs:
        parts += [_pairs(scan), _map(scan)]
    return render(Page("Which encoders to fuse, cut where", task, parts, command))


def use(scan: Scan, unit: str = "groups", window: Window = None) -> str:
    """The line of Python that fuses what is recommended."""
    given = "images, labels, groups" if unit == "groups" else "images, labels"
    mean = ', head="mean"' if len(scan.recommended) > 1 else ""
    encoders = json.dumps(scan.recommended)
    if window is not None:  # names alone would be loaded by another
        loads = (f"zoo.load({json.dumps(name)}, window={json.dumps(window)})" for name in scan.recommended)
        encoders = f"[{', '.join(loads)}]"
    way = f", select={json.dumps(scan.select)}" if scan.select != "clean" else ""
    return f"model = FusionClassifier({encoders}{mean}, folds={scan.folds}{way}).fit({given})"


def verdict(scan: Scan, unit: str = "groups") -> list[str]:
    """Say what to fuse, what it is worth beside the usual way, and how sure that is, in sentences."""
    names = " + ".join(scan.recommended)
    alone = len(scan.recommended) == 1
    best = f"Take {names} alone" if alone else f"Fuse {names}"
    how = "of its probe" if alone else "of the mean of their probes"
    why = " No partner adds to it." if alone and scan.pairs else ""
    on = "images and shifted copies" if scan.select == "shifted" else "images"
    return [
        f"{best}: AUC {scan.auc:.3f} {how}{_within(scan)}, on {on} that neither probes nor choice had seen.{why}",
        f"The baseline: one probe on all encoders at their last depth, concatenated, has AUC {scan.concat:.3f}.",
        *_stability(scan, unit),
        "For these figures depths and set were chosen anew without each fold that judges them, so that some folds may "
        "judge another set than the recommended one.",
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


def similarities(scan: Scan) -> tuple[list[str], Floats, Floats]:
    """Names at their recommended depths, CKA (E, E) and kappa (E, E) between all of them."""
    names = [f"{name}@{depth:g}" for name, depth in scan.depths.items()]
    cka, kappa = np.eye(len(names)), np.eye(len(names))
    for pair in scan.pairs:
        i, j = map(names.index, pair.names)
        cka[i, j] = cka[j, i] = pair.cka.value
        kappa[i, j] = kappa[j, i] = pair.kappa.value
    return names, cka, kappa


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


def _within(scan: Scan) -> str:
    return "" if math.isnan(scan.spread) else f" (standard error over folds {scan.spread:.3f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _levels(scan: Scan) -> Section:
    return Section(
        "Depth by depth",
        [
            "LogME, H-score and nearest neighbours judge every depth; probes judge those that LogME puts first. Every "
            "AUC is of images that were held out; the highest of several is a little too high.",
            "Small differences between depths may be chance: the shares of draws above say how sure the choice is.",
        ],
        picture=charts.depth_curves(scan),
        tables=[levels_table(scan)],
    )


def _pairs(scan: Scan) -> Section:
    names, _, kappa = similarities(scan)
    rows = [[" + ".join(p.names), number(p.auc), number(p.gain), number(p.cka), number(p.kappa)] for p in scan.pairs]
    caption = (
        "Pairs at their recommended depths, AUC and gain at depths chosen without each fold; best first, "
        "95 % intervals in brackets."
    )
    return Section(
        "Pairs",
        [
            "The gain is over the one of both that does better without the fold. Kappa is 1 where both are wrong on "
            "the same images, and 0 where their mistakes are independent.",
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
