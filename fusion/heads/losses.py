"""The loss of heads and of training, and the weights of classes in it."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Ints = npt.NDArray[np.int64]


def class_weights(y: Ints, classes: int) -> Tensor:
    """Weights (K,) that let every class count the same, 1 on average over images; of labels, of their positives."""
    if y.ndim == 2:
        positive = y.sum(0)
        return torch.tensor((len(y) - positive) / np.maximum(positive, 1), dtype=torch.float32)
    found = np.bincount(y, minlength=classes)
    return torch.tensor(len(y) / (np.count_nonzero(found) * np.maximum(found, 1)), dtype=torch.float32)


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
