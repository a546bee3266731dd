"""The one container: what is taken and drawn from it, and what tells it from others."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusion import brain_regions
from fusion.data import files, samples
from fusion.data.samples import Samples


def part(sizes, groups=None):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return Samples(np.arange(len(labels)), labels, groups)


@pytest.mark.parametrize(
    ("labels", "counts"), [(6, [2, 2, 2]), (10, [4, 4, 2]), (17, [5, 10, 2]), (0.5, [2, 5, 2]), (0.01, [2, 2, 2])]
)
def test_draws_are_as_equal_as_the_classes_allow(labels, counts):
    drawn = samples.draw(part([5, 10, 2]), labels, 0)
    assert np.bincount(drawn.labels).tolist() == counts
    assert len(set(drawn.images)) == sum(counts)
    assert not np.array_equal(drawn.images, samples.draw(part([5, 10, 2]), labels, 1).images) or sum(counts) == 17
    np.testing.assert_array_equal(drawn.images, samples.draw(part([5, 10, 2]), labels, 0).images)


def test_draws_that_cannot_be():
    with pytest.raises(ValueError, match=r"labels must be at most the training images, 17 \(got 18\)"):
        samples.draw(part([5, 10, 2]), 18, 0)
    with pytest.raises(ValueError, match=r"labels must be at least the classes, 3 \(got 2\)"):
        samples.draw(part([5, 10, 2]), 2, 0)


def test_several_labels_per_image_are_drawn_too():
    labels = np.eye(4, dtype=int)[np.arange(20) % 4]
    drawn = samples.draw(Samples(np.arange(20), labels, None), 8, 0)
    assert drawn.labels.shape == (8, 4)
    assert len(samples.draw(Samples(np.arange(20), labels, None), 0.25, 0)) == 5


def test_the_fingerprint_tells_data_apart(tmp_path):
    images = np.zeros((3, 4, 4), np.uint8)
    base = Samples(images, np.array(["a", "b", "a"]), None)
    others = [
        Samples(images + 1, base.labels, None),
        Samples(images, base.labels[::-1][[0, 0, 1]], None),
        Samples(images, base.labels, np.array(["p", "p", "q"])),
    ]
    assert len({samples.fingerprint(p) for p in [base, *others]}) == 4
    for name, text in (("x", "1"), ("y", "22")):
        (tmp_path / name).write_text(text)
    files = [tmp_path / "x", tmp_path / "y"]
    first = samples.fingerprint(Samples(files, np.array([0, 1]), None))
    files[1].write_text("333")
    assert samples.fingerprint(Samples(files, np.array([0, 1]), None)) != first


def test_labels_by_name_of_one_label_each(folder):
    found = files.read(folder)
    assert found.named() == found.labels.tolist() == ["cat"] * 3 + ["dog"] * 3
    assert found.classes == ["cat", "dog"]
    assert found.names is None


def test_a_fingerprint_tells_images_names_targets_and_order(tmp_path):
    images, numbers = np.random.default_rng(0).integers(0, 255, (3, 4, 4), dtype=np.uint8), np.array([0, 1, 1])

    def printed(images, numbers, groups=None):
        return samples.fingerprint(Samples(images, numbers, groups))

    first = printed(images, numbers)
    assert re.fullmatch("[0-9a-f]{20}", first)
    assert first == printed(images.copy(), numbers.copy())
    pictures = [Image.fromarray(image) for image in images]
    assert printed(list(images), numbers) == printed(pictures, numbers)
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png", "d.png")]
    for path, picture in zip(paths, [*pictures, pictures[2]], strict=True):
        picture.save(path)
    others = [
        printed(images[::-1], numbers),
        printed(images, numbers[::-1].copy()),
        printed(images, numbers, np.array(["p", "p", "q"])),
        printed(images[:2], numbers[:2]),
        printed(paths[:3], numbers),
        printed(paths[2::-1], numbers),
        printed([*paths[:2], paths[3]], numbers),  # the same bytes under another name
    ]
    assert len({first, *others}) == 8
    assert printed(paths[:3], numbers) == printed([str(path) for path in paths[:3]], numbers)
    changed = images.copy()
    changed[2, 3, 3] ^= 1
    assert printed(changed, numbers) != first
    pictures[0].rotate(90).save(paths[0])
    assert printed(paths[:3], numbers) not in others


def test_a_fingerprint_is_of_all_parts_in_order_and_of_slices_their_volume(tmp_path):
    one, other = (Samples(np.full((2, 4, 4), value), np.array([0, 1])) for value in (1, 2))
    assert samples.fingerprint(one, other) != samples.fingerprint(other, one)
    assert samples.fingerprint(one) != samples.fingerprint(one, one)
    (tmp_path / "brain.nii.gz").write_bytes(b"first")
    slices = [tmp_path / "brain.nii.gz:7", tmp_path / "brain.nii.gz:42"]
    first = samples.fingerprint(Samples(slices, np.array([0, 1])))
    assert first != samples.fingerprint(Samples(slices[::-1], np.array([0, 1])))
    (tmp_path / "brain.nii.gz").write_bytes(b"second")
    assert first != samples.fingerprint(Samples(slices, np.array([0, 1])))


def test_some_of_the_images_are_taken_in_the_order_given():
    labels = np.array([[1, 0], [0, 1], [1, 1]])
    whole = Samples(["a.png", Path("b.png"), np.zeros((2, 2))], labels, np.array(["p", "q", "r"]), ["mass", "node"])
    found = whole.take([2, 0])
    assert found.images[1] == "a.png"
    assert (found.labels.tolist(), found.groups.tolist()) == ([[1, 1], [1, 0]], ["r", "p"])
    assert found.names == ["mass", "node"] == found.classes
    assert found.named() == [["mass", "node"], ["mass"]]
    assert [whole.name(row) for row in range(3)] == ["a.png", "b.png", "image 2"]
    assert whole.held(whole.classes).tolist() == [[True, False], [False, True], [True, True]]
    bare = Samples(np.arange(12).reshape(3, 2, 2), np.array(["b", "a", "b"])).take(np.array([1, 2]))
    assert (bare.images.tolist(), bare.groups) == ([[[4, 5], [6, 7]], [[8, 9], [10, 11]]], None)
    assert bare.held(["a", "b", "c"]).tolist() == [[True, False, False], [False, True, False]]


def test_an_image_listed_twice_is_drawn_once():
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5), dtype=np.uint8)
    part = Samples(images[[0, 1, 2, 3, 4, 5, 0, 1, 0]], np.array([0, 0, 0, 1, 1, 1, 0, 0, 0]))
    for labels in (6, 1.0):
        drawn = samples.draw(part, labels, 0)
        assert len({image.tobytes() for image in drawn.images}) == len(drawn) == 6
    assert samples.draw(part, None, 0) is part
    with pytest.raises(ValueError, match=r"at most the training images, 6 \(got 7\)"):
        samples.draw(part, 7, 0)


def test_slices_of_a_volume_are_drawn_each(tmp_path):
    (tmp_path / "brain.nii.gz").write_bytes(b"volume")
    part = Samples([tmp_path / f"brain.nii.gz:{k % 4}" for k in range(6)], np.array([0, 1] * 3))
    assert len(samples.draw(part, 4, 0)) == 4
    assert part.units.tolist() == [0] * 6


def test_digests_are_of_images_and_groups(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 5), dtype=np.uint8)
    whole = Samples(images, np.array([0, 1, 0]), np.array(["p", "q", "q"]))
    assert len(samples.digests(whole)) == 5
    assert samples.overlap(whole.take([2]), samples.digests(whole.take([1]))) == [0]  # the same patient
    assert samples.overlap(Samples(255 - images, whole.labels), samples.digests(whole)) == []
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    one, other = (Samples([tmp_path / name], np.array([0])) for name in ("a.png", "b.png"))
    assert samples.digests(one) == samples.digests(other)
    with pytest.raises(ValueError, match="groups must be known"):
        samples.digests(Samples(images, whole.labels, np.array(["p", "", "q"])))


def test_slabs_of_another_brain_are_others():
    seen = samples.digests(brain_regions("train"))
    for part in ("validation", "test"):
        assert samples.overlap(brain_regions(part), seen) == []
