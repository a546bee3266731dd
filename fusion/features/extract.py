"""Frozen features: images through an encoder in batches, without gradients."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import zoo

Floats = npt.NDArray[np.float32]

BATCH = 64


def loaded(encoders: Sequence[str | zoo.Encoder], device: str) -> list[zoo.Encoder]:
    """The encoders by name or as they are, on the device.

    Raises:
        ValueError: There is no such device, or two encoders have one name.
    """
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError):  # torch's ways to say that it is unknown, or absent
        raise ValueError(f"device must be auto or one that is there (got {device!r}). Try device='auto'.") from None
    found = [encoder if isinstance(encoder, zoo.Encoder) else zoo.load(encoder) for encoder in encoders]
    names = [encoder.name for encoder in found]
    if len(set(names)) < len(names):
        raise ValueError(f"encoders must differ in name or depth (got {names}). Give one a card with another name.")
    return [encoder.to(place) for encoder in found]


def extract(encoder: str | zoo.Encoder, images: Any, *, batch: int = BATCH) -> Floats:
    """(N, D) features of `images`, in the order given; the encoder is left as it was, BatchNorm statistics included.

    Args:
        encoder: A name, `name@depth`, or what `zoo.load` gives.
        images: Anything `encoder.preprocess` takes; a single array is a batch.
        batch: Images at a time.
    """
    network = zoo.load(encoder) if isinstance(encoder, str) else encoder
    return _run(network, images, batch, lambda x: [network(x)])[0]


def levels(encoder: zoo.Encoder, images: Any, *, batch: int = BATCH) -> list[Floats]:
    """The features at the end of every kept block, from one pass: for each of `encoder.depths` (N, D_l).

    They equal `extract` of the encoder truncated there.
    """
    return _run(encoder, images, batch, encoder.at_depths)


def quarters(encoder: zoo.Encoder, images: Any, *, batch: int = BATCH) -> list[Floats]:
    """Those of `levels` that end a quarter."""
    found = zip(encoder.depths, levels(encoder, images, batch=batch), strict=True)
    return [level for depth, level in found if depth * 4 % 1 == 0]


def batches(
    encoder: zoo.Encoder, images: Any, compute: Callable[[Tensor], list[Tensor]], *, batch: int = BATCH
) -> Iterator[list[Floats]]:
    """What `compute` gives for each batch of preprocessed images, in `eval()` mode and without gradients."""
    was_training = encoder.training
    encoder.eval()
    try:
        for start in range(0, len(images), batch):
            yield _batch(encoder, images[start : start + batch], compute)
    finally:
        encoder.train(was_training)


@torch.inference_mode()
def _batch(encoder: zoo.Encoder, images: Any, compute: Callable[[Tensor], list[Tensor]]) -> list[Floats]:
    x = encoder.preprocess(images).to(next(encoder.parameters()).device)
    return [value.cpu().numpy() for value in compute(x)]


def _run(encoder: zoo.Encoder, images: Any, batch: int, compute: Callable[[Tensor], list[Tensor]]) -> list[Floats]:
    parts = list(batches(encoder, images, compute, batch=batch))
    return [cast(Floats, np.concatenate(column)) for column in zip(*parts, strict=True)]
