"""Images in batches for a fit: in an order, and with augmentations, that depend on seed, epoch and image only."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

import zoo

Vary = Callable[[Tensor, Sequence[int]], Tensor]  # pixels in [0, 1] and a seed per image -> the same, varied
Batch = dict[str, Any]  # "images": one (N, C, H, W) per encoder; "target": (N,) or (N, K); "index": (N,)


@dataclass(frozen=True)
class Examples:
    """Images, as `encoder.preprocess` takes them, with class numbers (N,) or labels (N, K) of 0 and 1."""

    images: Any
    targets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: npt.NDArray[np.int64]) -> "Examples":
        """Some of them, in the order given."""
        images = self.images[index] if isinstance(self.images, np.ndarray) else [self.images[i] for i in index]
        return Examples(images, self.targets[index])

    def name(self, index: int) -> str:
        """The image's file, or its place where it has none."""
        image = self.images[index]
        return str(image) if isinstance(image, str | Path) else f"image {index}"


class Order(Sampler[int]):
    """A shuffle that depends on seed and epoch only, so that a resumed run goes on in the same order."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng([self.seed, self.epoch]).permutation(self.count).tolist())


class Collate:
    """Indices to a batch; a class of its own, so that worker processes can have it."""

    def __init__(self, examples: Examples, encoders: Sequence[zoo.Encoder], vary: Vary | None, seed: int) -> None:
        self.examples, self.vary, self.seed, self.epoch = examples, vary, seed, 0
        self.inputs = [(encoder.preprocess, encoder.card.input) for encoder in encoders]

    def __call__(self, indices: Sequence[int]) -> Batch:
        images = self.examples.images
        picked = images[list(indices)] if isinstance(images, np.ndarray) else [images[i] for i in indices]
        seeds = [int(np.random.SeedSequence([self.seed, self.epoch, i]).generate_state(1)[0]) for i in indices]
        prepared = [self._varied(preprocess(picked), card, seeds) for preprocess, card in self.inputs]
        index = torch.tensor(list(indices))
        return {"images": prepared, "target": torch.from_numpy(self.examples.targets[list(indices)]), "index": index}

    def _varied(self, x: Tensor, card: Any, seeds: Sequence[int]) -> Tensor:
        if self.vary is None:
            return x
        mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (card.mean, card.std))
        low, high = card.range
        pixels = (x * std + mean - low) / (high - low)
        varied = self.vary(pixels, seeds)
        return cast(Tensor, (varied * (high - low) + low - mean) / std)


def loader(examples: Examples, encoders: Sequence[zoo.Encoder], batch: int, workers: int = 0) -> "DataLoader[Any]":
    """Batches in the order given, of all images."""
    places: Any = range(len(examples))
    return DataLoader(places, batch, collate_fn=Collate(examples, encoders, None, 0), num_workers=workers)


class Shuffled:
    """Batches in a new order at every epoch; a last one that is not full is left for another epoch."""

    def __init__(
        self,
        examples: Examples,
        encoders: Sequence[zoo.Encoder],
        batch: int,
        seed: int,
        vary: Vary | None,
        workers: int,
    ) -> None:
        self.order, self.collate = Order(len(examples), seed), Collate(examples, encoders, vary, seed)
        places: Any = range(len(examples))
        # Its own generator keeps the loader from drawing from the global one, which would shift a resumed run.
        self.loader: DataLoader[Any] = DataLoader(
            places,
            min(batch, len(examples)),
            sampler=self.order,
            collate_fn=self.collate,
            drop_last=True,
            num_workers=workers,
            generator=torch.Generator().manual_seed(seed),
        )

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order and variations come next."""
        self.order.epoch = self.collate.epoch = epoch
