"""The loss of heads and of training, and the weights of classes in it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Weighting:
    """Say how much each image counts in a fit.

    Attributes:
        balanced: Whether every class counts the same; otherwise every image does, and probabilities follow the data.
        images: (N,) factors of single images; None is 1 each.
    """

    balanced: bool = True
    images: Floats | None = None

    @property
    def kind(self) -> str | None:
        """The class weights, by scikit-learn's name."""
        return "balanced" if self.balanced else None

    def take(self, rows: Ints) -> "Weighting":
        """The same of some of the images."""
        return self if self.images is None else Weighting(self.balanced, self.images[rows])

    def classes(self, y: Ints, classes: int) -> Tensor | None:
        """Weights (K,) for `losses`; None where every image counts the same."""
        return class_weights(y, classes, self.images) if self.balanced else None


EVEN = Weighting()


def class_weights(y: Ints, classes: int, images: Floats | None = None) -> Tensor:
    """Weights (K,) that let every class count the same, 1 on average over images; of labels, of their positives.

    Args:
        y: (N,) class numbers, or (N, K) of 0 and 1.
        classes: K.
        images: (N,) how much each image counts; None is 1 each.
    """
    each = np.ones(len(y)) if images is None else images
    if y.ndim == 2:
        positive = each @ y
        return torch.tensor((each.sum() - positive) / np.where(positive > 0, positive, 1), dtype=torch.float32)
    found = np.bincount(y, each, classes)
    return torch.tensor(each.sum() / (np.count_nonzero(found) * np.where(found > 0, found, 1)), dtype=torch.float32)


def losses(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """The loss of each image, (N,): weighted cross-entropy, or the mean over labels of the binary one.

    Weights are not divided out within a batch, so that the mean over two halves is the mean over the whole.
    """
    weight = None if weight is None else weight.to(logits)
    if target.ndim == 2:
        each = nn.functional.binary_cross_entropy_with_logits(
            logits, target.to(logits), pos_weight=weight, reduction="none"
        )
        return each.mean(1)
    return nn.functional.cross_entropy(logits, target, weight=weight, reduction="none")
