"""The task that ships."""

import numpy as np
import pytest

from fusion import brain_regions
from fusion.data.samples import fingerprint
from fusion.data.sets.brain_regions import FOLDER, SIZE

REGIONS = {"frontal", "temporal", "parietal", "occipital", "cerebellum", "deep"}


@pytest.mark.parametrize(("part", "count", "slabs"), [("train", 4030, 6), ("validation", 2142, 6), ("test", 2792, 12)])
def test_every_part_holds_every_region(part, count, slabs):
    samples = brain_regions(part)
    assert samples.images.shape == (count, SIZE, SIZE)
    assert samples.images.dtype == np.uint8
    assert set(samples.labels.tolist()) == REGIONS
    assert len(set(samples.groups.tolist())) == slabs
    assert len(samples.labels) == len(samples.groups) == count


def test_no_validation_patch_shares_a_voxel_with_a_training_patch_and_slabs_are_apart():
    with np.load(FOLDER / "colin27.npz") as file:
        heights = {part: np.unique(file["z"][file["plane"][file["part"] == part]]) for part in ("train", "validation")}
        slabs = {part: set(file["slab"][file["part"] == part].tolist()) for part in heights}
    distance = np.abs(heights["train"][:, None].astype(int) - heights["validation"][None].astype(int))
    assert distance.min() > 3  # patches are one slice thick, so any distance above 0 shares no voxel
    assert not slabs["train"] & slabs["validation"]


def test_validation_slabs_are_contiguous():
    with np.load(FOLDER / "colin27.npz") as file:
        held = file["part"] == "validation"
        for slab in np.unique(file["slab"][held]):
            planes = np.unique(file["plane"][held & (file["slab"] == slab)])
            assert planes.tolist() == list(range(planes[0], planes[-1] + 1))


@pytest.mark.parametrize("labels", [60, 300])
def test_label_budgets_are_even_and_repeat(labels):
    first, again = (brain_regions("train", labels=labels) for _ in range(2))
    assert np.unique(first.labels, return_counts=True)[1].tolist() == [labels // 6] * 6
    np.testing.assert_array_equal(first.images, again.images)
    other = brain_regions("train", labels=labels, seed=1)
    assert not np.array_equal(first.images, other.images)


def test_the_shifted_variant_keeps_labels_and_changes_the_training_images_only():
    plain, shifted = brain_regions("train"), brain_regions("train", variant="shifted")
    np.testing.assert_array_equal(plain.labels, shifted.labels)
    assert (plain.images != shifted.images).mean() > 0.3
    np.testing.assert_array_equal(brain_regions("test").images, brain_regions("test", variant="shifted").images)


def test_studies_that_were_begun_on_it_go_on():
    assert fingerprint(brain_regions("train"), brain_regions("validation")) == "33eae8830047583ced06"


def test_a_slab_of_one_brain_is_none_of_the_other():
    assert not set(brain_regions("train").groups) & set(brain_regions("test").groups)


def test_a_few_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.npz")) < 3e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "valid"}, "part must be train, validation or test"),
        ({"part": "train", "variant": "x"}, "variant matched or shifted"),
        ({"part": "train", "labels": 61}, r"labels must be a multiple of 6 up to \d+ \(got 61\)"),
        ({"part": "train", "labels": 0}, "labels must be a multiple of 6"),
        ({"part": "train", "labels": 60000}, "labels must be a multiple of 6"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        brain_regions(**arguments)
