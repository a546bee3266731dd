"""The demo's features: of images as they are and of their copies, as a user's own passes would give them."""

from functools import partial

import numpy as np
import torch

from fusion import brain_regions
from fusion.data import shifts
from fusion.demo import features
from fusion.features import extract, raw

SAMPLES = brain_regions("train", labels=6)


def test_sources_end_where_they_should():
    found = features.sources()
    assert [name for name, taps in found.items() if taps is None] == [raw.NAME]
    assert {name: taps.depths for name, taps in found.items() if taps} == {
        **dict.fromkeys(features.ENCODERS, features.DEPTHS),
        **{f"random init {seed}": (0.25,) for seed in features.SEEDS},
    }


def test_features_are_those_of_the_images_and_of_their_copies():
    named = {name: taps for name, taps in features.sources().items() if name in (raw.NAME, "mocov2-mini")}
    steps = []
    names = ("darker", "noisy")
    parts = [(np.array([4, 1]), [partial(shifts.shift, name=name) for name in names]), (np.array([0]), [])]
    found = features.features(named, SAMPLES, parts, steps.append)
    assert steps == list(named)
    assert found.rows.tolist() == [4, 1, 4, 1, 4, 1, 0]

    pixels = torch.from_numpy(SAMPLES.images[:, None] / np.float32(255))  # (N, 1, H, W)
    views = [pixels[[4, 1]], *(shifts.shift(pixels[[4, 1]], name) for name in names), pixels[[0]]]
    arrays = torch.cat(views)[:, 0].numpy()
    own = [extract.extract("mocov2-mini@0.5", arrays), raw.pixels(arrays)]
    for block, wanted in zip(found.of([("mocov2-mini", 1), (raw.NAME, 0)]), own, strict=True):
        np.testing.assert_allclose(block, wanted, atol=1e-3)
    (some,) = found.of([("mocov2-mini", 1)], np.array([6, 2]))
    np.testing.assert_array_equal(some, found.of([("mocov2-mini", 1)])[0][[6, 2]])
