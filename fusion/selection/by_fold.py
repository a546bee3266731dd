"""AUC of answers from several fits: fold by fold, then the mean.

Each fold is answered by a probe of its own, with its own scale and its own share of the classes. To rank images of one
fold against those of another mixes these with what the probes know: pooled, one bad offset hides four good probes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.evaluation.metrics import Figure
from fusion.heads.probe import Folds
from fusion.heads.solved import Floats, Ints


def places(folds: Folds, count: int) -> Ints:
    """(N,) the number of the fold that holds each image out."""
    found = np.zeros(count, np.int64)
    for i, (_, test) in enumerate(folds):
        found[test] = i
    return found


def areas(y: Ints, scores: Floats, fold: Ints) -> Callable[[Floats], Floats]:
    """AUC in each fold: one class against the rest, mean over the classes that the fold has images of both sides of.

    Args:
        y: (N,) class numbers.
        scores: (N, K), higher for what is likelier; ties count half.
        fold: (N,) numbers from 0.

    Returns:
        From weights (N,) of images to AUCs (F,), each in [0, 1]; NaN where a fold has one class, or no weight.
    """
    columns = [_column(y == k, scores[:, k], fold) for k in range(scores.shape[1])]
    return lambda weights: _mean(np.stack([column(weights) for column in columns]))


def auc(y: Ints, scores: Floats, fold: Ints) -> Figure:
    """The mean of `areas` over the folds that have one; where none has, as if each is one patient, all are pooled."""
    each = areas(y, scores, fold)

    def figure(weights: Floats) -> float:
        found = _mean(each(weights)[:, None])
        return float((areas(y, scores, np.zeros_like(fold))(weights) if np.isnan(found) else found)[0])

    return figure


def spread(areas: Floats) -> float:
    """Standard error of the mean of AUCs (F,) over those folds that have one; NaN of fewer than two.

    Folds share most of the images that their probes learn from, so that they differ less than data sets would: the
    variance between them counts 1 / F for the mean and, for what they share, once more by the size of a fold over that
    of the others. Source: Nadeau and Bengio 2003 (Machine Learning 52), section 5, corrected resampled t-test.
    """
    found = areas[np.isfinite(areas)]
    return float(found.std(ddof=1) * np.sqrt(1 / len(found) + 1 / (len(areas) - 1))) if len(found) > 1 else np.nan


def _mean(cells: Floats) -> Floats:
    """(R, F) -> (F,), over what is not NaN."""
    known = np.isfinite(cells)
    count = known.sum(0)
    return _share(np.where(known, cells, 0).sum(0), count)


def _share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Floats:
    """NaN of nothing."""
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))


def _column(positive: npt.NDArray[np.bool_], values: Floats, fold: Ints) -> Callable[[Floats], Floats]:
    """One class against the rest: from weights (N,) to (F,); sorted once for all weights and folds."""
    count, order = int(fold.max()) + 1, np.lexsort((values, fold))
    positive, values, fold = positive[order], values[order], fold[order]
    starts = np.flatnonzero(np.r_[True, (values[1:] != values[:-1]) | (fold[1:] != fold[:-1])])
    owner = fold[starts]

    def area(weights: Floats) -> Floats:
        weights = weights[order]
        won, all_ = np.add.reduceat(weights * positive, starts), np.add.reduceat(weights, starts)
        lost = all_ - won
        wins, losses = (np.bincount(owner, side, count) for side in (won, lost))
        below = np.cumsum(lost) - lost - (np.cumsum(losses) - losses)[owner]  # in the same fold
        return _share(np.bincount(owner, won * (below + lost / 2), count), wins * losses)

    return area
