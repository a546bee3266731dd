"""What may change in an image without changing its answer."""

import subprocess
import sys

import pytest
import torch
from torch.nn.functional import interpolate

from fusion.data import augmentation
from fusion.data.augmentation import augment, modalities


def pictures(count=3, size=64, channels=3):
    """Smooth pictures, so that they are the same at every size; brighter to the right and below."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 6, 6, generator=rng) * 0.6 + 0.1
    ramp = torch.linspace(0, 0.1, 6)
    return interpolate(coarse + ramp + 2 * ramp[:, None], (size, size), mode="bilinear", align_corners=False)


def test_the_modalities():
    names = {"x-ray", "ct", "mr", "histology", "dermoscopy", "endoscopy", "fundus", "ultrasound"}
    assert set(modalities()) == names == set(augmentation.AUGMENTATIONS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("modality", modalities())
def test_every_modality_changes_images_and_keeps_their_form(modality, channels):
    images = pictures(8, channels=channels)
    views = augment(images, modality, range(8))
    assert (views.shape, views.dtype) == (images.shape, images.dtype)
    assert views.isfinite().all()
    assert 0 <= views.min() <= views.max() <= 1
    assert sum(not torch.equal(a, b) for a, b in zip(images, views, strict=True)) >= 7
    assert torch.equal(images, pictures(8, channels=channels)), "the input is left as it was"


@pytest.mark.parametrize("modality", modalities())
def test_a_view_depends_on_image_and_seed_only(modality):
    images = pictures(4)
    views = augment(images, modality, [7, 8, 9, 7])
    alone = augment(images[2:3], modality, [9])
    assert torch.equal(alone[0], views[2])
    turned = augment(images.flip(0), modality, [7, 9, 8, 7])
    assert torch.equal(turned.flip(0), views)
    assert not torch.equal(augment(images[2:3], modality, [10])[0], views[2])


def test_a_view_is_the_same_in_another_process():
    code = """
import torch
from fusion.data.augmentation import augment
torch.rand(5)
print(augment(torch.linspace(0, 1, 768).reshape(1, 3, 16, 16), "ultrasound", [3]).double().sum().item())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = augment(torch.linspace(0, 1, 768).reshape(1, 3, 16, 16), "ultrasound", [3]).double().sum().item()
    assert float(done.stdout) == pytest.approx(here, abs=1e-9)


@pytest.mark.parametrize("modality", modalities())
def test_the_global_state_is_untouched(modality):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    augment(pictures(), modality, [1, 2, 3])
    assert torch.equal(before, torch.get_rng_state())


def test_the_global_state_is_untouched_by_an_error_midway():
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="must be square"):  # by the third transform, after the draws of two
        augment(pictures()[..., :32], "histology", [1, 2, 3])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("modality", [name for name in modalities() if name != "ultrasound"])
def test_two_sizes_see_the_same_view(modality):
    seeds = list(range(12))
    small, large = (augment(pictures(12, size), modality, seeds) for size in (64, 224))
    shrunk = interpolate(large, (64, 64), mode="bilinear", antialias=True)
    assert _inner(small - shrunk).abs().mean() < 0.004
    others = augment(pictures(12, 64), modality, [seed + 100 for seed in seeds])
    assert _inner(others - shrunk).abs().mean() > 3 * _inner(small - shrunk).abs().mean(), "the check can fail"


def test_two_sizes_of_ultrasound_differ_in_their_speckle_only(monkeypatch):
    quiet = augmentation.AUGMENTATIONS["ultrasound"][:-1]
    assert augmentation.AUGMENTATIONS["ultrasound"][-1] is augmentation._speckle
    monkeypatch.setitem(augmentation.AUGMENTATIONS, "ultrasound", quiet)
    test_two_sizes_see_the_same_view("ultrasound")


def _inner(images):
    """Without the edge, where resizing differs."""
    return images[..., 6:-6, 6:-6]


@pytest.mark.parametrize("shift", [0.013, 0.05])
def test_a_shift_is_the_same_share_of_every_size(shift):
    moved = {}
    for size in (64, 224):
        torch.manual_seed(2)
        ramp = torch.linspace(0, 1, size).expand(1, size, size)
        moved[size] = (augmentation._pose(degrees=0, shift=shift, zoom=(1, 1))(ramp) - ramp)[0, size // 2, size // 2]
    assert moved[64] == pytest.approx(moved[224].item(), rel=0.02)
    assert abs(moved[64]) > 1e-3


ARROW = torch.zeros(1, 1, 32, 32)
ARROW[..., 4:12, 4:20] = 0.9  # bright above and to the left


@pytest.mark.parametrize(
    ("modality", "sides", "heights"),
    [
        ("x-ray", {"left"}, {"up"}),
        ("ct", {"left"}, {"up"}),
        ("mr", {"left"}, {"up"}),
        ("fundus", {"left", "right"}, {"up"}),
        ("ultrasound", {"left", "right"}, {"up"}),
        ("endoscopy", {"left", "right"}, {"up", "down"}),
        ("dermoscopy", {"left", "right"}, {"up", "down"}),
        ("histology", {"left", "right"}, {"up", "down"}),
    ],
)
def test_flips_are_those_that_leave_the_answer(modality, sides, heights):
    views = augment(ARROW.expand(60, 1, 32, 32), modality, range(60))[:, 0]
    assert {"left" if view[:, :16].sum() > view[:, 16:].sum() else "right" for view in views} == sides
    assert {"up" if view[:16].sum() > view[16:].sum() else "down" for view in views} == heights


def test_histology_shows_the_eight_right_angled_views():
    masks = {
        tuple((view > 0.4).flatten().tolist()) for view in augment(ARROW.expand(99, 1, 32, 32), "histology", range(99))
    }
    square = ARROW[0, 0] > 0.4
    turned = {tuple(torch.rot90(m, k).flatten().tolist()) for m in (square, square.T) for k in range(4)}
    assert masks == turned


def test_physical_intensities_hardly_move():
    grey = torch.full((40, 1, 16, 16), 0.5)
    change = {name: (augment(grey, name, range(40))[..., 8, 8] - 0.5).abs().max().item() for name in ("ct", "mr")}
    assert change["ct"] <= 0.016
    assert change["mr"] > 0.1


@pytest.mark.parametrize("modality", modalities())
def test_a_grey_picture_of_three_channels_is_its_one_channel(modality):
    grey = pictures(4, channels=1)
    three = augment(grey.expand(4, 3, 64, 64), modality, range(4))
    assert torch.allclose(three, augment(grey, modality, range(4)).expand_as(three), atol=2e-4)


def test_speckle_leaves_black_black():
    views = augment(torch.zeros(5, 1, 16, 16), "ultrasound", range(5))
    assert torch.equal(views, torch.zeros_like(views))


@pytest.mark.parametrize("modality", modalities())
def test_values_a_little_outside_stay_numbers(modality):
    images = pictures(6) * 1.4 - 0.2
    assert images.min() < 0
    assert augment(images, modality, range(6)).isfinite().all()


def test_gamma_by_itself_takes_values_a_little_outside():
    torch.manual_seed(0)
    assert augmentation._gamma(torch.tensor([[[-0.1, 0.5, 1.1]]])).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_comes_back(dtype):
    assert augment(pictures().to(dtype), "x-ray", [1, 2, 3]).dtype == dtype


def test_no_images():
    assert augment(torch.empty(0, 3, 8, 8), "ct", []).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("images", "modality", "seeds", "error", "message"),
    [
        (pictures(), "xray", [1, 2, 3], ValueError, r"modality must be one of \['x-ray'.*got 'xray'\)\. Try x-ray\."),
        (pictures(), "CT", [1, 2, 3], ValueError, r"got 'CT'\)\. Try ct\."),
        (pictures(), "smell", [1, 2, 3], ValueError, r"got 'smell'\)\. Try x-ray or ct or"),
        (pictures()[0], "ct", [1], ValueError, r"images must be \(N, 1 or 3, H, W\) \(got \(3, 64, 64\)\)"),
        (pictures(channels=2), "ct", [1, 2, 3], ValueError, r"got \(3, 2, 64, 64\)"),
        (pictures().mul(255).byte(), "ct", [1, 2, 3], TypeError, r"images must be floats .*got torch\.uint8"),
        (pictures(), "ct", [1, 2], ValueError, r"seeds must be one per image, 3 \(got 2\)"),
        (pictures()[..., :32], "histology", [1, 2, 3], ValueError, r"images must be square .*got \(64, 32\)"),
    ],
)
def test_bad_input_is_refused(images, modality, seeds, error, message):
    with pytest.raises(error, match=message):
        augment(images, modality, seeds)


def test_oblong_images_of_the_other_modalities():
    assert augment(pictures()[..., :32], "x-ray", [1, 2, 3]).shape == (3, 3, 64, 32)


def test_on_a_gpu_the_views_and_its_state_are_the_same():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    images, before = pictures(), torch.cuda.get_rng_state()
    views = augment(images.cuda(), "ultrasound", [1, 2, 3])
    assert views.is_cuda
    assert torch.equal(views.cpu(), augment(images, "ultrasound", [1, 2, 3]))
    assert torch.equal(before, torch.cuda.get_rng_state())
