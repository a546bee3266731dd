import random

import numpy as np
import pytest
import torch

from fusion import FusionClassifier, Training
from tests.small_fits import IMAGES, LABELS, RESNET, own, same, snapshot


@pytest.mark.parametrize("name", ["full", "lora"])
def test_the_seed_decides(tmp_path, name):
    pair = [own(tmp_path, kwargs=RESNET + ", drop_path_rate: 0.5"), own(tmp_path, "other", 0.5, seed=4)]
    training = Training(epochs=2, batch=8, augment="mr", drop_encoder=0.4, patience=None)
    models = [
        FusionClassifier(pair, strategy=name, training=training, folds=2, device="cpu", seed=seed).fit(IMAGES, LABELS)
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
        FusionClassifier([encoder], strategy="full", training=training, folds=2, device="cpu").fit(IMAGES, LABELS)
        assert torch.equal(states[0], torch.get_rng_state())
        assert states[1] == np.random.get_state()[1].tolist()
        assert states[2] == random.getstate()
        np.random.random(3)
        random.random()
        torch.rand(3)
    assert same(before, snapshot(encoder))
    assert not torch.are_deterministic_algorithms_enabled()
