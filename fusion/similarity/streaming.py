"""Similarity of all pairs of layers from one pass: batches of two lists of arrays in, a matrix (L, L') out."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.linalg import svdvals

from fusion.features.scratch import Spool, check_finite
from fusion.similarity.canonical import NOISE, check_rows
from fusion.similarity.measures import LEAST, gram, hsic, hsic_of_sums

Floats = npt.NDArray[np.float64]
Levels = list[npt.NDArray[np.float32]]
Sides = tuple[Levels, Levels]
# Of all layers of both sides, M = L + L': the squared entries of x^T y (M, M), and over rows |x|^2 (M,) and |x|^2 |y|^2
# (M, M), each summed up.
Sums = tuple[Floats, Floats, Floats]

_ROWS = 1024  # at a time: few enough to hold every layer of two ResNet-50 in float64
_TILE = 256  # the same for a part of their Gram matrices


def pooled(batches: Iterable[Sides], measure: str) -> Floats:
    """`cka`, `biased-cka` or `cca` of features (N, D_l): equal to those of `measures` for any batch size.

    Args:
        batches: For each batch the layers of the one and of the other, (n, D_l) each.
        measure: Which of the three.

    Raises:
        ValueError: Features are not finite, a layer is the same for all images, or there are too few for `cca`.
    """
    with ExitStack() as stack:
        first, second = _spooled(batches, stack)
        return _POOLED[measure](first, second)


def minibatch(first: Iterable[Levels], second: Iterable[Levels]) -> Floats:
    """Minibatch CKA of any features (n, ...), flattened: equal to `fusion.minibatch_cka` of the same batches in order.

    Args:
        first: For each batch the layers of the one; a batch of fewer than 4 is left out.
        second: Of the other, of the same images.

    Raises:
        ValueError: Features are not finite, no batch holds 4 images, or a layer is the same for all images of each.

    Source: Nguyen et al. arXiv:2010.15327, equations 2 and 3.
    """
    terms = [_terms(a, b) for a, b in zip(_grams(first), _grams(second), strict=True) if len(a[0]) >= LEAST]
    if not terms:
        raise ValueError(f"a batch must hold at least {LEAST} images (got none that does). Pass more.")
    cross, left, right = (np.mean(term, axis=0) for term in zip(*terms, strict=True))
    return _ratios(cross, left, right)


def _spooled(batches: Iterable[Sides], stack: ExitStack) -> tuple[Spool, Spool]:
    spools: tuple[Spool, ...] = ()
    for batch in batches:
        spools = spools or tuple(Spool([level.shape[1] for level in levels], stack) for levels in batch)
        for spool, levels in zip(spools, batch, strict=True):
            spool.add(levels)
    return spools[0], spools[1]


def _cka(first: Spool, second: Spool, *, debiased: bool) -> Floats:
    few = first.rows < min(sum(first.widths), sum(second.widths))
    squares, lengths, products = (_sums_of_grams if few else _sums_of_columns)(first, second)
    terms = hsic_of_sums(first.rows, squares, (lengths[:, None], lengths, products), debiased=debiased)
    split, own = len(first.widths), terms.diagonal()
    return _ratios(terms[:split, split:], own[:split], own[split:])


def _sums_of_grams(first: Spool, second: Spool) -> Sums:
    """The squares are the inner products of Gram matrices, of tiles at a time: sooner where images are few."""
    layers = _layers(first, second)
    squares, lengths, products = _empty(len(layers))
    for top, left in itertools.combinations_with_replacement(range(0, first.rows, _TILE), 2):
        height, width = (min(_TILE, first.rows - start) for start in (top, left))
        tiles = np.empty((len(layers), height, width))
        for (spool, layer), tile in zip(layers, tiles, strict=True):
            np.matmul(spool.take(layer, top, _TILE), spool.take(layer, left, _TILE).T, out=tile)
        flat = tiles.reshape(len(layers), -1)
        squares += (1 if top == left else 2) * (flat @ flat.T)  # Gram matrices are symmetric
        if top == left:
            own = tiles.diagonal(axis1=1, axis2=2)
            lengths += own.sum(1)
            products += own @ own.T
    return squares, lengths, products


def _sums_of_columns(first: Spool, second: Spool) -> Sums:
    """The squares of two layers of one side are not needed: NaN."""
    layers = _layers(first, second)
    squares, lengths, products = _empty(len(layers))
    squares[:] = np.nan
    np.fill_diagonal(squares, [(_covariance(spool, layer) ** 2).sum() for spool, layer in layers])
    starts = np.cumsum([0, *second.widths[:-1]])
    for layer in range(len(first.widths)):
        cross = _cross(first, layer, second)
        squares[layer, len(first.widths) :] = np.add.reduceat(np.einsum("ij,ij->j", cross, cross), starts)
    for start in range(0, first.rows, _ROWS):
        own = np.array([(spool.take(layer, start, _ROWS) ** 2).sum(1) for spool, layer in layers])
        lengths += own.sum(1)
        products += own @ own.T
    return squares, lengths, products


def _ratios(cross: Floats, left: Floats, right: Floats) -> Floats:
    for side, terms in (("first", left), ("second", right)):
        if not terms.min() > 0:
            place = int(terms.argmin()) + 1
            raise ValueError(
                f"images must differ in every block (all alike in block {place} of the {side}). Check them."
            )
    return cross / np.sqrt(left[:, None] * right)


def _empty(count: int) -> Sums:
    return np.zeros((count, count)), np.zeros(count), np.zeros((count, count))


def _layers(first: Spool, second: Spool) -> list[tuple[Spool, int]]:
    return [(spool, layer) for spool in (first, second) for layer in range(len(spool.widths))]


def _cross(first: Spool, layer: int, second: Spool) -> Floats:
    """x^T y of one layer with all of the other, side by side: (D, D'_1 + D'_2 + ...)."""
    total = np.zeros((first.widths[layer], sum(second.widths)))
    for x, ys in zip(first.chunks(layer, _ROWS), second.rows_of_all(_ROWS), strict=True):
        total += x.T @ np.hstack(ys)
    return total


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


def _grams(batches: Iterable[Levels]) -> Iterator[list[Floats]]:
    rows = 0
    for levels in batches:
        check_finite(levels, rows)
        rows += len(levels[0])
        found = [gram(level.reshape(len(level), -1)).astype(np.float64) for level in levels]
        del levels  # else these maps are held while those of the other side are made
        yield found


def _terms(first: list[Floats], second: list[Floats]) -> tuple[Floats, Floats, Floats]:
    """HSIC of one batch: of all pairs (L, L'), and of each with itself, (L,) and (L',)."""
    cross = np.array([[hsic(k, m) for m in second] for k in first])
    left, right = (np.array([hsic(k, k) for k in side]) for side in (first, second))
    return cross, left, right


_POOLED: dict[str, Callable[[Spool, Spool], Floats]] = {
    "cka": partial(_cka, debiased=True),
    "biased-cka": partial(_cka, debiased=False),
    "cca": _cca,
}
