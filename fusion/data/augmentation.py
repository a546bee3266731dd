"""Training augmentations per modality: what may change in an image without changing its answer.

Every image is transformed under its own seed, on the CPU, so that a result depends on the image and its seed only. The
draws come in one order and none of their number or range depends on the size, apart from the speckle, which is last:
two encoders that see an image at 64 and at 224 pixels see the same view of it.
"""

import difflib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

Transform = Callable[[Tensor], Tensor]  # (C, H, W) float32 -> the same


def augment(images: Tensor, modality: str, seeds: Sequence[int]) -> Tensor:
    """Transform each image under its own seed; the global random state is left as it was.

    Args:
        images: (N, C, H, W) float in about [0, 1], C 1 or 3; before the card's normalisation.
        modality: One of `modalities()`.
        seeds: (N,) integers. Equal seeds give equal relative transforms, whatever the size.

    Returns:
        (N, C, H, W), of the dtype and on the device of `images`; colours are clamped to [0, 1] where a transform does.

    Raises:
        ValueError: The modality is unknown, the shape is another, seeds are not one per image, or images of a modality
            without an up are not square.
        TypeError: The images are not floats.
    """
    transforms = _transforms(modality)
    _check(images, seeds)
    augmented = torch.empty_like(images)
    with torch.random.fork_rng(devices=[]):
        for index, seed in enumerate(seeds):
            torch.default_generator.manual_seed(int(seed))  # torch.manual_seed would seed the accelerator as well
            image = images[index].to("cpu", torch.float32)
            for transform in transforms:
                image = transform(image)
            augmented[index] = image
    return augmented


def modalities() -> list[str]:
    """The names that `augment` knows."""
    return list(AUGMENTATIONS)


def _transforms(modality: str) -> Sequence[Transform]:
    if modality not in AUGMENTATIONS:
        near = difflib.get_close_matches(str(modality).lower(), AUGMENTATIONS, cutoff=0.5) or modalities()
        raise ValueError(f"modality must be one of {modalities()} (got {modality!r}). Try {' or '.join(near)}.")
    return AUGMENTATIONS[modality]


def _check(images: Tensor, seeds: Sequence[int]) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be (N, 1 or 3, H, W) (got {tuple(images.shape)}). Check the axes.")
    if not images.is_floating_point():
        raise TypeError(f"images must be floats in [0, 1] (got {images.dtype}). Divide by the largest value first.")
    if len(seeds) != len(images):
        raise ValueError(f"seeds must be one per image, {len(images)} (got {len(seeds)}). Draw as many.")


def _pose(*, degrees: float, shift: float, zoom: tuple[float, float]) -> Transform:
    """Turn by up to `degrees`, shift by up to the share `shift` of each side, scale within `zoom`; outside is 0, black.

    `v2.RandomAffine` rounds its shift to whole pixels, which is another shift at another size.
    """

    def move(image: Tensor) -> Tensor:
        angle, right, down, scale = torch.rand(4).tolist()
        height, width = image.shape[-2:]
        moved: Tensor = functional.affine(
            image,
            angle=degrees * (2 * angle - 1),
            translate=[shift * width * (2 * right - 1), shift * height * (2 * down - 1)],
            scale=zoom[0] + scale * (zoom[1] - zoom[0]),
            shear=[0.0, 0.0],
            interpolation=v2.InterpolationMode.BILINEAR,
        )
        return moved

    return move


def _quarter_turn(image: Tensor) -> Tensor:
    """Mirror at the diagonal half of the time; with both flips these are the eight right-angled views."""
    if image.shape[-1] != image.shape[-2]:
        raise ValueError(f"images must be square to be turned (got {tuple(image.shape[-2:])}). Crop or pad them.")
    return image.transpose(-2, -1) if torch.rand(()) < 0.5 else image


def _gamma(image: Tensor) -> Tensor:
    curved: Tensor = functional.adjust_gamma(image.clamp(0, 1), 2 ** (2 * torch.rand(()).item() - 1))
    return curved


def _speckle(image: Tensor) -> Tensor:
    """Noise that grows with the echo, alike in all channels; black stays black."""
    strength = 0.15 * torch.rand(())
    return (image * (1 + strength * torch.randn(image.shape[-2:]))).clamp(0, 1)


AUGMENTATIONS: dict[str, Sequence[Transform]] = {
    # No flip: the heart is on the left.
    "x-ray": (
        _pose(degrees=7, shift=0.05, zoom=(0.9, 1.1)),  # positioning, and the distance of the tube
        v2.ColorJitter(brightness=0.2, contrast=0.2),  # exposure
    ),
    # No flip: the liver is on the right.
    "ct": (
        _pose(degrees=7, shift=0.05, zoom=(0.9, 1.1)),  # positioning, size of the patient
        v2.ColorJitter(brightness=0.03, contrast=0.03),  # Hounsfield units are physical: only the scanner's calibration
    ),
    # No flip: a lesion is left or right.
    "mr": (
        _pose(degrees=10, shift=0.05, zoom=(0.9, 1.1)),  # positioning, size of the patient
        v2.ColorJitter(brightness=0.3, contrast=0.3),  # the unit of intensity is arbitrary
        _gamma,  # so is the contrast of tissues, between sequences and scanners
    ),
    "histology": (
        v2.RandomHorizontalFlip(),  # a section has no up and may lie either way round
        v2.RandomVerticalFlip(),  # the same
        _quarter_turn,  # the same; right angles only, as others would leave black corners
        v2.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.2, hue=0.04),  # stain, scanner
    ),
    "dermoscopy": (
        v2.RandomHorizontalFlip(),  # a lesion has no up, and skin has two sides of the body
        v2.RandomVerticalFlip(),  # the same
        _quarter_turn,  # the same
        _pose(degrees=0, shift=0.0, zoom=(1.0, 1.2)),  # distance; never below 1, which would show a black edge
        v2.ColorJitter(
            brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02
        ),  # lamp, skin; hue tells melanin, so little
    ),
    "endoscopy": (
        v2.RandomHorizontalFlip(),  # the scope rolls about its axis, the lumen bends either way
        v2.RandomVerticalFlip(),  # the same
        _pose(degrees=20, shift=0.05, zoom=(0.9, 1.2)),  # the same, and the distance to the wall
        v2.ColorJitter(brightness=0.3, contrast=0.2, saturation=0.1, hue=0.02),  # lamp; redness is a finding, so little
    ),
    # No vertical flip: the arcades and the fovea have their places.
    "fundus": (
        v2.RandomHorizontalFlip(),  # a left eye is the mirror of a right one
        _pose(degrees=10, shift=0.03, zoom=(0.95, 1.05)),  # tilt of the head, centring
        v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.1, hue=0.02),  # flash, pigment of the fundus
    ),
    # No vertical flip: the fan opens downwards, and shadows fall down.
    "ultrasound": (
        v2.RandomHorizontalFlip(),  # the probe may be held either way round
        _pose(degrees=5, shift=0.05, zoom=(0.9, 1.1)),  # angle of the probe, depth setting
        v2.ColorJitter(brightness=0.2, contrast=0.2),  # gain, dynamic range
        _speckle,  # interference, another with every frame; last, for its draws are as many as the pixels
    ),
}
