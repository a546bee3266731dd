"""What the names of a study's encoders stand for: a card, random weights (`untrained:CARD`), or the brain-MR VGG16."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

import zoo
from fusion.study import brain_mr
from fusion.study.grid import Facts

RANDOM = "untrained:"  # no card's name has a colon

Window = Sequence[float] | None

_BATCH = 64


def load(
    name: str, *, untrained: bool = False, seed: int = 0, size: int | None = None, window: Window = None
) -> zoo.Encoder:
    """The encoder of a name, `name@depth`.

    Args:
        name: As in a config.
        untrained: Random weights, whatever the name says.
        seed: Of random weights.
        size: Side of the input of networks with random weights; None takes the card's.
        window: By which images are read; None takes the card's.

    Raises:
        Absent: It is optional, and its package is not installed.
        ValueError: The card has another window.
    """
    if untrained or is_random(name):
        return zoo.untrained(name.removeprefix(RANDOM), seed=seed, size=size, window=window)
    stem, depth = zoo.split_name(name)
    return brain_mr.load(depth, window=window) if stem == brain_mr.NAME else zoo.load(name, window=window)


def warm_norms(encoder: zoo.Encoder, images: Any) -> None:
    """Give BatchNorm the statistics of these images, in place, as that of a trained encoder has those of its own.

    Without any, random features in use are not what they are in training: a head standardised by the former meets
    the latter with a mean size of 3,000 deviations in a ResNet-50, instead of 0.8, and learns next to nothing.
    """
    norms = [module for module in encoder.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True  # None: the plain mean over batches
    doubts: list[str] = []
    with torch.inference_mode():
        for rows in np.array_split(np.arange(len(images)), -(-len(images) // _BATCH)) if norms else ():
            encoder(encoder.preprocess(images[rows[0] : rows[-1] + 1], doubts=doubts))
    encoder.preprocess.tell(doubts, len(images) if norms else 0)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum, norm.training = momentum, False


def is_random(name: str) -> bool:
    """Tell whether the name stands for an architecture with random weights."""
    return name.startswith(RANDOM)


def card(name: str) -> zoo.Card | None:
    """The card whose weights the name stands for; None where no card has them.

    Raises:
        CardError: There is no such card.
    """
    found = None if _stem(name) == brain_mr.NAME else zoo.card(_stem(name).removeprefix(RANDOM))
    return None if is_random(name) else found


def own_window(name: str) -> Window:
    """The window that the name's card states; None where it states none."""
    return None if _stem(name) == brain_mr.NAME else zoo.card(_stem(name).removeprefix(RANDOM)).input.window


def facts(name: str) -> Facts:
    """Depth and family of an encoder by name.

    Raises:
        ValueError: There is no such encoder, or its depth is none.
    """
    stem, _ = zoo.split_name(name)
    if stem == brain_mr.NAME:
        return Facts(1.0, "supervised")
    found = zoo.card(stem.removeprefix(RANDOM))
    return Facts(found.depth.optimal, found.family)


@cache
def size(name: str) -> int:
    """Bytes of the encoder's weights in float32."""
    stem, depth = zoo.split_name(name.removeprefix(RANDOM))
    like = "supervised-natural-vgg19" if stem == brain_mr.NAME else stem  # somewhat more than VGG16
    return 4 * sum(p.numel() for p in zoo.untrained(like, depth).parameters())


def digest(name: str) -> str | None:
    """The sha256 of the weights that the name stands for, where its card knows it."""
    found = card(name)
    return found.weights.sha256 if found else None


def _stem(name: str) -> str:
    return zoo.split_name(name)[0]
