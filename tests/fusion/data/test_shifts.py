"""What another scanner may do to an image: fixed, by name, and never dependent on the batch."""

import numpy as np
import pytest
import torch

from fusion import brain_regions
from fusion.data import shifts

IMAGES = torch.from_numpy(brain_regions("train", labels=12).images)[:, None].float() / 255


@pytest.mark.parametrize("name", shifts.names())
def test_a_shift_moves_every_image_alone_and_keeps_its_range(name):
    before = IMAGES.clone()
    found = shifts.shift(IMAGES, name)
    torch.testing.assert_close(IMAGES, before, rtol=0, atol=0)
    assert found.shape == IMAGES.shape
    assert 0 <= found.min() <= found.max() <= 1
    assert (found - IMAGES).abs().flatten(1).mean(1).min() > 0.003
    torch.testing.assert_close(shifts.shift(IMAGES[3:5], name), found[3:5], rtol=0, atol=1e-6)
    torch.testing.assert_close(shifts.shift(IMAGES.half(), name).float(), found, rtol=0, atol=0.02)
    assert shifts.shift(IMAGES.expand(-1, 3, -1, -1), name).shape == (12, 3, 64, 64)
    assert len(shifts.shift(IMAGES[:0], name)) == 0


def test_each_is_another():
    found = torch.stack([shifts.shift(IMAGES, name) for name in shifts.names()])
    apart = (found[:, None] - found[None]).abs().flatten(2).mean(2)
    assert (apart + torch.eye(len(found))).min() > 0.003


def test_values_by_hand():
    half = torch.full((1, 1, 65, 65), 0.5)
    assert shifts.shift(half, "dimmed")[0, 0, 0, 0] == pytest.approx(0.35)
    assert shifts.shift(half, "darker")[0, 0, 0, 0] == pytest.approx(0.5**1.6)
    field = shifts.shift(half, "bias field")[0, 0]
    assert field[32, 32] == pytest.approx(0.5)
    assert (float(field[0, 0]), float(field[-1, -1])) == pytest.approx((0.3, 0.7))
    assert (shifts.shift(half, "noisy") - half).std() == pytest.approx(0.05, rel=0.05)
    point = torch.zeros(1, 1, 65, 65)
    point[0, 0, 32, 32] = 1
    assert shifts.shift(point, "blurred")[0, 0, 32, 32] < 0.2
    assert shifts.shift(point, "blurred").sum() == pytest.approx(1, abs=0.01)


def test_noise_is_that_of_the_image():
    found = shifts.shift(torch.stack([IMAGES[0], IMAGES[0], IMAGES[1]]), "noisy")
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0] - IMAGES[0], found[2] - IMAGES[1])


def test_other_names_and_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shift must be one of .* \(got 'fog'\)"):
        shifts.shift(IMAGES, "fog")
    with pytest.raises(ValueError, match=r"images must be \(N, C, H, W\) \(got \(64, 64\)\)"):
        shifts.shift(IMAGES[0, 0], "darker")


@pytest.mark.parametrize("name", shifts.names())
def test_what_is_a_rounding_below_black_is_black(name):
    assert torch.isfinite(shifts.shift(IMAGES - 1e-7, name)).all()


@pytest.mark.parametrize("count", [1, 60, shifts.MANY - 1])
def test_few_images_are_copied_by_every_kind(count):
    ((index, kinds),) = shifts.copies(count)
    assert index.tolist() == list(range(count))
    assert tuple(kind.keywords["name"] for kind in kinds) == shifts.FITTED
    assert shifts.rows([(index, kinds)]).tolist() == list(range(count)) * 6


@pytest.mark.parametrize("count", [shifts.MANY, 4031])
def test_of_many_images_each_is_copied_once_and_kinds_share_them_evenly(count):
    parts = shifts.copies(count)
    assert tuple(kind.keywords["name"] for _, (kind,) in parts) == shifts.FITTED
    sizes = [len(index) for index, _ in parts]
    assert max(sizes) - min(sizes) <= 1
    assert np.bincount(shifts.rows(parts)).tolist() == [2] * count
