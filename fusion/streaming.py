"""Similarity of all pairs of layers from one pass: batches of two lists of arrays in, a matrix (L, L') out."""

from collections.abc import Iterable
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
from scipy.linalg import svdvals

from fusion.canonical import NOISE, check_rows
from fusion.similarity import LEAST, gram, hsic, hsic_of_sums
from fusion.spool import Spool

Floats = npt.NDArray[np.float64]
Levels = list[npt.NDArray[np.float32]]
Batch = tuple[Levels, Levels]

_ROWS = 1024  # at a time: few enough to hold every layer of two ResNet-50 in float64


def pooled(batches: Iterable[Batch], measure: str) -> Floats:
    """`cka`, `biased-cka` or `cca` of features (N, D_l): equal to those of `fusion.similarity` for any batch size.

    Args:
        batches: For each batch the layers of the one and of the other, (n, D_l) each.
        measure: Which of the three.

    Raises:
        ValueError: Features are not finite, a layer is the same for all images, or there are too few for `cca`.
    """
    with ExitStack() as stack:
        first, second = _spooled(batches, stack)
        if measure == "cca":
            return _cca(first, second)
        return _cka(first, second, debiased=measure == "cka")


def minibatch(batches: Iterable[Batch]) -> Floats:
    """Minibatch CKA of any features (n, ...), flattened: equal to `fusion.minibatch_cka` of the same batches in order.

    Args:
        batches: As in `pooled`; a batch of fewer than 4 is left out.

    Source: Nguyen et al. arXiv:2010.15327, equations 2 and 3.
    """
    sums, count = None, 0
    for first, second in batches:
        if len(first[0]) >= LEAST:
            terms = _terms([_gram(level) for level in first], [_gram(level) for level in second])
            sums = terms if sums is None else [a + b for a, b in zip(sums, terms, strict=True)]
            count += 1
    if sums is None:
        raise ValueError(f"a batch must hold at least {LEAST} images (got none that does). Pass more.")
    cross, left, right = (term / count for term in sums)
    return _ratios(cross, left, right)


def _spooled(batches: Iterable[Batch], stack: ExitStack) -> tuple[Spool, Spool]:
    spools: tuple[Spool, ...] = ()
    for batch in batches:
        spools = spools or tuple(Spool([level.shape[1] for level in levels], stack) for levels in batch)
        for spool, levels in zip(spools, batch, strict=True):
            spool.add(levels)
    return spools[0], spools[1]


def _cka(first: Spool, second: Spool, *, debiased: bool) -> Floats:
    a, b = _totals(first), _totals(second)
    cross = np.array([_squares(first, layer, second) for layer in range(len(first.widths))])
    return _ratios(
        hsic_of_sums(first.rows, cross, (a[:, None], b[None, :], _lengths(first, second)), debiased=debiased),
        *(_own(spool, total, debiased) for spool, total in ((first, a), (second, b))),
    )


def _own(spool: Spool, total: Floats, debiased: bool) -> Floats:
    """HSIC of each layer with itself."""
    squares = np.array([(_covariance(spool, layer) ** 2).sum() for layer in range(len(spool.widths))])
    return hsic_of_sums(spool.rows, squares, (total, total, np.diagonal(_lengths(spool, spool))), debiased=debiased)


def _ratios(cross: Floats, left: Floats, right: Floats) -> Floats:
    for side, terms in (("first", left), ("second", right)):
        if not terms.min() > 0:
            place = int(terms.argmin()) + 1
            raise ValueError(
                f"images must differ in every block (all alike in block {place} of the {side}). Check them."
            )
    return cross / np.sqrt(left[:, None] * right)


def _lengths(first: Spool, second: Spool) -> Floats:
    """Sums over rows of |x|^2 |y|^2, (L, L')."""
    total = np.zeros((len(first.widths), len(second.widths)))
    for xs, ys in zip(first.rows_of_all(_ROWS), second.rows_of_all(_ROWS), strict=True):
        total += np.array([(x**2).sum(1) for x in xs]) @ np.array([(y**2).sum(1) for y in ys]).T
    return total


def _totals(spool: Spool) -> Floats:
    return sum(np.array([(x**2).sum() for x in xs]) for xs in spool.rows_of_all(_ROWS))  # type: ignore[return-value]


def _cross(first: Spool, layer: int, second: Spool) -> Floats:
    """x^T y of one layer with all of the other, side by side: (D, D'_1 + D'_2 + ...)."""
    total = np.zeros((first.widths[layer], sum(second.widths)))
    for x, ys in zip(first.chunks(layer, _ROWS), second.rows_of_all(_ROWS), strict=True):
        total += x.T @ np.hstack(ys)
    return total


def _squares(first: Spool, layer: int, second: Spool) -> Floats:
    starts = np.cumsum([0, *second.widths[:-1]])
    return np.add.reduceat((_cross(first, layer, second) ** 2).sum(0), starts)


def _covariance(spool: Spool, layer: int) -> Floats:
    total = np.zeros((spool.widths[layer],) * 2)
    for x in spool.chunks(layer, _ROWS):
        total += x.T @ x
    return total


def _cca(first: Spool, second: Spool) -> Floats:
    left, right = ([_whitening(spool, layer) for layer in range(len(spool.widths))] for spool in (first, second))
    values = np.zeros((len(left), len(right)))
    for i, a in enumerate(left):
        parts = np.split(_cross(first, i, second), np.cumsum(second.widths)[:-1], axis=1)
        for j, (part, b) in enumerate(zip(parts, right, strict=True)):
            check_rows(first.rows, a.shape[1], b.shape[1])
            values[i, j] = np.clip(svdvals(a.T @ part @ b), 0, 1).mean()
    return values


def _whitening(spool: Spool, layer: int) -> Floats:
    """(D, R): what turns the layer into orthonormal columns, without the directions that are rounding error."""
    sizes, directions = np.linalg.eigh(_covariance(spool, layer))
    if not sizes[-1] > 0:
        raise ValueError(f"images must differ in every block (all alike in block {layer + 1}). Check them.")
    kept = sizes > NOISE**2 * sizes[-1]
    return np.asarray(directions[:, kept] / np.sqrt(sizes[kept]))


def _gram(level: npt.NDArray[np.float32]) -> Floats:
    return gram(level.reshape(len(level), -1)).astype(np.float64)


def _terms(first: list[Floats], second: list[Floats]) -> list[Floats]:
    """The three HSIC of one batch: of all pairs (L, L'), of the one's layers (L,), of the other's (L',)."""
    cross = np.array([[hsic(k, m) for m in second] for k in first])
    return [cross, *(np.array([hsic(k, k) for k in side]) for side in (first, second))]
