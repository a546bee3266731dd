"""How alike two representations of the same images are: pure functions of two arrays (N, D) and (N, D').

Each but `procrustes`, a distance, is 1 for representations that differ only by what it does not see:

| measure | does not see |
|---|---|
| `cka`, `minibatch_cka`, `rbf_cka`, `procrustes` | rotation, scale, shift |
| `cca`, `svcca`, `pwcca` of `fusion.similarity.canonical` | invertible linear maps |
| `rsa` | whatever keeps the order of the distances between images |
| `knn_overlap` | whatever keeps the nearest neighbours |

All compute in float64. Where N is small beside D, noise looks alike to a measure that is not corrected for it: `cka` is
corrected; the biased `cka`, `procrustes` and the canonical ones are not.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from scipy.linalg import svdvals
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

Floats = npt.NDArray[np.float64]
Array = npt.ArrayLike
Ids = tuple[Sequence[Any], Sequence[Any]]

T = TypeVar("T", float, Floats)

LEAST = 4  # rows: the unbiased estimator divides by N - 3


class TooFewImages(ValueError):  # noqa: N818 - named for what is wrong
    """There are fewer images than the `least` that a measure needs."""

    def __init__(self, text: str, least: int) -> None:
        super().__init__(text)
        self.least = least


def cka(x: Array, y: Array, *, debiased: bool = True, ids: Ids | None = None) -> float:
    """Linear centred kernel alignment.

    Args:
        x: (N, D), a row per image, N >= 4.
        y: (N, D'), rows of the same images.
        debiased: By the unbiased estimator of HSIC: about 0 for independent representations, below 0 by chance.
            The biased one nears 1 where N is small beside D.
        ids: What the rows of `x` and those of `y` are; compared, where given.

    Raises:
        ValueError: Rows differ in number or by `ids`, are fewer than 4, not finite, or all the same.

    Source: Kornblith et al. arXiv:1905.00414; unbiased HSIC: Song et al. 2012 (JMLR 13), equation 5.
    """
    a, b = pair(x, y, ids)
    if len(a) < a.shape[1] + b.shape[1]:
        return _ratio(partial(hsic, debiased=debiased), a @ a.T, b @ b.T)
    return _ratio(partial(_hsic_of_columns, debiased=debiased), a, b)


def rbf_cka(x: Array, y: Array, *, debiased: bool = True, bandwidth: float = 1.0, ids: Ids | None = None) -> float:
    """CKA with Gaussian kernels, each as wide as `bandwidth` times its median distance between images.

    Other arguments and errors as in `cka`.

    Source: Kornblith et al. arXiv:1905.00414, section 3.
    """
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be positive (got {bandwidth!r}). Try bandwidth=1.0.")
    first, second = (_gaussian(values, bandwidth) for values in pair(x, y, ids))
    return _ratio(partial(hsic, debiased=debiased), first, second)


def minibatch_cka(x: Array, y: Array, *, batch: int, debiased: bool = True, ids: Ids | None = None) -> float:
    """Linear CKA from batches of rows in their order: each HSIC is averaged over batches, then they are divided.

    Args:
        x: As in `cka`.
        y: As in `cka`.
        batch: Rows at a time, at least 4; a last batch of fewer than 4 is left out.
        debiased: As in `cka`.
        ids: As in `cka`.

    Source: Nguyen et al. arXiv:2010.15327, equations 2 and 3 (the last term is 2 / (n - 2); S2 prints 2 / (n - 1)).
    """
    if batch < LEAST:
        raise ValueError(f"batch must be at least {LEAST} (got {batch!r}). Try batch=64.")
    a, b = pair(x, y, ids)
    starts = range(0, len(a) - LEAST + 1, batch)
    grams = ((gram(a[start : start + batch]), gram(b[start : start + batch])) for start in starts)
    terms = [_three(partial(hsic, debiased=debiased), first, second) for first, second in grams]
    return aligned(*np.mean(terms, axis=0))


def hsic(first: Floats, second: Floats, *, debiased: bool = True) -> float:
    """Hilbert-Schmidt independence criterion of two Gram matrices (N, N), by its unbiased estimator or the biased one.

    Source: Song et al. 2012 (JMLR 13), equation 5; Gretton et al. 2005 (ALT), definition 3.
    """
    n = len(first)
    if not debiased:
        return float((_centred(first) * _centred(second)).sum() / (n - 1) ** 2)
    k, m = _hollow(first), _hollow(second)
    inner = (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ m.sum(0))
    return float(inner / (n * (n - 3)))


def hsic_of_sums(n: int, cross: T, lengths: tuple[T, T, T], *, debiased: bool = True) -> T:
    """Compute `hsic` from sums over N rows of centred columns, without any N x N matrix.

    A row of the hollow Gram matrix then sums to minus the squared length of the feature's row.

    Args:
        n: Rows.
        cross: Sum of the squared entries of x^T y; or of several pairs, as arrays of any one shape.
        lengths: Sums over rows of |x|^2, of |y|^2 and of their product.
        debiased: As in `hsic`.
    """
    if not debiased:
        return cross / (n - 1) ** 2
    first, second, both = lengths
    return (cross - n / (n - 2) * both + first * second / ((n - 1) * (n - 2))) / (n * (n - 3))


def procrustes(x: Array, y: Array, *, ids: Ids | None = None) -> float:
    """The angle in [0, pi / 2] between the two after the best rotation: a metric, 0 for the same.

    Arguments and errors as in `cka`.

    Source: Williams et al. arXiv:2110.14739, equation 4 with alpha = 1.
    """
    a, b = (_narrow(values) for values in pair(x, y, ids))
    cosine = svdvals(a.T @ b).sum() / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.arccos(np.clip(cosine, 0, 1)))


def rsa(x: Array, y: Array, *, ids: Ids | None = None) -> float:
    """Spearman correlation of the Euclidean distances between images, over all pairs of them.

    Source: Kriegeskorte et al. 2008 (Frontiers in Systems Neuroscience 2:4).
    """
    a, b = pair(x, y, ids)
    return float(spearmanr(_distances(a), _distances(b)).statistic)


def knn_overlap(x: Array, y: Array, *, neighbours: int = 10, ids: Ids | None = None) -> float:
    """Share of an image's nearest others, by Euclidean distance, that are the same in both.

    By chance it is `neighbours` / (N - 1).

    Source: Huh et al. arXiv:2405.07987, appendix A.
    """
    a, b = pair(x, y, ids)
    if not 0 < neighbours < len(a) - 1:
        raise TooFewImages(
            f"neighbours must be from 1 to N - 2, {len(a) - 2} (got {neighbours!r}). "
            f"Lower it, or pass at least {neighbours + 2} images.",
            max(neighbours + 2, LEAST),
        )
    both = [_nearest(values, neighbours) for values in (a, b)]
    return float((both[0] & both[1]).sum() / (neighbours * len(a)))


def pair(x: Array, y: Array, ids: Ids | None = None) -> tuple[Floats, Floats]:
    """Return both checked, in float64, columns centred, scaled to at most 1: no measure here sees shift or scale.

    Raises:
        ValueError: As in `cka`.
    """
    if ids is not None:
        check_ids(*ids)
    a, b = _checked("x", x), _checked("y", y)
    if len(a) != len(b):
        raise ValueError(f"x and y must have a row for each image (got {len(a)} and {len(b)}). Pass ids to see which.")
    if ids is not None and len(ids[0]) != len(a):
        raise ValueError(f"ids must be as many as rows (got {len(ids[0])} for {len(a)}). Give one per row.")
    return a, b


def check_ids(first: Sequence[Any], second: Sequence[Any]) -> None:
    """Refuse rows that are not of the same images in the same order."""
    a, b = list(map(str, first)), list(map(str, second))
    if a == b:
        return
    row = next((i for i, (u, v) in enumerate(zip(a, b, strict=False)) if u != v), min(len(a), len(b)))
    said = "the same in another order" if sorted(a) == sorted(b) else f"{len(set(a) ^ set(b))} are in one only"
    raise ValueError(f"ids must be the same in x and y, row by row ({said}, first in row {row}). Bring both in order.")


def aligned(cross: float, first: float, second: float) -> float:
    """CKA of three HSIC: of both, of the first with itself, of the second with itself."""
    if not min(first, second) > 0:
        raise ValueError("images must differ in both x and y (got HSIC 0 of one with itself). Pass more, or others.")
    return float(cross / np.sqrt(first * second))


def _three(criterion: Callable[[Floats, Floats], float], a: Floats, b: Floats) -> tuple[float, float, float]:
    return criterion(a, b), criterion(a, a), criterion(b, b)


def _ratio(criterion: Callable[[Floats, Floats], float], a: Floats, b: Floats) -> float:
    return aligned(*_three(criterion, a, b))


def _hsic_of_columns(x: Floats, y: Floats, *, debiased: bool) -> float:
    first, second = (x**2).sum(1), (y**2).sum(1)
    lengths = float(first.sum()), float(second.sum()), float(first @ second)
    return hsic_of_sums(len(x), float(((x.T @ y) ** 2).sum()), lengths, debiased=debiased)


def gram(values: npt.NDArray[Any]) -> Floats:
    """(N, D) -> (N, N), of rows centred together: what is left after large means cancel keeps its digits."""
    centred = values - values.mean(0)
    return cast(Floats, centred @ centred.T)


def _checked(name: str, values: Array) -> Floats:
    found = np.asarray(values, np.float64)
    if found.ndim != 2 or len(found) < LEAST:
        raise TooFewImages(f"{name} must be (N, D) with N >= {LEAST} (got {found.shape}). Pass more images.", LEAST)
    if not np.isfinite(found).all():
        rows = np.flatnonzero(~np.isfinite(found).all(1))[:5].tolist()
        raise ValueError(f"{name} must be finite (got NaN or infinity in rows {rows}). Leave those images out.")
    centred = found - found.mean(0)
    largest = np.abs(centred).max(initial=0.0)
    if largest <= 1e-12 * np.abs(found).max(initial=0.0):
        raise ValueError(f"{name} must differ between images (got the same row in all). Check the images.")
    return cast(Floats, centred / largest)


def _hollow(matrix: Floats) -> Floats:
    hollow = matrix.copy()
    np.fill_diagonal(hollow, 0)
    return hollow


def _centred(matrix: Floats) -> Floats:
    rows = matrix.mean(0)
    return cast(Floats, matrix - rows - rows[:, None] + rows.mean())


def _distances(values: Floats) -> Floats:
    """Between all images; where they are all equal, there is nothing to be alike in."""
    found = pdist(values)
    if np.ptp(found) <= 1e-12 * found.max():
        raise ValueError("distances between images must differ (got one and the same). Pass more images, or others.")
    return cast(Floats, found)


def _gaussian(values: Floats, bandwidth: float) -> Floats:
    distances = _distances(values)
    width = bandwidth * (np.median(distances) or distances.mean())
    return cast(Floats, np.exp(-(squareform(distances / width) ** 2) / 2))


def _narrow(values: Floats) -> Floats:
    """The same up to a rotation, no wider than N."""
    if values.shape[1] <= len(values):
        return values
    left, sizes, _ = np.linalg.svd(values, full_matrices=False)
    return cast(Floats, left * sizes)


def _nearest(values: Floats, count: int) -> npt.NDArray[np.bool_]:
    distances = squareform(pdist(values))
    np.fill_diagonal(distances, np.inf)
    found = np.zeros(distances.shape, bool)
    np.put_along_axis(found, np.argsort(distances, axis=1, kind="stable")[:, :count], values=True, axis=1)
    return found
