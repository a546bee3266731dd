"""From images as people have them to (N, C, H, W) exactly as a card says.

Stored values become [0, 1] by one rule: 8 and 16 bit integers are divided by their maximum, floats must already be
in [0, 1] (or, where the card has a window, in the window's unit). Nothing is guessed from the values.
"""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

from zoo.cards import Card

Picture = str | PathLike[str] | Image.Image | np.ndarray[Any, Any]
Images = Picture | Sequence[Picture]

_WEIGHTS = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601 luminance
_PLAIN = {"1": "L", "L": "L", "LA": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}


class Preprocess:
    """The card's preprocessing, as a callable: `preprocess(images)` -> float32 (N, C, H, W)."""

    def __init__(self, card: Card) -> None:
        self.name, self.input = card.name, card.input

    def __call__(self, images: Images) -> Tensor:
        """Turn images into the encoder's input.

        Args:
            images: A path (PNG, JPEG, TIFF), a PIL image, an array, or a sequence of these. A single array is
                a batch: (N, H, W) or (N, H, W, C); inside a sequence it is one image: (H, W) or (H, W, C).
                uint8 and uint16 use their full range, floats are in [0, 1].

        Returns:
            (N, C, size, size), scaled to the card's range and normalised by its mean and std.

        Raises:
            ValueError: An image has a wrong rank, channel count or range, is empty or cannot be decoded.
            TypeError: An image is of no known kind, or its numbers are of no known type.
        """
        if self.input.mean is None or self.input.std is None:
            raise ValueError(f"{self.name}: mean and std must be known (got None). Set them in an own card.")
        pictures = [self._one(pixels) for pixels in _each(images)]
        if not pictures:
            raise ValueError("images must hold at least one image (got none). Check the folder or list.")
        low, high = self.input.range
        scaled = low + (high - low) * torch.stack(pictures)  # N times (C, H, W) -> (N, C, H, W)
        return cast(Tensor, functional.normalize(scaled, self.input.mean, self.input.std))

    def _one(self, pixels: np.ndarray[Any, Any]) -> Tensor:
        picture = self._channels(torch.from_numpy(np.ascontiguousarray(self._scale(pixels))).permute(2, 0, 1))
        return self._resize(picture).clamp(0, 1)  # bicubic overshoots

    def _scale(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if self.input.window is not None and pixels.dtype.kind == "f":
            low, high = self.input.window
            return ((pixels - low) / (high - low)).clip(0, 1).astype(np.float32)
        return unit(pixels)

    def _channels(self, picture: Tensor) -> Tensor:
        have, want = len(picture), self.input.channels
        if have == want:
            return picture
        return picture.expand(3, -1, -1) if want == 3 else (picture * _WEIGHTS).sum(0, keepdim=True)

    def _resize(self, picture: Tensor) -> Tensor:
        size, mode = self.input.size, InterpolationMode(self.input.interpolation)
        shorter = round(size / self.input.crop_pct)
        if self.input.resize == "squash":
            target = [size, size]
        else:
            scale = shorter / min(picture.shape[1:])
            target = [max(size, round(side * scale)) for side in picture.shape[1:]]
        if list(picture.shape[1:]) != target:
            picture = functional.resize(picture, target, interpolation=mode, antialias=True)
        return cast(Tensor, functional.center_crop(picture, [size, size]))


def unit(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Scale stored values to float32 in [0, 1]: integers by their type's maximum, floats must already be there."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
    if pixels.dtype.kind == "b":
        return pixels.astype(np.float32)
    if pixels.dtype.kind != "f":
        raise TypeError(f"images must be uint8, uint16 or float in [0, 1] (got {pixels.dtype}). Convert them first.")
    # Written so that NaN fails too.
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(
            f"float images must lie in [0, 1] (got {pixels.min():g} to {pixels.max():g}). Rescale them, or pass uint8."
        )
    return pixels.astype(np.float32)


def _each(images: Any) -> Iterator[np.ndarray[Any, Any]]:
    if isinstance(images, np.ndarray) and images.dtype != object:
        if images.ndim not in (3, 4):
            raise ValueError(f"an array of images must be (N, H, W) or (N, H, W, C) (got {images.shape}). Try x[None].")
        yield from map(_with_channels, images)
    elif isinstance(images, str | PathLike | Image.Image):
        yield _pixels(images)
    elif isinstance(images, Sequence | np.ndarray):
        yield from map(_pixels, images)
    else:
        raise TypeError(f"images must be paths, PIL images or arrays (got {type(images).__name__}). Convert them.")


def _pixels(image: Any) -> np.ndarray[Any, Any]:
    if isinstance(image, np.ndarray):
        return _with_channels(image)
    if isinstance(image, Image.Image):
        return _with_channels(_decoded(image))
    if isinstance(image, str | PathLike):
        return _with_channels(_read(Path(image)))
    raise TypeError(f"an image must be a path, PIL image or array (got {type(image).__name__}). Convert it first.")


def _read(path: Path) -> np.ndarray[Any, Any]:
    try:
        with Image.open(path) as image:
            return _decoded(image)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(
            f"image must be a readable PNG, JPEG or TIFF (got {str(path)!r}: {error}). Replace it."
        ) from None


def _decoded(image: Image.Image) -> np.ndarray[Any, Any]:
    if image.mode.startswith("I;16"):
        return np.asarray(image, dtype=np.uint16)
    if image.mode not in _PLAIN:
        raise TypeError(f"an image must have 8 or 16 bits a channel (got mode {image.mode!r}). Pass an array instead.")
    return np.asarray(image.convert(_PLAIN[image.mode]))


def _with_channels(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if pixels.ndim == 2:
        pixels = pixels[..., None]  # (H, W) -> (H, W, 1)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise ValueError(f"an image must be (H, W) or (H, W, 1 or 3), not empty (got {pixels.shape}). Check its axes.")
    return pixels
