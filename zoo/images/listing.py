"""Images as people hold them, to something with a length and slices."""

import os
from collections.abc import Iterable, Mapping, Set
from typing import Any, cast

import numpy as np
from PIL import Image

from zoo.images.scale import Array

_COLUMNS = ("path", "image", "file")
_NUMBERS = "biufc"


def listed(images: Any) -> list[Any] | Array:
    """Make one list of whatever `encoder.preprocess` takes.

    Args:
        images: A path or PIL image (a list of one), an array of numbers (stays as it is: a batch), a torch tensor
            (N, C, H, W) of uint8, or of floats in [0, 1], with C 1 or 3 (becomes such an array), or paths, PIL images
            and arrays in a list, a tuple, an iterator, an array of strings or objects, a pandas Series, or a pandas
            DataFrame with exactly one of the columns `path`, `image` and `file`.

    Returns:
        Something with `len()` and slices, each of which `encoder.preprocess` takes too; empty where there is none.

    Raises:
        TypeError: It is none of these.
        ValueError: A table has none or several of these columns, or a tensor is of another shape.

    Example:
        >>> import zoo
        >>> zoo.listed("scan.png")
        ['scan.png']
    """
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if isinstance(images, np.ndarray):
        return _array(images)
    if hasattr(images, "detach") and hasattr(images, "permute"):
        return _tensor(images)
    if hasattr(images, "columns") and hasattr(images, "iloc"):
        return _column(images)
    # What else torch has would fall into its rows, a mapping into its keys, and a set has no order.
    odd = isinstance(images, bytes | bytearray | Mapping | Set) or type(images).__module__.split(".")[0] == "torch"
    if odd or not isinstance(images, Iterable):
        raise TypeError(f"images must be paths, PIL images or arrays (got {type(images).__name__}). Convert them.")
    return list(images)


def _array(images: Array) -> list[Any] | Array:
    if images.shape == (0,):
        return []
    if images.dtype.kind in _NUMBERS:
        return images
    if images.ndim > 1:
        raise ValueError(
            f"an array of paths or objects must be 1-D (got {images.shape}). Pass a list of paths or images."
        )
    found = np.atleast_1d(images).tolist()
    return [os.fsdecode(one) for one in found] if images.dtype.kind == "S" else cast(list[Any], found)


def _tensor(images: Any) -> Array:
    """(N, C, H, W) -> (N, H, W, C); half floats, of which NumPy does not know all, in 32 bits."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"a tensor of images must be (N, C, H, W) with 1 or 3 channels (got {tuple(images.shape)}). "
            "Try x[:, None] for grey images, and x[None] for a single one."
        )
    last = images.detach().cpu().permute(0, 2, 3, 1)
    return cast(Array, (last.float() if images.dtype.is_floating_point else last).numpy())


def _column(table: Any) -> list[Any]:
    found = [name for name in _COLUMNS if name in table.columns]
    if len(found) != 1:
        raise ValueError(
            f"a table of images must have one of the columns {', '.join(_COLUMNS)} (got {list(table.columns)}). "
            "Pass the column itself: list(table[NAME])."
        )
    return list(table[found[0]])
