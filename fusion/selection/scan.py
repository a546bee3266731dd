"""Which encoders, cut where, to fuse: an answer before any training.

One pass gives every depth of every candidate. LogME shortlists depths, probes judge the short list on images that they
have not seen, and sets are judged by the mean of what their probes say of such images.

What is recommended is the best of many, and so looks better than it is. What is *reported* therefore is not its figure,
but that of the same way to choose, gone anew inside each fold's training images: short list, penalties, depths and set
are chosen without the fold that judges them. Source: Varma and Simon 2006 (BMC Bioinformatics 7:91); Cawley and Talbot
2010 (JMLR 11). AUCs are means over folds, of the mean over the classes that a fold has images of and others as well.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import zoo
from fusion.data import folds as folds_
from fusion.data import labels as labels_
from fusion.evaluation.agreement import agreement
from fusion.evaluation.intervals import Interval
from fusion.features import extract
from fusion.heads.probe import Folds
from fusion.heads.solved import Ints
from fusion.selection import candidates, nesting
from fusion.selection.candidates import Blocks
from fusion.selection.nesting import Nested, nested
from fusion.selection.recommendation import Inside, Key, Panel, Recommendation, stability
from fusion.selection.scores import h_score, knn, logme
from fusion.similarity.interval import interval
from fusion.similarity.measures import cka

EMBEDDED = ("mocov2-mini", "mae-mini")
LEAST = 3  # folds, and images of a class
NEIGHBOURS = 10  # or as many as a small fold has


@dataclass(frozen=True)
class Level:
    """One encoder cut at one depth.

    Attributes:
        encoder: Its name without depth; `, fine-tuned` behind it where it is not what that name loads.
        depth: In (0, 1].
        logme: See `fusion.selection.scores.logme`: compares depths and encoders on the same labels.
        h_score: See `fusion.selection.scores.h_score`: compares as `logme` does; it grows with the width.
        knn: See `fusion.selection.scores.knn`: compares as `logme` does; an AUC.
        auc: Of a probe, mean over folds, each one's penalty chosen without it; None where LogME did not shortlist the
            depth. The highest of several flatters: `Scan.auc` does not.
    """

    encoder: str
    depth: float
    logme: float
    h_score: float
    knn: float
    auc: float | None


@dataclass(frozen=True)
class Pair:
    """Two encoders.

    Attributes:
        names: `encoder@depth` of both, as recommended.
        auc: Of the mean of their probes' log-probabilities, mean over folds; penalties and depths are chosen without
            the fold that judges them, and need not be the same in each.
        gain: What that is above the one of both that does better without the fold, judged on it.
        cka: Debiased, between their features at the recommended depths.
        kappa: There, how much more often than by chance they are right and wrong together, 1 being always.

    Intervals are of patients, NaN at both ends where these are fewer than 4 or half of them have too few images.
    """

    names: tuple[str, str]
    auc: float
    gain: float
    cka: Interval
    kappa: Interval


@dataclass(frozen=True)
class Scan:
    """Findings of a scan.

    Attributes:
        levels: Every encoder at every depth.
        recommended: `encoder@depth` to fuse, best first; one where no partner helps.
        auc: What such a recommendation is worth on images that it has not seen, as `head="mean"`: the mean over folds
            of the AUC of sets that are chosen, short list and penalties included, without the fold that judges them.
            About .5 where features know nothing; lower than the AUC of the best level or pair may be.
        depths: The recommended depth of each encoder.
        concat: AUC, judged alike, of one probe on the features of all encoders at their full depth, the baseline.
        pairs: By the AUC of both together, best first: it is measured, not foretold from likeness, which stands beside.
        folds: Of the cross-validation.
        stability: In what share of draws of groups the same depth of each encoder, and the same set ("set"), was
            recommended; the short list stays as it is. A fold of which a draw holds one class does not count in it.
        spread: Standard error of `auc`, from how it differs between folds, corrected for the images that they share to
            learn from. NaN where fewer than two have images of two classes.
        select: What was judged on: `clean` images, or `shifted` copies of them as well, in every figure but CKA.

    Where no fold has images of two classes, as if each is one patient, AUCs are of all folds together instead.
    """

    levels: list[Level]
    recommended: list[str]
    auc: float
    depths: dict[str, float]
    concat: float
    pairs: list[Pair]
    folds: int
    stability: dict[str, float]
    spread: float = float("nan")
    select: str = "clean"


def scan(
    encoders: Sequence[str | zoo.Encoder],
    images: Any,
    labels: Any,
    groups: Any = None,
    *,
    folds: int = 5,
    device: str = "auto",
    select: str = "clean",
) -> Scan:
    """Judge every depth of every encoder, and which to fuse, on labelled images, without training an encoder.

    Args:
        encoders: Names, or encoders; a name with `@depth` is scanned up to there, one without as a whole. Each sees
            images in its own size, as it would in a fusion.
        images: As `FusionClassifier.fit` takes them.
        labels: (N,) labels, three of each class at least.
        groups: (N,) patients; no fold holds a part of one, and draws are of whole ones.
        folds: Of the cross-validation, 3 at least: one judges, and the others choose penalties, depths and the set.
        device: `auto` takes the GPU where there is one.
        select: `shifted` judges on images and on copies as other scanners might have made them, with probes that were
            fitted on such; as of `FusionClassifier`, at its cost. `clean`: on the images alone.

    Raises:
        ValueError: There is no encoder or two have one name, labels are several per image, a class has fewer images or
            the images fewer groups than there are folds, there are fewer than three of these or one class without two
            of them, or lengths differ.

    Example:
        >>> import fusion
        >>> train = fusion.brain_regions("train", labels=120)
        >>> found = fusion.scan(["mocov2-mini"], train.images, train.labels)
        >>> len(found.levels)
        8
    """
    candidates.check_way(select)
    images = zoo.listed(images)
    known = labels_.read(labels, len(images))
    if known.multilabel:
        raise ValueError("labels must be one per image to select (got several). Scan for each label by itself.")
    members = folds_.members(groups, len(images), images)
    split = _split(known, members, folds)
    found = candidates.load(encoders, device)
    blocks, rows = candidates.features(found, images, select)
    depths = {name: encoder.depths for name, encoder in found.items()}
    if select == "shifted":  # copies are of one unit, on one side of each fold
        members, split = (rows if members is None else members[rows]), folds_.of_copies(split, rows)
    plain = np.unique(rows, return_index=True)[1]  # of each image the first row, as it is
    return replace(_judged(blocks, depths, known.numbers[rows], members, split, plain), select=select)


def _split(known: labels_.Targets, members: npt.NDArray[Any] | None, folds: int) -> Folds:
    names, counts = known.classes.tolist(), np.bincount(known.numbers)
    if counts.min() < LEAST:
        rare = names[int(counts.argmin())]
        raise ValueError(f"labels must hold {LEAST} images of each class (got {counts.min()} of {rare!r}). Add some.")
    if folds < LEAST:
        raise ValueError(
            f"folds must be at least {LEAST} (got {folds!r}): one judges, others choose. Pass folds={LEAST}."
        )
    split = folds_.folds(known.numbers, members, folds, 0)
    nesting.check(known.numbers, split)
    return split


def _judged(
    blocks: Blocks,
    depths: dict[str, tuple[float, ...]],
    y: Ints,
    groups: npt.NDArray[Any] | None,
    split: Folds,
    plain: Ints,
) -> Scan:
    """Judge rows (M,), of which those of `plain` are the images as they are and the others copies."""
    copies = len(y) // len(plain)
    scores = {name: [logme(x, y) for x in found] for name, found in blocks.items()}
    short = {name: nesting.shortlisted(found) for name, found in scores.items()}
    inside = _probed(blocks, depths, short, y, split, copies)
    opinions = {
        name: {d: inside.outer.opinions[name][d] for d in (depths[name][i] for i in sorted(short[name]))}
        for name in blocks
    }
    panel = Panel(opinions, y, inside.outer.fold)
    best, honest = panel.recommend(np.ones(len(y))), inside.recommended()
    last = np.concatenate([found[-1] for found in blocks.values()], axis=1)
    return Scan(
        levels=_levels(blocks, depths, scores, panel, split, copies),
        recommended=[_named(*key) for key in best.keys],
        auc=inside.auc(honest),
        depths=best.depths,
        concat=inside.auc(nested(last, y, split, copies=copies).outer),
        pairs=_pairs({e: blocks[e][depths[e].index(d)] for e, d in best.depths.items()}, best, inside, groups, plain),
        folds=len(split),
        stability=stability(panel, best, groups),
        spread=inside.spread(honest),
    )


def _probed(
    blocks: Blocks,
    depths: dict[str, tuple[float, ...]],
    short: dict[str, set[int]],
    y: Ints,
    split: Folds,
    copies: int,
) -> Inside:
    """Probes of the depths that are short-listed by all images, or without one of the folds, for this fold alone."""
    opinions: dict[str, dict[float, Nested]] = {}
    without: dict[str, list[set[float]]] = {}
    for name, found in blocks.items():
        lists = [nesting.short_list(found, y, train) for train, _ in split]
        wanted = {
            i: range(len(split)) if i in short[name] else [k for k, own in enumerate(lists) if i in own]
            for i in sorted(short[name].union(*lists))
        }
        opinions[name] = {
            depths[name][i]: nested(found[i], y, split, folds, copies=copies) for i, folds in wanted.items()
        }
        without[name] = [{depths[name][i] for i in own} for own in lists]
    return Inside(opinions, without, y, split)


def _levels(
    blocks: Blocks,
    depths: dict[str, tuple[float, ...]],
    scores: dict[str, list[float]],
    panel: Panel,
    split: Folds,
    copies: int,
) -> list[Level]:
    y, near = panel.y, min(NEIGHBOURS * copies, *(len(train) for train, _ in split))
    levels = []
    for name, found in blocks.items():
        for depth, x, score in zip(depths[name], found, scores[name], strict=True):
            probed = depth in panel.opinions[name]
            auc = panel.auc([(name, depth)], np.ones(len(y))) if probed else None
            levels.append(Level(name, depth, score, h_score(x, y), knn(x, y, split, neighbours=near), auc))
    return levels


def _pairs(
    chosen: dict[str, extract.Floats],
    best: Recommendation,
    inside: Inside,
    groups: npt.NDArray[Any] | None,
    plain: Ints,
) -> list[Pair]:
    found, own = [], {name: x[plain] for name, x in chosen.items()}  # copies would make any two features alike
    for names in itertools.combinations(chosen, 2):
        keys = [(name, best.depths[name]) for name in names]
        together, alone = (inside.auc(answers) for answers in (inside.together(names), inside.better(names)))
        found.append(
            Pair(
                names=(_named(*keys[0]), _named(*keys[1])),
                auc=together,
                gain=together - alone,
                cka=_likeness(own[names[0]], own[names[1]], None if groups is None else groups[plain]),
                kappa=_kappa(inside.outer, keys, groups),
            )
        )
    return sorted(found, key=lambda pair: -pair.auc)


def _likeness(x: extract.Floats, y: extract.Floats, groups: npt.NDArray[Any] | None) -> Interval:
    alone = groups is None or len(np.unique(groups)) == len(x)
    try:
        return interval(cka, x, y, None if alone else groups)
    except ValueError:  # too few patients, or too few images of half of them
        return Interval(cka(x, y), np.nan, np.nan)


def _kappa(panel: Panel, keys: list[Key], groups: npt.NDArray[Any] | None) -> Interval:
    first, second = (panel.opinions[name][depth].argmax(1) for name, depth in keys)
    try:
        return agreement(panel.y, first, second, groups).kappa
    except ValueError:  # too few patients
        return Interval(agreement(panel.y, first, second).kappa.value, np.nan, np.nan)


def _named(encoder: str, depth: float) -> str:
    return f"{encoder}@{depth:g}"
