"""What a model remembers of a data set."""

import numpy as np
import pytest
from PIL import Image

from fusion import brain_regions
from fusion.data import units
from fusion.data.samples import Samples


def test_digests_are_of_images_and_groups(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 5), dtype=np.uint8)
    whole = Samples(images, np.array([0, 1, 0]), np.array(["p", "q", "q"]))
    assert len(units.digests(whole)) == 5
    assert units.overlap(whole.take([2]), units.digests(whole.take([1]))) == [0]  # the same patient
    assert units.overlap(Samples(255 - images, whole.labels), units.digests(whole)) == []
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    one, other = (Samples([tmp_path / name], np.array([0])) for name in ("a.png", "b.png"))
    assert units.digests(one) == units.digests(other)
    with pytest.raises(ValueError, match="groups must be known"):
        units.digests(Samples(images, whole.labels, np.array(["p", "", "q"])))


def test_slabs_of_another_brain_are_others():
    seen = units.digests(brain_regions("train"))
    for part in ("validation", "test"):
        assert units.overlap(brain_regions(part), seen) == []
