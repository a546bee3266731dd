"""What is said when a fit runs into numbers that are not finite."""

import numpy as np
import pytest
import torch
from torch import nn

from fusion.data.samples import Samples
from fusion.tuning.checkpoints import Checkpoints
from fusion.tuning.finite import Finite
from tests.fusion.tuning.small_encoders import HELD
from tests.small_fits import COUNT, Course, fused


def test_a_loss_that_is_not_finite_names_batch_and_images(encoder):
    with pytest.raises(
        FloatingPointError, match=r"loss must be finite \(got (nan|inf) in epoch 1, batch 2: image \d+, .*"
    ):
        Course(fused([encoder]), "full", learning_rate=1e30, warmup=0)


def test_a_validation_loss_that_is_not_finite_says_so(encoder):
    def poison(course, step):
        with torch.no_grad():
            course.network.head.linear.bias.fill_(torch.nan)

    with pytest.raises(FloatingPointError, match=r"validation loss must be finite \(got nan after epoch 1: image 0, "):
        Course(fused([encoder]), "full", validation=HELD, batch=COUNT, each=poison)


def test_weights_that_the_last_step_ruined_are_not_kept(encoder, tmp_path):
    def poison(course, step):
        if step["epoch"] == 1 and step["step"] == 2:
            with torch.no_grad():
                course.network.head.linear.bias.fill_(torch.nan)

    with pytest.raises(FloatingPointError, match=r"weights must be finite \(got nan after epoch 2: head.linear.bias\)"):
        Course(fused([encoder]), "full", epochs=2, each=poison, checkpoint=tmp_path / "fit")
    assert sorted(path.name for path in (tmp_path / "fit").glob("epoch-*")) == ["epoch-000001"]


def test_the_images_are_those_whose_own_loss_is_not_finite_at_most_five():
    told = Finite(Checkpoints(None, {}))
    images = Samples([f"{n}.png" for n in range(9)], np.zeros(9))
    each = torch.tensor([1.0, torch.nan, torch.inf, 2.0])
    said = str(told.loss(float("nan"), each, images, [8, 3, 5, 0], "in epoch 2, batch 1"))
    assert said.startswith("loss must be finite (got nan in epoch 2, batch 1: 3.png, 5.png). Lower learning_rate")
    said = str(told.loss(float("inf"), torch.full((7,), torch.inf), images, range(7), "after epoch 1"))
    assert "validation loss must be finite (got inf after epoch 1: 0.png, 1.png, 2.png, 3.png, 4.png)." in said
    said = str(told.loss(float("inf"), torch.ones(2), images, [1, 2], "in epoch 1, batch 1"))  # only their sum
    assert "1.png, 2.png" in said


def test_weights_that_are_not_finite_are_named():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    told = Finite(Checkpoints(None, {}))
    told.weights(network, "after epoch 3")
    with torch.no_grad():
        network[1].weight[0, 1] = torch.inf
    with pytest.raises(FloatingPointError, match=r"weights must be finite \(got nan after epoch 3: 1\.weight\)"):
        told.weights(network, "after epoch 3")
