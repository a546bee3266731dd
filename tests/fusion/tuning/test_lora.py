"""Adapters: they alone move, and none is left behind."""

import copy

import numpy as np
import pytest
import torch

from fusion.features import extract
from tests.fusion.tuning.small_encoders import HELD, validated
from tests.small_fits import IMAGES, VIT, Course, fused, own, snapshot


def test_lora_moves_adapters_only_and_leaves_none_behind(encoder):
    course = Course(fused([encoder]), "lora", validation=HELD, learning_rate=1e-2, monitor="loss")
    before, during = course.states[0], course.states[1:]
    held = {key.replace(".base_layer.", "."): value for key, value in during[-1].items() if "lora_" not in key}
    added = [key for key in during[0] if "lora_" in key]
    assert all(torch.equal(value, held[key]) for key, value in before.items() if not key.startswith("head.linear"))
    assert {key.partition(".")[0] for key in set(course.steps[0]["tensors"]) - set(added)} == {"head"}
    assert set(added) == {key for key in course.steps[0]["tensors"] if "lora_" in key}
    assert all(not torch.equal(during[0][key], during[-1][key]) for key in added)
    after = snapshot(course.network)
    assert after.keys() == before.keys()
    assert not any("lora" in name for name, _ in course.network.named_modules())
    kernels = [key for key in before if key.startswith("encoders") and before[key].ndim > 1]
    assert all(not torch.equal(after[key], before[key]) for key in kernels)
    assert all(torch.equal(after[key], before[key]) for key in before if key not in kernels and "head" not in key)
    best = min(course.history, key=lambda row: row["validation_loss"])
    assert best["epoch"] > 0
    assert validated(course.network)[1] == pytest.approx(best["validation_loss"], abs=1e-5)


def test_merged_features_are_those_before(encoder):
    from fusion.tuning import lora

    twin = copy.deepcopy(encoder)
    added = lora.add(twin, 4)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    before = extract.extract(twin, IMAGES)
    assert np.abs(before - extract.extract(encoder, IMAGES)).max() > 1e-2
    lora.merge(added)
    np.testing.assert_allclose(extract.extract(twin, IMAGES), before, rtol=1e-5, atol=1e-5)


def test_lora_leaves_a_norm_after_pooling_alone(tmp_path):
    """It lies outside the trunk, which alone has adapters."""
    encoder = own(tmp_path, "vit", architecture="vit_tiny_patch16_224", kwargs=VIT + ", global_pool: avg")
    assert list(encoder.norm.parameters())
    course = Course(fused([encoder]), "lora", epochs=1)
    assert all(
        torch.equal(a, b)
        for a, b in zip(course.network.encoders[0].norm.parameters(), encoder.norm.parameters(), strict=True)
    )
