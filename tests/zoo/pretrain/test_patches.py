"""Patches: cut from foreground, of known sources, and of no test brain."""

import numpy as np
import pytest

from tests.conftest import ROOT
from zoo.pretrain import patches


def test_the_recipes_hold_no_test_brain():
    assert not [name for name in patches.READERS if "mni" in name]
    with np.load(ROOT / "fusion/data/sets/_brain_regions/colin27.npz") as file:
        held = set(file["z"][file["plane"][file["part"] == "validation"]].tolist())
    used = {z for a, b in patches.COLIN_TRAINING for z in range(a, b)}
    assert not held & used


def test_unknown_patches_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"patches must name known sources \(got \['mni152'\]\)"):
        patches.cut(tmp_path, {"mni152": 1}, 0)


def test_patches_are_cut_from_foreground():
    plane = np.zeros((200, 200), np.float32)
    plane[100:] = 0.5
    drawn = patches._draw([plane], 20, np.random.default_rng(0))
    assert drawn.shape == (20, 64, 64)
    assert all((patch > 13).mean() >= 0.4 for patch in drawn)
    with pytest.raises(ValueError, match="patches must be at most 0 for this source"):
        patches._draw([np.zeros((100, 100), np.float32)], 1, np.random.default_rng(0))


def test_patches_repeat_by_seed_and_are_shuffled(tmp_path, monkeypatch):
    """Of two sources of one value each, so that a patch tells where it is from."""
    planes = {"dark": np.full((80, 80), 0.2, np.float32), "bright": np.full((64, 64), 1.0, np.float32)}
    monkeypatch.setattr(patches, "READERS", {name: lambda folder, p=plane: [p] for name, plane in planes.items()})
    first = patches.cut(tmp_path, {"dark": 6, "bright": 10}, 0)
    assert (first.shape, first.dtype) == ((16, 64, 64), np.uint8)
    kinds = first[:, 0, 0].tolist()
    assert sorted(kinds) == [51] * 6 + [255] * 10
    assert kinds not in ([51] * 6 + [255] * 10, [255] * 10 + [51] * 6)
    assert (patches.cut(tmp_path, {"bright": 10, "dark": 6}, 0) == first).all()
    assert (patches.cut(tmp_path, {"dark": 6, "bright": 10}, 1) != first).any()
