"""Random numbers of a fit repeat, and those of its caller are left as they were."""

import random

import numpy as np
import pytest
import torch

from fusion import FusionClassifier, Training
from fusion.tuning.randomness import repeatable
from tests.small_fits import IMAGES, LABELS, RESNET, own, same, snapshot


@pytest.mark.parametrize("name", ["full", "lora"])
def test_the_seed_decides(tmp_path, name):
    pair = [own(tmp_path, kwargs=RESNET + ", drop_path_rate: 0.5"), own(tmp_path, "other", 0.5, seed=4)]
    training = Training(epochs=2, batch=8, augment="mr", drop_encoder=0.4, patience=None)
    models = [
        FusionClassifier(
            pair, strategy=name, training=training, folds=2, device="cpu", seed=seed, compare_baselines=False
        ).fit(IMAGES, LABELS)
        for seed in (0, 0, 1)
    ]
    first, again, other = ([e.state_dict() for e in m.encoders_] + [m.head_.module.state_dict()] for m in models)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(same(a, b) for a, b in zip(first, other, strict=True))
    assert models[0].history_ == models[1].history_


def test_the_callers_random_states_and_encoders_stay(encoder, tmp_path):
    before = snapshot(encoder)
    for _ in range(2):  # the second takes up the checkpoint of the first
        states = [torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()]
        training = Training(epochs=1, batch=8, augment="mr", checkpoint=tmp_path / "fit")
        FusionClassifier(
            [encoder], strategy="full", training=training, folds=2, device="cpu", compare_baselines=False
        ).fit(IMAGES, LABELS)
        assert torch.equal(states[0], torch.get_rng_state())
        assert states[1] == np.random.get_state()[1].tolist()
        assert states[2] == random.getstate()
        np.random.random(3)
        random.random()
        torch.rand(3)
    assert same(before, snapshot(encoder))
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_surroundings_come_back_after_an_error_too():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    states = random.getstate(), np.random.get_state()[1].tolist()
    with pytest.raises(KeyError, match="midway"), repeatable(0, deterministic=True):  # noqa: PT012
        assert torch.are_deterministic_algorithms_enabled()
        random.seed(1)
        np.random.seed(1)
        torch.rand(100)
        raise KeyError("midway")
    assert not torch.are_deterministic_algorithms_enabled()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    assert torch.equal(torch.rand(3), expected)


def test_equal_seeds_draw_alike_and_what_the_caller_asked_for_stays():
    drawn = []
    for seed in (0, 0, 1):
        with repeatable(seed, deterministic=False):
            drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    torch.use_deterministic_algorithms(True)
    try:
        with repeatable(0, deterministic=False):
            assert torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
