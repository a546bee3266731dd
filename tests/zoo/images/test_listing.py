"""Whatever holds images becomes one list, or stays a batch."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import zoo

PICTURE = Image.new("L", (4, 4))
BATCH = np.zeros((2, 4, 4), np.uint8)


class Table(dict):
    """What pandas' DataFrame is to `listed`: columns, rows by number, a column by name."""

    iloc = None

    @property
    def columns(self):
        return list(self)


class Series:
    """What pandas' Series is: an iterable of its values, and no `columns`."""

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("a.png", ["a.png"]),
        (Path("a.png"), [Path("a.png")]),
        (np.str_("a.png"), ["a.png"]),
        (PICTURE, [PICTURE]),
        (np.array(["a.png", "b.png"]), ["a.png", "b.png"]),
        (np.array([b"a.png", b"b.png"]), ["a.png", "b.png"]),
        (np.array("a.png"), ["a.png"]),
        (np.array([Path("a"), PICTURE], dtype=object), [Path("a"), PICTURE]),
        (np.array(["a"], dtype=np.dtypes.StringDType()), ["a"]),
        (("a.png", "b.png"), ["a.png", "b.png"]),
        ((name for name in "ab"), ["a", "b"]),
        (Series(["a", "b"]), ["a", "b"]),
        (Table(path=["a"], label=["x"]), ["a"]),
        (Table(file=["a", "b"]), ["a", "b"]),
        ([], []),
        ((), []),
        (np.array([]), []),
    ],
)
def test_what_holds_images_becomes_a_list(images, expected):
    assert zoo.listed(images) == expected


@pytest.mark.parametrize("images", [BATCH, BATCH[:0], BATCH.astype(">u2"), BATCH[0]])
def test_an_array_of_numbers_stays_one(images):
    assert zoo.listed(images) is images


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (3, TypeError, "images must be paths, PIL images or arrays"),
        (None, TypeError, r"\(got NoneType\)"),
        (b"a.png", TypeError, r"\(got bytes\)"),
        ({"a.png": 1}, TypeError, r"\(got dict\)"),
        ({"a.png"}, TypeError, r"\(got set\)"),
        (torch.zeros(1, 4, 4), ValueError, r"must be \(N, C, H, W\) with 1 or 3 channels \(got \(1, 4, 4\)\)"),
        (torch.zeros(1, 4, 4, 3), ValueError, r"with 1 or 3 channels \(got \(1, 4, 4, 3\)\)\. Try x\[:, None\]"),
        (torch.utils.data.Dataset(), TypeError, r"\(got Dataset\)"),
        (SimpleNamespace(columns=1), TypeError, r"\(got SimpleNamespace\)"),
        (np.array([["a"]]), ValueError, r"must be 1-D \(got \(1, 1\)\)\. Pass a list of paths or images"),
        (Table(label=[1]), ValueError, r"one of the columns path, image, file \(got \['label'\]\)"),
        (Table(path=[1], file=[2]), ValueError, r"\(got \['path', 'file'\]\)\. Pass the column itself"),
    ],
)
def test_what_holds_none_is_refused(images, error, message):
    with pytest.raises(error, match=message):
        zoo.listed(images)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_a_tensor_has_its_channels_last(kind):
    tensor = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5).to(kind)
    found = zoo.listed(tensor)
    assert found.shape == (2, 4, 5, 3)
    assert found[1, 2, 3, 0] == tensor[1, 0, 2, 3]
    assert found.dtype == (np.uint8 if kind is torch.uint8 else np.float32)
