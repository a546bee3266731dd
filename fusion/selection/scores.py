"""How well would frozen features separate these classes, without training?

Three pure functions of features (N, D) and labels: higher is better, on the same images and labels only.

| measure | answers | does not see |
|---|---|---|
| `logme` | how likely the labels are under the best Gaussian linear model, per image | rotation, scale |
| `h_score` | how much of the spread of features lies between classes, at most K - 1 | rotation, scale, shift |
| `knn` | out-of-fold AUC of the nearest neighbours | scale and shift of each feature |

All compute in float64. Labels are (N,) of any kind, or (N, K) 0 and 1 where an image may have several.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fusion.data import labels
from fusion.data.labels import Targets
from fusion.evaluation import metrics
from fusion.heads.probe import Folds

Floats = npt.NDArray[np.float64]
Array = npt.ArrayLike

LEAST = 2  # images of a class
# Features are float32: a direction smaller than this share of the largest one is rounding error.
_NOISE = 1e-6
# Of the search for the best alpha / beta: about three starts per power of ten, and when steps no longer matter.
_STARTS, _STEPS, _SETTLED, _TINY = 64, 1000, 1e-6, 1e-200


def logme(x: Array, y: Array) -> float:
    """Log maximum evidence per image: labels as 0 and 1, one class against the rest, mean over classes or labels.

    The weights have the prior N(0, 1 / alpha), the noise has the variance 1 / beta, and both are chosen to make the
    labels most likely; of several such maxima the highest counts. As in the paper there is no intercept and no
    centring, so an offset common to all images counts. Where a linear map fits the labels exactly the evidence has no
    bound; the noise then is taken to be a millionth of the largest direction: a high but finite value.

    Args:
        x: (N, D) features, any finite range.
        y: (N,) labels, two images of each at least; or (N, K) 0 and 1, two images with and without each label.

    Returns:
        A number without a fixed range: to be compared for the same labels only.

    Raises:
        ValueError: x is not (N, D), not finite or the same for all images, lengths differ, there is one class only,
            or a class has one image.

    Source: You et al. arXiv:2102.11005, algorithm 1; by the fixed-point iteration of You et al. arXiv:2110.10545.
    """
    found, read = _checked(x, y)
    sides = _sides(read)
    energies, shares = _modes(found, sides)
    # What no direction of x can explain; rounding may leave it just below 0.
    missed = np.maximum(sides.sum(0) - (shares**2).sum(0), 0)
    return float(_Evidence(energies[:, None], shares**2, missed, len(found)).maximum().mean())


def h_score(x: Array, y: Array) -> float:
    """Trace of the inverse covariance of features times the covariance of class means, shrunk by Ledoit and Wolf.

    tr((1 - a) B ((1 - a) S + a m I)^-1) with S the covariance, m its mean eigenvalue, B the covariance of the class
    means over images, all divided by N, and a the shrinkage. Of several labels it is the mean over labels, present
    against absent.

    Args:
        x: (N, D) features, any finite range.
        y: As in `logme`.

    Returns:
        From 0, class means that are all the same, to K - 1; of several labels, to 1.

    Raises:
        ValueError: As `logme`.

    Source: Bao et al. 2019 (ICIP), the H-score; Ibrahim et al. arXiv:2110.06893, its shrinkage.
    """
    found, read = _checked(x, y)
    sides, shrinkage = _sides(read), ledoit_wolf_shrinkage(found)
    energies, shares = _modes(found - found.mean(0), sides)
    # In the principal axes both the covariance and what is added to it are diagonal: no D x D matrix is inverted.
    shrunk = (1 - shrinkage) * energies + shrinkage * energies.sum() / found.shape[1]
    between = energies * (shares**2 @ _weights(sides, read.multilabel))
    return float((1 - shrinkage) * (between / shrunk).sum())


def knn(x: Array, y: Array, folds: Folds, *, neighbours: int = 10) -> float:
    """Out-of-fold AUC of the nearest neighbours, one class against the rest, mean over classes or labels.

    Features are standardised by each fold's training images; each neighbour by cosine similarity votes with the inverse
    of its distance. The votes on all images are put together before the AUC is taken.

    Args:
        x: (N, D) features, any finite range.
        y: As in `logme`.
        folds: Pairs of indices to train on and to hold out, as `fusion.data.labels.folds` gives; each image is held out
            once.
        neighbours: Images that vote, from 1 to the images of the smallest training side.

    Returns:
        In [0, 1]; 0.5 is chance.

    Raises:
        ValueError: As `logme`; or images are not held out once, a fold trains on what it holds out, or has fewer
            images than neighbours.

    Source: Sorkhei et al. arXiv:2503.18528, who find that it foretells transfer at least as well as other scores.
    """
    found, read = _checked(x, y)
    sides, folds = _sides(read), [(np.asarray(train), np.asarray(held)) for train, held in folds]
    _check_folds(folds, len(found))
    _check_neighbours(neighbours, min(len(train) for train, _ in folds))
    votes = np.full(sides.shape, np.nan)
    for train, held in folds:
        # The weighted mean of 0 and 1 is the classifier's vote, and knows several labels and classes a fold lacks.
        voters = KNeighborsRegressor(neighbours, weights="distance", metric="cosine")
        model = make_pipeline(StandardScaler(), voters).fit(found[train], sides[train])
        votes[held] = model.predict(found[held])
    return metrics.auc(read.numbers, votes)(np.ones(len(votes)))


def _checked(x: Array, y: Array) -> tuple[Floats, Targets]:
    """Features in float64, scaled to at most 1, as no measure here sees the scale; and their labels."""
    found = np.asarray(x, np.float64)
    if found.ndim != 2 or found.size == 0:
        raise ValueError(f"x must be (N, D), features of N images (got {found.shape}). Pass a row per image.")
    if not np.isfinite(found).all():
        rows = np.flatnonzero(~np.isfinite(found).all(1))[:5].tolist()
        raise ValueError(f"x must be finite (got NaN or infinity in rows {rows}). Leave those images out.")
    read = labels.read(y, len(found))
    _check_counts(read)
    found = found / (np.abs(found).max() or 1)
    if np.ptp(found, axis=0).max() <= 1e-12:
        raise ValueError("x must differ between images (got the same row in all). Check the images.")
    return found, read


def _check_counts(read: Targets) -> None:
    sides = _sides(read)
    counts = np.minimum(sides.sum(0), len(sides) - sides.sum(0)) if read.multilabel else sides.sum(0)
    rare = read.classes[counts < LEAST].tolist()
    if rare:
        what = "with and without each label" if read.multilabel else "of each class"
        raise ValueError(
            f"y must hold at least {LEAST} images {what} (got 1 for {rare[:5]}). Add some, or leave it out."
        )


def _check_folds(folds: Folds, count: int) -> None:
    held = np.concatenate([np.empty(0, np.int64), *(held for _, held in folds)])
    if not np.array_equal(np.sort(held), np.arange(count)):
        images, times = np.unique(held, return_counts=True)
        wrong = np.setxor1d(images[times == 1], np.arange(count)).astype(int).tolist()
        raise ValueError(
            f"folds must hold out each of {count} images once, and no other (not so: {wrong[:5]}). "
            "Pass those of fusion.data.labels.folds."
        )
    for number, (train, own) in enumerate(folds):
        leaked = train[~np.isin(train, np.setdiff1d(held, own))].tolist()
        if leaked:
            raise ValueError(
                f"folds must train on images that they do not hold out (got {leaked[:5]} in fold {number}). "
                "Pass those of fusion.data.labels.folds."
            )


def _check_neighbours(neighbours: int, most: int) -> None:
    if neighbours not in range(1, most + 1):
        raise ValueError(
            f"neighbours must be from 1 to the images that the smallest fold trains on, {most} (got {neighbours!r}). "
            "Lower it, or pass more images."
        )


def _sides(read: Targets) -> Floats:
    """(N, K) 0 and 1: each class against the rest, or each label."""
    numbers = read.numbers if read.multilabel else read.numbers[:, None] == np.arange(len(read.classes))
    return numbers.astype(np.float64)


def _weights(sides: Floats, multilabel: bool) -> Floats:
    """What the squared sum (K,) over a class counts for; of a label the rest counts too, and labels are averaged."""
    counts, length = sides.sum(0), len(sides)
    return np.asarray((1 / counts + 1 / (length - counts)) / len(counts) if multilabel else 1 / counts)


def _modes(x: Floats, sides: Floats) -> tuple[Floats, Floats]:
    """Squared singular values (R,) of `x` (N, D), and `sides` (N, K) along its left singular vectors (R, K).

    From the smaller of the two Gram matrices: several times faster than the decomposition of x, and as exact for what
    is above rounding error.
    """
    wide = x.shape[0] <= x.shape[1]
    energies, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    shares = vectors.T @ (sides if wide else x.T @ sides)
    kept = energies > _NOISE**2 * energies[-1]
    energies, shares = energies[kept], shares[kept]
    return energies, shares if wide else shares / np.sqrt(energies)[:, None]


@dataclass(frozen=True)
class _Evidence:
    """The evidence of labels along the principal directions of features, as a function of alpha / beta.

    For a given ratio the best beta is known in closed form, so that one unknown is left.

    Attributes:
        energies: (R, 1) squared singular values of the features, above 0.
        powers: (R, K) squared share of the labels along each.
        missed: (K,) squared length of the labels that no direction explains.
        count: N.
    """

    energies: Floats
    powers: Floats
    missed: Floats
    count: int

    def at(self, ratio: Floats) -> Floats:
        """Log evidence (K,) per image, ratios (K,)."""
        variance = ((self.powers * ratio / (self.energies + ratio)).sum(0) + self.missed) / self.count
        flexibility = np.log1p(self.energies / ratio).sum(0) / self.count
        return np.asarray(-(np.log(2 * np.pi * variance) + 1 + flexibility) / 2)

    def maximum(self) -> Floats:
        """The highest (K,), from the best of a coarse grid on.

        The steps always settle: their slope, in logarithms, is above -1 everywhere, so that they cannot go round in
        circles. Where the evidence is highest at 0 or at infinity they end at a bound.
        """
        low, high = _NOISE**2 * self.energies.max(), self.energies.sum() / _NOISE
        # Signal along weak directions gives a second maximum, where the paper's start of 1 would not lead.
        grid = np.geomspace(low, high, _STARTS)
        ratio = grid[np.argmax([self.at(start) for start in grid], axis=0)]
        for _ in range(_STEPS):
            before, ratio = ratio, np.clip(self._step(ratio), low, high)
            if (np.abs(ratio - before) <= _SETTLED * before).all():
                break
        return self.at(ratio)

    def _step(self, ratio: Floats) -> Floats:
        kept, dropped = self.energies / (self.energies + ratio), ratio / (self.energies + ratio)
        prior = (self.powers * kept**2 / self.energies).sum(0) / kept.sum(0)
        noise = ((self.powers * dropped**2).sum(0) + self.missed) / (dropped.sum(0) + self.count - len(kept))
        # Labels may lie along no feature at all, prior is 0 then.
        return np.asarray(noise / np.maximum(prior, _TINY))
