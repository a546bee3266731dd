"""From images as people have them to (N, C, H, W) exactly as a card says.

Stored values become [0, 1] by one rule, which `Preprocess.rule` tells in words: 8 and 16 bit integers are divided by
their maximum, floats must already be in [0, 1] (or, where the card has a window, in the window's unit), and files say
what theirs are (see `zoo.images.reading`). Nothing is guessed from the values.

Size: what has 8 bits a channel is resized and cropped as timm's transform for evaluation does it, to the pixel: by
Pillow, in 8 bits. On purpose otherwise: 16 bits, DICOM, NIfTI and floats are resized in float32, on the same grid,
since 8 bits would lose what they hold; colour for a grey card becomes luminance after the resize, in floats, not
Pillow's rounded `L`; `pad` fills right and bottom with black where timm's `border` fills all around with the mean.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import TypeVar, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

from zoo.images.doubt import doubt
from zoo.images.guards import LIMIT
from zoo.images.listing import listed
from zoo.images.reading import shown, stored
from zoo.images.scale import Array, unit
from zoo.registry.cards import Card

Picture = str | PathLike[str] | Image.Image | Array
Images = Picture | Sequence[Picture]
_Sized = TypeVar("_Sized", Tensor, Image.Image)

# torch's own `nearest` takes the pixel at a corner; Pillow, and so timm, the one in the middle.
_MODES = {"nearest": InterpolationMode.NEAREST_EXACT}
_WEIGHTS = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601 luminance


class Preprocess:
    """The card's preprocessing, as a callable: `preprocess(images)` -> float32 (N, C, H, W)."""

    def __init__(self, card: Card) -> None:
        self.name, self.input = card.name, card.input

    def __call__(self, images: Images, *, limit: int = LIMIT, doubts: list[str] | None = None) -> Tensor:
        """Turn images into the encoder's input.

        Args:
            images: A path (PNG, JPEG, TIFF, WebP, BMP, GIF, DICOM, `volume.nii.gz:SLICE`), a PIL image, an array, or
                whatever `zoo.listed` makes a list of these. A single array is a batch: (N, H, W) or (N, H, W, C);
                inside a sequence it is one image: (H, W) or (H, W, C). uint8 and uint16 use their full range; floats
                are in [0, 1], or in the unit of the card's window where it has one.
            limit: The most pixels of one image to decode.
            doubts: Takes what would be warned of, an entry per image, where images come in several calls: `tell` then
                warns once of all. None: this call warns of its own.

        Returns:
            (N, C, size, size), scaled to the card's range and normalised by its mean and std; N is 0 for no images.

        Raises:
            ValueError: An image has a wrong rank, channel count or range, is empty or cannot be decoded.
            TypeError: An image is of no known kind, or its numbers are of no known type.
            ImportError: A DICOM or NIfTI file is given without the extra that reads it.

        Warns:
            UserWarning: Once, where images are nearly constant, or use fewer bits than they have.
        """
        if self.input.mean is None or self.input.std is None:
            raise ValueError(
                f"{self.name}: mean and std must be known (got None). "
                f"Pass zoo.load({self.name!r}, mean=[...], std=[...])."
            )
        found: list[str] = []
        pictures = [self._one(image, limit, found) for image in _batch(listed(images))]
        if doubts is None:
            self.tell(found, len(pictures), stacklevel=3)
        else:
            doubts += found
        if not pictures:
            return torch.empty(0, self.input.channels, self.input.size, self.input.size)
        low, high = self.input.range
        scaled = low + (high - low) * torch.stack(pictures)  # N times (C, H, W) -> (N, C, H, W)
        return cast(Tensor, functional.normalize(scaled, self.input.mean, self.input.std))

    def tell(self, doubts: Sequence[str], count: int, *, stacklevel: int = 2) -> None:
        """Warn once of what calls put into `doubts`, of `count` images in all; of nothing, where there are none."""
        if doubts:
            more = f" So are {len(doubts) - 1} more of {count} images." if len(doubts) > 1 else ""
            warnings.warn(f"{doubts[0]}.{more}", UserWarning, stacklevel=stacklevel)

    def varied(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Change what was preprocessed as pixels: (N, C, H, W) as the call gives it, `change` sees [0, 1]."""
        mean, std = (torch.tensor(value).view(1, -1, 1, 1).to(x) for value in (self.input.mean, self.input.std))
        low, high = self.input.range
        pixels = (x * std + mean - low) / (high - low)
        return (change(pixels) * (high - low) + low - mean) / std

    @property
    def rule(self) -> str:
        """The rule in words: how stored values become the encoder's input."""
        window, how = self.input.window, self.input
        view = f"window {window}" if window else "the file's own VOI LUT or window, else the range of its bits"
        floats = (
            f"NIfTI (axes as stored) and float arrays: window {window}"
            if window
            else "float arrays: as they are, in [0, 1]"
        )
        crop = f" of {how.crop_pct:g} (shorter side {self._short})" if how.resize == "crop" else ""
        return (
            f"pictures, integer arrays and colour DICOM: value / type maximum; pictures turned as their EXIF says, "
            f"what is transparent on white, colour profiles left out; grey DICOM: rescale (of the frame, "
            f"else of the file, else real world values), {view}, MONOCHROME1 inverted, padding 0, "
            f"overlays left out; {floats}. "
            f"Then resized to {how.size} by {how.resize}{crop}, {how.interpolation or 'interpolation unknown'}, "
            f"scaled to {how.range}, (x - {how.mean}) / {how.std}."
        )

    @property
    def _short(self) -> int:
        return math.floor(self.input.size / self.input.crop_pct)

    def _one(self, image: Picture, limit: int, doubts: list[str]) -> Tensor:
        pixels = stored(image, self.input.window, limit=limit)
        light = shown(image, pixels, self.input.window)
        if said := doubt(image, pixels, light):
            doubts.append(said)
        if pixels.dtype == np.uint8:
            sized = self._resize(Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels))
            return self._channels(_planes(unit(np.atleast_3d(np.asarray(sized)))))
        del pixels
        return self._resize(self._channels(_planes(light))).clamp(0, 1)  # bicubic overshoots

    def _channels(self, picture: Tensor) -> Tensor:
        have, want = len(picture), self.input.channels
        if have == want:
            return picture
        return picture.expand(3, -1, -1) if want == 3 else (picture * _WEIGHTS).sum(0, keepdim=True)

    def _resize(self, picture: _Sized) -> _Sized:
        size = self.input.size
        sides = list(picture.shape[1:] if isinstance(picture, Tensor) else picture.size[::-1])
        if self.input.interpolation is None:
            if sides != [size, size]:
                raise ValueError(
                    f"{self.name}: interpolation must be known (got None). "
                    f"Pass zoo.load({self.name!r}, interpolation='bilinear') or whichever it was trained with."
                )
            return picture
        target = self._target(sides)
        if sides != target:
            mode = _MODES.get(self.input.interpolation) or InterpolationMode(self.input.interpolation)
            picture = functional.resize(picture, target, interpolation=mode, antialias=True)
        if self.input.resize == "pad":
            height, width = target
            return cast(_Sized, functional.pad(picture, [0, 0, size - width, size - height]))
        return cast(_Sized, functional.center_crop(picture, [size, size]))

    def _target(self, sides: list[int]) -> list[int]:
        """(height, width) before the crop or the padding; of a crop as timm floors it.

        Source: `timm.data.transforms_factory.transforms_imagenet_eval`, `torchvision.transforms.Resize`.
        """
        size = self.input.size
        if self.input.resize == "squash":
            return [size, size]
        if self.input.resize == "pad":
            return [max(1, side * size // max(sides)) for side in sides]
        short = self._short
        return [short if side == min(sides) else int(short * side / min(sides)) for side in sides]


def _planes(pixels: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)  # (H, W, C) -> (C, H, W)


def _batch(images: Sequence[Picture] | Array) -> Iterable[Picture]:
    if isinstance(images, list):
        return images
    pixels = np.asanyarray(images)
    while pixels.ndim > 4 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (3, 4):
        raise ValueError(f"an array of images must be (N, H, W) or (N, H, W, C) (got {pixels.shape}). Try x[None].")
    return pixels
