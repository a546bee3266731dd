"""MedMNIST's archives; what is refused is in the tests of `files`."""

import numpy as np
import pytest

from fusion.data.sets import archives


def stored(path, **parts):
    held = {}
    for name, images in parts.items():
        held |= {f"{name}_images": images, f"{name}_labels": np.arange(len(images))[:, None] % 2}
    np.savez(path, **held)
    return path


def images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 6), dtype=np.uint8)


def test_equal_images_are_one_group(tmp_path):
    train = images(6, 0)
    train[4] = train[1]
    path = stored(tmp_path / "some.npz", train=train, val=images(4, 1))
    found = archives.read(path, ("train", "validation", "test"))
    assert [row for row, name in enumerate(found["train"].groups) if name == found["train"].groups[1]] == [1, 4]
    assert len(set(found["train"].units.tolist())) == len(set(found["train"].groups.tolist())) == 5
    assert found["validation"].groups is None
    assert len(set(archives.joined(found).units.tolist())) == 9
    assert archives.parts(path) == ["train", "validation"]


def test_images_in_two_parts_are_told(tmp_path):
    train = images(6, 0)
    path = stored(tmp_path / "some.npz", train=train, test=train[2:5])
    with pytest.warns(UserWarning, match=r"parts hold the same images \(train and test share 3\)"):
        archives.warn_shared(path, archives.read(path, ("train", "test")))


def test_an_archive_that_does_not_open_may_hold_anything(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    assert archives.parts(tmp_path / "bad.npz") == ["train", "validation", "test"]
