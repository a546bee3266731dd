"""From what a head answers to probabilities: for classes as frequent as in training and, if asked, as sure as right.

A head that is fitted with balanced classes answers for balanced classes. What it says of training images that it has
not seen tells by how much to shift its logits for the mean probability to be the training frequency.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from fusion.heads.losses import EVEN, Weighting
from fusion.heads.probe import count, normalised

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TINY = 1e-9  # a class that is never there would have no logarithm
_STEPS, _CLOSE = 500, 1e-6  # of the shifts: until mean probabilities are this close to the frequencies
_TEMPERATURES = np.log(0.1), np.log(10.0)


@dataclass(frozen=True)
class Calibration:
    """Logits / temperature + shift, of classes or of labels.

    Attributes:
        shift: (K,).
        temperature: Above 1 makes answers less sure.
        multilabel: Whether columns are labels, each by itself, not classes of which one holds.
    """

    shift: Floats
    temperature: float = 1.0
    multilabel: bool = False

    def apply(self, log_proba: Floats) -> Floats:
        """Log-probabilities (N, K) of a head, calibrated."""
        return normalised(_logits(log_proba, self.multilabel) / self.temperature + self.shift, self.multilabel)

    def undo(self, log_proba: Floats) -> Floats:
        """The head's own log-probabilities (N, K), for classes as they counted in its fit: the inverse of `apply`."""
        logits = (_logits(log_proba, self.multilabel) - self.shift) * self.temperature
        return normalised(logits, self.multilabel)


def neutral(classes: int, multilabel: bool = False) -> Calibration:
    """Answers as they are."""
    return Calibration(np.zeros(classes), multilabel=multilabel)


def frequencies(y: Ints, weighting: Weighting = EVEN) -> Floats:
    """(K,) the share of each class among the images as they count; of labels (N, K), the share that has each."""
    each = np.ones(len(y)) if weighting.images is None else weighting.images
    counted = each @ y if y.ndim == 2 else np.bincount(y, each, count(y))
    return np.asarray(counted / each.sum())


def by_prior(wanted: Floats, *, multilabel: bool = False) -> Calibration:
    """The shift from balanced classes to the frequencies (K,) `wanted`, where no answers are at hand.

    Source: Saerens et al. 2002 (Neural Computation 14), equation 4: images of a class look the same, however many.
    """
    even = np.full(len(wanted), 0.5 if multilabel else 1 / len(wanted))
    return Calibration(_odds(wanted, multilabel) - _odds(even, multilabel), multilabel=multilabel)


def moved(log_proba: Floats, known: Floats, wanted: Floats, *, multilabel: bool) -> Floats:
    """Log-probabilities (N, K) where classes are as frequent as `known`, for where they are as `wanted`.

    Source: as of `by_prior`.
    """
    shift = _odds(wanted, multilabel) - _odds(known, multilabel)
    return Calibration(shift, multilabel=multilabel).apply(log_proba)


def calibrate(
    held: Floats, y: Ints, wanted: Floats, weighting: Weighting = EVEN, *, temperature: bool = False
) -> Calibration:
    """Fit the shift, and the temperature where asked, to answers on images that the head has not seen.

    Args:
        held: (N, K) log-probabilities.
        y: Their labels, (N,) or (N, K).
        wanted: (K,) frequencies for which to answer; those of `y` may be others.
        weighting: How much each image counts; where classes are not balanced answers stay, unless a temperature is
            asked for.
        temperature: Whether to fit one, for one label per image. Source: Guo et al. arXiv:1706.04599.
    """
    multilabel, own = y.ndim == 2, frequencies(y, weighting)
    logits = _logits(held, multilabel)
    even = Weighting(balanced=False, images=weighting.images)

    if not (weighting.balanced or temperature):
        return neutral(len(own), multilabel)

    def at(heat: float) -> Calibration:
        return Calibration(_shift(logits / heat, own, even, multilabel), heat, multilabel)

    def objective(log_heat: float) -> float:
        return _smooth_loss(at(np.exp(log_heat)).apply(held), y, even)

    heat = 1.0
    if temperature:
        heat = float(np.exp(minimize_scalar(objective, bounds=_TEMPERATURES, method="bounded").x))
    there = _odds(wanted, multilabel) - _odds(own, multilabel)
    return Calibration(at(heat).shift + there, heat, multilabel)


def _smooth_loss(log_proba: Floats, y: Ints, even: Weighting) -> float:
    """The log-loss, to targets a little short of sure: answers that are all right would else be made surer for ever.

    Source: Platt 1999 (Advances in Large Margin Classifiers), equation 8, of one class against the others.
    """
    unsure = 1 / (np.bincount(y)[y] + 2)  # (N,)
    others = (log_proba.sum(1) - log_proba[np.arange(len(y)), y]) / (log_proba.shape[1] - 1)
    each = np.ones(len(y)) if even.images is None else even.images
    return float(-np.average((1 - unsure) * log_proba[np.arange(len(y)), y] + unsure * others, weights=each))


def _shift(logits: Floats, wanted: Floats, even: Weighting, multilabel: bool) -> Floats:
    """(K,) what makes the mean probability of each class the frequency that is wanted."""
    each = np.ones(len(logits)) if even.images is None else even.images
    target, shift = np.clip(wanted, _TINY, 1 - _TINY), np.zeros(logits.shape[1])
    for _ in range(_STEPS):
        mean = np.clip(each @ np.exp(normalised(logits + shift, multilabel)) / each.sum(), _TINY, 1 - _TINY)
        if np.abs(mean - target).max() < _CLOSE:
            break
        shift += _odds(target, multilabel) - _odds(mean, multilabel)
    return shift - (0.0 if multilabel else shift.mean())


def _logits(log_proba: Floats, multilabel: bool) -> Floats:
    if not multilabel:
        return log_proba
    return log_proba - np.log(-np.expm1(np.minimum(log_proba, -1e-12)))


def _odds(prior: Floats, multilabel: bool) -> Floats:
    held = np.clip(prior, _TINY, 1 - _TINY)
    return np.asarray(np.log(held / (1 - held)) if multilabel else np.log(held))
