"""Acquisition shifts: what another scanner may do to an image without changing its answer, by name and fixed.

Each is one strength, in both directions where there are two, chosen before any result and the same for all data: a
choice that is made under them is reproducible, and what they do is known. They are for judging and choosing; what a fit
draws at random is in `fusion.data.augmentation`.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

Ints = npt.NDArray[np.int64]
Shift = Callable[[Tensor], Tensor]  # (N, C, H, W) float32 in [0, 1] -> the same
Part = tuple[Ints, list[Shift]]  # images (n,), and the shifts that each of them is copied by

# Those that probes are fitted on where they are to stand another scanner: half of the kinds, fixed when only the others
# judged (tests/benchmarks/test_shifts.py).
FITTED = ("darker", "bias field", "blurred", "noisy", "zoomed out")

MANY = 1000  # of so many images and more each is copied by one kind, in turn: together they show them all

_BLUR = 1 / 64  # of the shorter side: one pixel of 64
_NOISE = 0.05


def shift(images: Tensor, name: str) -> Tensor:
    """Apply one shift to every image; it depends on the image and the name alone, never on the batch.

    Args:
        images: (N, C, H, W) float in [0, 1], before the card's normalisation.
        name: One of `names()`.

    Returns:
        (N, C, H, W) in [0, 1], of the dtype and on the device of `images`.

    Raises:
        ValueError: The name is unknown, or images are not (N, C, H, W).
    """
    if name not in SHIFTS:
        raise ValueError(f"shift must be one of {names()} (got {name!r}). Choose one of them.")
    if images.ndim != 4:
        raise ValueError(f"images must be (N, C, H, W) (got {tuple(images.shape)}). Check the axes.")
    held = images.float().clamp(0, 1)  # what was normalised and is not any more may be a little below 0
    return SHIFTS[name](held).clamp(0, 1).to(images)


def names() -> list[str]:
    """The shifts, in their order."""
    return list(SHIFTS)


def copies(count: int) -> list[Part]:
    """Which of `count` images are copied by which of `FITTED`: all by all, or where they are many each by one."""
    index = np.arange(count)
    if count < MANY:
        return [(index, fitted())]
    return [(index[place :: len(FITTED)], [kind]) for place, kind in enumerate(fitted())]


def fitted() -> list[Shift]:
    """The shifts of `FITTED`."""
    return [partial(shift, name=name) for name in FITTED]


def rows(parts: Sequence[Part]) -> Ints:
    """(M,) which image each is or is a copy of: part by part the images as they are, then those under each shift."""
    return np.concatenate([np.tile(index, 1 + len(kinds)) for index, kinds in parts])


def _bias_field(images: Tensor) -> Tensor:
    """A coil that is nearer to one corner: from 0.6 to 1.4 times the value."""
    height, width = images.shape[-2:]
    down = torch.linspace(-0.2, 0.2, height, device=images.device)[:, None]
    right = torch.linspace(-0.2, 0.2, width, device=images.device)[None]
    return images * (1 + down + right)


def _blurred(images: Tensor) -> Tensor:
    sigma = _BLUR * min(images.shape[-2:])
    size = 2 * max(1, round(3 * sigma)) + 1
    blurred: Tensor = functional.gaussian_blur(images, [size, size], [sigma, sigma])
    return blurred


def _sharpened(images: Tensor) -> Tensor:
    return images + 1.5 * (images - _blurred(images))


def _noisy(images: Tensor) -> Tensor:
    """Each image under the seed of its own pixels."""
    return torch.stack([image + _NOISE * _normal(image) for image in images]) if len(images) else images


def _normal(image: Tensor) -> Tensor:
    levels = (255 * image).round().byte()  # of 8 bits: the same whatever the type of the image
    generator = torch.Generator().manual_seed(zlib.crc32(levels.cpu().contiguous().numpy().tobytes()))
    return torch.randn(image.shape[-2:], generator=generator).to(image.device)  # alike in all channels


def _moved(*, angle: float = 0, zoom: float = 1, shear: float = 0, right: float = 0) -> Shift:
    """About the centre; what comes in from outside is black."""

    def move(images: Tensor) -> Tensor:
        moved: Tensor = functional.affine(
            images,
            angle=angle,
            translate=[right * images.shape[-1], 0],
            scale=zoom,
            shear=[shear, 0],
            interpolation=InterpolationMode.BILINEAR,
        )
        return moved

    return move


SHIFTS: dict[str, Shift] = {
    "darker": lambda images: images**1.6,  # contrast between tissues, or the tube's voltage: gamma
    "lighter": lambda images: images**0.625,
    "bias field": _bias_field,  # of a coil, or the heel effect of a tube
    "dimmed": lambda images: 0.7 * images,  # another scale of values
    "blurred": _blurred,  # a thicker slice, a softer kernel
    "sharpened": _sharpened,  # a harder kernel
    "noisy": _noisy,  # a lower dose, a shorter scan
    "zoomed in": _moved(zoom=1.15),  # a smaller field of view
    "zoomed out": _moved(zoom=0.87),
    "turned": _moved(angle=7, shear=4, right=0.04),  # positioning
}
