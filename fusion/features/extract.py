"""Frozen features: images through an encoder in batches, without gradients."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import zoo
from fusion.features import taps as taps_
from fusion.features.taps import Taps

Floats = npt.NDArray[np.float32]
Compute = Callable[[zoo.Encoder, Tensor], list[Tensor]]
Change = Callable[[Tensor], Tensor]  # of pixels (N, C, H, W) in [0, 1]
Beside = Callable[[Tensor], list[Tensor]]  # of preprocessed images, what is wanted beside their features

BATCH = 64


def loaded(encoders: Sequence[str | zoo.Encoder], device: str) -> list[zoo.Encoder]:
    """The encoders by name or as they are, on the device.

    Raises:
        ValueError: There is no such device, or two encoders have one name.
        TypeError: One is `Taps`.
    """
    check_plain(encoders)
    found = [encoder if isinstance(encoder, zoo.Encoder) else zoo.load(encoder) for encoder in encoders]
    _check_different([encoder.name for encoder in found])
    return placed(found, device)


def tapped(encoders: Sequence[str | zoo.Encoder | Taps], device: str) -> list[Taps]:
    """The encoders by name, with several depths too, or as they are, on the device.

    Raises:
        ValueError: There is no such device, or two blocks have one name.
    """
    found = [taps_.load(e) if isinstance(e, str) else e if isinstance(e, Taps) else taps_.whole(e) for e in encoders]
    _check_different([name for taps in found for name in taps.blocks])
    there = placed([taps.encoder for taps in found], device)
    return [replace(taps, encoder=encoder) for taps, encoder in zip(found, there, strict=True)]


def check_plain(encoders: Sequence[str | zoo.Encoder | Taps]) -> None:
    """Refuse `Taps` where the features of one depth are wanted.

    Raises:
        TypeError: One is `Taps`.
    """
    for own in encoders:
        if isinstance(own, Taps):
            raise TypeError(f"encoders must be names or zoo.Encoder (got Taps, {own.name}). Pass its .encoder.")


def _check_different(names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"encoders must differ in name or depth (got {names}). Give one a card with another name.")


def placed(encoders: Sequence[zoo.Encoder], device: str) -> list[zoo.Encoder]:
    """Give the encoders on the device; one that lies elsewhere is copied.

    Raises:
        ValueError: There is no such device.
    """
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError):  # torch's ways to say that it is unknown, or absent
        raise ValueError(f"device must be auto or one that is there (got {device!r}). Try device='auto'.") from None
    return [_on(encoder, place) for encoder in encoders]


def _on(encoder: zoo.Encoder, place: str) -> zoo.Encoder:
    have, want = next(encoder.parameters()).device, torch.device(place)
    there = have == want or (want.index is None and have.type == want.type)
    return encoder if there else copy.deepcopy(encoder).to(place)  # the caller's stays where it is


def extract(encoder: str | zoo.Encoder, images: Any, *, batch: int = BATCH) -> Floats:
    """(N, D) features of `images`, in the order given; the encoder is left as it was, BatchNorm statistics included.

    Args:
        encoder: A name, `name@depth`, or what `zoo.load` gives.
        images: Anything `encoder.preprocess` takes; a single array is a batch.
        batch: Images at a time.

    Raises:
        ValueError: Features are not finite, or as `encoder.preprocess`.
        TypeError: The encoder is `Taps`.
    """
    check_plain([encoder])
    network = zoo.load(encoder) if isinstance(encoder, str) else encoder
    return _run(network, images, batch, lambda own, x: [own(x)])[0]


def blocks(taps: Taps, images: Any, *, batch: int = BATCH, beside: Beside | None = None) -> list[Floats]:
    """(N, D_l) features of `images` for each of the depths, from one pass; arguments as in `extract`.

    What `beside` gives of the same preprocessed images comes behind them: nothing is read twice.
    """
    return _run(taps.encoder, images, batch, lambda own, x: _tapped(own, x, taps, beside))


def varied(
    taps: Taps, images: Any, changes: Sequence[Change], *, batch: int = BATCH, beside: Beside | None = None
) -> list[list[Floats]]:
    """`blocks` of `images` as they are and after each change, all from one decoding: 1 + len(changes) lists.

    Args:
        taps: As in `blocks`.
        images: As in `extract`.
        changes: Such as `fusion.data.shifts.shift` of one name.
        batch: Images at a time.
        beside: As in `blocks`.
    """

    def compute(own: zoo.Encoder, x: Tensor) -> list[Tensor]:
        views = [x, *(own.preprocess.varied(x, change) for change in changes)]
        return [block for view in views for block in _tapped(own, view, taps, beside)]

    found = _run(taps.encoder, images, batch, compute)
    count = len(found) // (1 + len(changes))
    return [found[start : start + count] for start in range(0, len(found), count)]


def copied(
    taps: Taps,
    images: Any,
    parts: Sequence[tuple[npt.NDArray[np.int64], Sequence[Change]]],
    *,
    batch: int = BATCH,
    beside: Beside | None = None,
) -> list[Floats]:
    """Blocks (M, D_l) of images and of copies: part by part the images, then these after each change.

    Args:
        taps: As in `blocks`.
        images: As in `extract`.
        parts: Which images (n,) are copied by which changes, such as `fusion.data.shifts.copies`.
        batch: Images at a time.
        beside: As in `blocks`.
    """
    given = zoo.listed(images)
    some = [(given[index] if isinstance(given, np.ndarray) else [given[i] for i in index], c) for index, c in parts]
    views = [view for own, changes in some for view in varied(taps, own, changes, batch=batch, beside=beside)]
    return [np.concatenate(block) for block in zip(*views, strict=True)]


def _tapped(own: zoo.Encoder, x: Tensor, taps: Taps, beside: Beside | None) -> list[Tensor]:
    return [*own.at_depths(x, taps.places), *(beside(x) if beside else [])]


def levels(encoder: zoo.Encoder, images: Any, *, batch: int = BATCH) -> list[Floats]:
    """The features at the end of every kept block, from one pass: for each of `encoder.depths` (N, D_l).

    They equal `extract` of the encoder truncated there.
    """
    return _run(encoder, images, batch, zoo.Encoder.at_depths)


def quarters(encoder: zoo.Encoder, images: Any, *, batch: int = BATCH) -> list[Floats]:
    """Return those of `levels` that end a quarter."""
    found = zip(encoder.depths, levels(encoder, images, batch=batch), strict=True)
    return [level for depth, level in found if depth * 4 % 1 == 0]


def batches(encoder: zoo.Encoder, images: Any, compute: Compute, *, batch: int = BATCH) -> Iterator[list[Floats]]:
    """Compute features of preprocessed images batch by batch, in `eval()` mode and without gradients.

    The encoder is left as it was, module by module: what computes is its twin.

    Args:
        encoder: Of any floating type; features are float32.
        images: Anything `encoder.preprocess` takes.
        compute: A method of `zoo.Encoder`, such as `zoo.Encoder.maps`.
        batch: Images at a time.
    """
    if isinstance(batch, bool) or not isinstance(batch, int | np.integer) or batch < 1:
        raise ValueError(f"batch must be an integer from 1 (got {batch!r}). Try batch={BATCH}.")
    given, resting = zoo.listed(images), encoder.at_rest()
    doubts: list[str] = []
    for start in range(0, len(given), batch):
        yield _computed(resting, resting.preprocess(given[start : start + batch], doubts=doubts), compute)
    resting.preprocess.tell(doubts, len(given))  # once, however many batches there were


@torch.inference_mode()
def _computed(encoder: zoo.Encoder, x: Tensor, compute: Compute) -> list[Floats]:
    return [value.float().cpu().numpy() for value in compute(encoder, x.to(next(encoder.parameters())))]


def _run(encoder: zoo.Encoder, images: Any, batch: int, compute: Compute) -> list[Floats]:
    parts = list(batches(encoder, images, compute, batch=batch))
    if not parts:  # of no image the features of none, as wide as those of any
        how = encoder.card.input
        blank = torch.zeros(1, how.channels, how.size, how.size)
        return [level[:0] for level in _computed(encoder.at_rest(), blank, compute)]
    found = [cast(Floats, np.concatenate(column)) for column in zip(*parts, strict=True)]
    if not all(np.isfinite(level).all() for level in found):
        raise ValueError(f"features of {encoder.name} must be finite (got others). Check its weights, or try .float().")
    return found
