"""Canonical correlations of two representations of the same images: what no invertible linear map changes.

None of them is corrected for few images: of independent noise they are well above 0 where N is not far above D.
"""

from typing import cast

import numpy as np
from scipy.linalg import svdvals

from fusion.similarity.measures import Array, Floats, Ids, TooFewImages, pair

# Features are float32: a direction smaller than this share of the largest one is rounding error.
NOISE = 1e-6


def cca(x: Array, y: Array, *, ids: Ids | None = None) -> float:
    """Mean of all canonical correlations.

    Arguments as in `cka`.

    Raises:
        ValueError: As `cka`, or there are too few rows: with N - 1 below the two ranks together some correlations are 1
            whatever the data.

    Source: Raghu et al. arXiv:1706.05806, section 2; mean over all coefficients as in S3.
    """
    a, b = pair(x, y, ids)
    return float(correlations(basis(a), basis(b)).mean())


def svcca(x: Array, y: Array, *, kept: float = 0.99, ids: Ids | None = None) -> float:
    """`cca` of the fewest principal components of each that hold the share `kept` of its variance.

    Source: Raghu et al. arXiv:1706.05806, section 2.
    """
    if not 0 < kept <= 1:
        raise ValueError(f"kept must be in (0, 1] (got {kept!r}). Try kept=0.99.")
    a, b = pair(x, y, ids)
    return float(correlations(basis(a, kept), basis(b, kept)).mean())


def pwcca(x: Array, y: Array, *, ids: Ids | None = None) -> float:
    """Canonical correlations weighted by how much of the narrower representation each direction accounts for.

    It sees a rotation of the narrower one, since absolute values are summed over its columns.

    Arguments and errors as in `cca`; of two that are equally wide, `x` gives the weights.

    Source: Morcos et al. arXiv:1806.05759, equation 4.
    """
    a, b = pair(x, y, ids)
    if a.shape[1] > b.shape[1]:
        a, b = b, a
    left, right = basis(a), basis(b)
    check_rows(len(a), left.shape[1], right.shape[1])
    turn, found, _ = np.linalg.svd(left.T @ right, full_matrices=False)
    weights = np.abs((left @ turn).T @ a).sum(1)  # directions (N, R) against units (N, D) -> (R,)
    return float(weights @ np.clip(found, 0, 1) / weights.sum())


def basis(values: Floats, kept: float = 1.0) -> Floats:
    """Orthonormal columns (N, R) that span centred `values`, or hold the share `kept` of their variance."""
    left, sizes, _ = np.linalg.svd(values, full_matrices=False)
    shares = np.cumsum(sizes**2) / (sizes**2).sum()
    needed = int(np.searchsorted(shares, kept - 1e-12)) + 1
    return cast(Floats, left[:, : min(int((sizes > NOISE * sizes[0]).sum()), needed)])


def correlations(left: Floats, right: Floats) -> Floats:
    """The canonical correlations of two orthonormal bases (N, R) and (N, R')."""
    check_rows(len(left), left.shape[1], right.shape[1])
    return cast(Floats, np.clip(svdvals(left.T @ right), 0, 1))


def check_rows(rows: int, first: int, second: int) -> None:
    """Refuse fewer rows than the two ranks together."""
    if rows < first + second + 1:
        least = first + second + 1
        raise TooFewImages(
            f"N must be above the ranks of x and y together, {first} and {second} (got {rows}): some correlations are "
            f"1 otherwise. Pass at least {least} images, or use cka or svcca(kept=...).",
            least,
        )
