"""The loss of heads and of training."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from fusion.heads.losses import class_weights, losses

DRAW = np.random.default_rng(0)


def test_class_weights_by_hand():
    y = np.array([0] * 6 + [1] * 3 + [2])
    assert class_weights(y, 3).tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert class_weights(y, 3).tolist() == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=y))
    assert class_weights(y, 3)[y].mean().item() == pytest.approx(1)
    assert class_weights(np.array([0, 0, 0, 2]), 3)[[0, 2]].tolist() == pytest.approx([4 / 6, 2])
    labels = np.array([[1, 0], [1, 0], [0, 1], [1, 0]])
    assert class_weights(labels, 2).tolist() == pytest.approx([1 / 3, 3])
    assert torch.isfinite(class_weights(np.array([[1, 0], [1, 0]]), 2)).all()


def test_losses_by_hand():
    logits, y = DRAW.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    weight = np.array([0.5, 1.0, 4.0])
    nll = np.log(np.exp(logits).sum(1)) - logits[np.arange(5), y]
    found = losses(torch.from_numpy(logits), torch.from_numpy(y), torch.from_numpy(weight))
    np.testing.assert_allclose(found, weight[y] * nll)
    np.testing.assert_allclose(losses(torch.from_numpy(logits), torch.from_numpy(y), None), nll)
    labels = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0], [1, 0, 1]])
    p = 1 / (1 + np.exp(-logits))
    bce = -(weight * labels * np.log(p) + (1 - labels) * np.log(1 - p))
    found = losses(torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(weight))
    np.testing.assert_allclose(found, bce.mean(1))


def test_the_mean_over_halves_is_the_mean_over_the_whole():
    logits, y = torch.randn(8, 3), torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    weight = class_weights(y.numpy(), 3)
    halves = [losses(logits[part], y[part], weight).mean() for part in (slice(4), slice(4, 8))]
    torch.testing.assert_close(torch.stack(halves).mean(), losses(logits, y, weight).mean())
