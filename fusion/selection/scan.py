"""Which encoders, cut where, to fuse: an answer before any training.

One pass gives every depth of every candidate. LogME shortlists depths, probes judge the short list on images that they
have not seen, and sets are judged by the mean of what their probes say of such images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import zoo
from fusion.data import folds as folds_
from fusion.data import labels as labels_
from fusion.evaluation.agreement import agreement
from fusion.evaluation.intervals import Interval
from fusion.evaluation.metrics import auc_of
from fusion.features import extract
from fusion.heads.probe import Folds
from fusion.heads.solved import Floats, Ints
from fusion.selection import recommendation
from fusion.selection.recommendation import Bench, Recommendation, nested, stability
from fusion.selection.scores import h_score, knn, logme
from fusion.similarity.interval import interval
from fusion.similarity.measures import cka

EMBEDDED = ("mocov2-mini", "mae-mini")
SHORT = 3  # depths of an encoder that are probed
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
        auc: Of a probe, nested cross-validated; None where LogME did not shortlist the depth.
    """

    encoder: str
    depth: float
    logme: float
    h_score: float
    knn: float
    auc: float | None


@dataclass(frozen=True)
class Pair:
    """Two encoders at their recommended depths.

    Attributes:
        names: `encoder@depth` of both.
        auc: Of the mean of their probes' log-probabilities, on images that these have not seen.
        gain: What that is above the better one alone.
        cka: Debiased, between their features.
        kappa: How much more often than by chance they are right and wrong together, 1 being always.

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
        auc: Of the mean of their probes' log-probabilities, on images that these have not seen: `head="mean"`.
        depths: The recommended depth of each encoder.
        concat: AUC of one probe on the features of all encoders at their full depth, the baseline.
        pairs: By the AUC of both together, best first: it is measured, not foretold from likeness, which stands beside.
        folds: Of the cross-validation.
        stability: In what share of draws of groups the same depth of each encoder, and the same set ("set"), was
            recommended; the short list stays as it is.
    """

    levels: list[Level]
    recommended: list[str]
    auc: float
    depths: dict[str, float]
    concat: float
    pairs: list[Pair]
    folds: int
    stability: dict[str, float]


def scan(
    encoders: Sequence[str | zoo.Encoder],
    images: Any,
    labels: Any,
    groups: Any = None,
    *,
    folds: int = 5,
    device: str = "auto",
) -> Scan:
    """Judge every depth of every encoder, and which to fuse, on labelled images, without training an encoder.

    Args:
        encoders: Names, or encoders; a name with `@depth` is scanned up to there, one without as a whole. Each sees
            images in its own size, as it would in a fusion.
        images: As `FusionClassifier.fit` takes them.
        labels: (N,) labels, three of each class at least.
        groups: (N,) patients; no fold holds a part of one, and draws are of whole ones.
        folds: Of the cross-validation, 3 at least: one judges, and others choose the penalties.
        device: `auto` takes the GPU where there is one.

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
    images = zoo.listed(images)
    known = labels_.read(labels, len(images))
    if known.multilabel:
        raise ValueError("labels must be one per image to select (got several). Scan for each label by itself.")
    members = folds_.members(groups, len(images), images)
    split = _split(known, members, folds)
    loaded = extract.loaded(_whole(encoders), device)
    names = [_name(encoder) for encoder in loaded]
    if len(set(names)) < len(names):
        raise ValueError(f"encoders must be given once each (got {[e.name for e in loaded]}). Leave depths out.")
    blocks = {name: extract.levels(encoder, images) for name, encoder in zip(names, loaded, strict=True)}
    depths = {name: encoder.depths for name, encoder in zip(names, loaded, strict=True)}
    return _judged(blocks, depths, known.numbers, members, split)


def _whole(encoders: Sequence[str | zoo.Encoder]) -> list[str | zoo.Encoder]:
    if isinstance(encoders, str) or not len(encoders):
        raise ValueError(f"encoders must be a list of names or encoders (got {encoders!r}). Try ['mae-mini'].")
    return [encoder if isinstance(encoder, zoo.Encoder) or "@" in encoder else f"{encoder}@1" for encoder in encoders]


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
    recommendation.check(known.numbers, split)
    return split


def _name(encoder: zoo.Encoder) -> str:
    """Its own, not its card's: what no name loads must not be recommended by one that loads something else."""
    tuned = encoder.report is not None and encoder.report.verified == "fine-tuned"
    return encoder.name.replace(f"@{encoder.depth:g}", "") + (", fine-tuned" if tuned else "")


def _judged(
    blocks: dict[str, list[extract.Floats]],
    depths: dict[str, tuple[float, ...]],
    y: Ints,
    groups: npt.NDArray[Any] | None,
    split: Folds,
) -> Scan:
    opinions: dict[str, dict[float, Floats]] = {}
    levels = []
    near = min(NEIGHBOURS, *(len(train) for train, _ in split))
    for name, found in blocks.items():
        scores = [logme(x, y) for x in found]
        short = set(np.argsort(scores)[::-1][:SHORT].tolist())
        opinions[name] = {depths[name][i]: nested(found[i], y, split) for i in sorted(short)}
        for i, (depth, x) in enumerate(zip(depths[name], found, strict=True)):
            auc = auc_of(y, opinions[name][depth]) if i in short else None
            levels.append(Level(name, depth, scores[i], h_score(x, y), knn(x, y, split, neighbours=near), auc))
    bench = Bench(opinions, y)
    best = bench.recommend(np.ones(len(y)))
    chosen = {name: blocks[name][depths[name].index(depth)] for name, depth in best.depths.items()}
    return Scan(
        levels=levels,
        recommended=[_named(name, best.depths[name]) for name in best.names],
        auc=best.auc,
        depths=best.depths,
        concat=auc_of(y, nested(np.concatenate([found[-1] for found in blocks.values()], axis=1), y, split)),
        pairs=_pairs(chosen, best, bench, groups),
        folds=len(split),
        stability=stability(bench, best, groups),
    )


def _pairs(
    chosen: dict[str, extract.Floats], best: Recommendation, bench: Bench, groups: npt.NDArray[Any] | None
) -> list[Pair]:
    names, even = list(chosen), np.ones(len(bench.y))
    found = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            keys = [(name, best.depths[name]) for name in (first, second)]
            alone = [bench.auc([key], even) for key in keys]
            together = bench.auc(keys, even)
            found.append(
                Pair(
                    names=(_named(*keys[0]), _named(*keys[1])),
                    auc=together,
                    gain=together - max(alone),
                    cka=_likeness(chosen[first], chosen[second], groups),
                    kappa=_kappa(bench, keys, groups),
                )
            )
    return sorted(found, key=lambda pair: -pair.auc)


def _likeness(x: extract.Floats, y: extract.Floats, groups: npt.NDArray[Any] | None) -> Interval:
    try:
        return interval(cka, x, y, groups)
    except ValueError:  # too few patients, or too few images of half of them
        return Interval(cka(x, y), np.nan, np.nan)


def _kappa(bench: Bench, keys: list[tuple[str, float]], groups: npt.NDArray[Any] | None) -> Interval:
    first, second = (bench.opinions[name][depth].argmax(1) for name, depth in keys)
    try:
        return agreement(bench.y, first, second, groups).kappa
    except ValueError:  # too few patients
        return Interval(agreement(bench.y, first, second).kappa.value, np.nan, np.nan)


def _named(encoder: str, depth: float) -> str:
    return f"{encoder}@{depth:g}"
