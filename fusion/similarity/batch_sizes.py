"""How minibatch CKA depends on the size of the batch, and what the correction for few images does to it."""

from dataclasses import dataclass
from typing import Any

import zoo
from fusion.features import extract
from fusion.similarity.measures import LEAST, minibatch_cka

LARGEST = 256
IMAGES = 2 * LARGEST


@dataclass(frozen=True)
class BatchSizes:
    """Minibatch CKA between the features of two encoders, over batch sizes.

    Attributes:
        names: Of both encoders.
        sizes: Images in a batch: doublings from 4.
        debiased: A value per size.
        biased: Likewise, without the correction for few images.
        images: How many they were.
    """

    names: tuple[str, str]
    sizes: list[int]
    debiased: list[float]
    biased: list[float]
    images: int


def over_batch_sizes(first: zoo.Encoder, second: zoo.Encoder, images: Any) -> BatchSizes:
    """Batches from 4 to 256 images, of the first 512 of `images` in their order.

    Args:
        first: An encoder, compared by its features at the depth it has.
        second: Another.
        images: What `encoder.preprocess` takes, N >= 4, in an order that mixes classes: batches of one class say less.

    Raises:
        ValueError: There are too few images, or features are not finite or the same for all.
    """
    some = images[:IMAGES]
    x, y = (extract.extract(encoder, some) for encoder in (first, second))
    sizes = [size for size in (LEAST * 2**k for k in range(20)) if size <= min(LARGEST, max(LEAST, len(some)))]
    debiased, biased = ([minibatch_cka(x, y, batch=n, debiased=kind) for n in sizes] for kind in (True, False))
    return BatchSizes((first.name, second.name), sizes, debiased, biased, len(some))
