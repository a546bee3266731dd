"""Images in batches for a fit: in an order, and with augmentations, that depend on seed, epoch and image only."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

import zoo
from fusion.data.samples import Samples, taken

Vary = Callable[[Tensor, Sequence[int]], Tensor]  # pixels in [0, 1] and a seed per image -> the same, varied
# "images": one (N, C, H, W) per encoder; "target": (N,) or (N, K); "index": (N,); "doubts": a list per encoder
Batch = dict[str, Any]


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

    def __init__(self, samples: Samples, encoders: Sequence[zoo.Encoder], vary: Vary | None, seed: int) -> None:
        self.samples, self.vary, self.seed, self.epoch = samples, vary, seed, 0
        self.inputs = [encoder.preprocess for encoder in encoders]

    def __call__(self, indices: Sequence[int]) -> Batch:
        picked = taken(self.samples.images, indices)
        seeds = [int(np.random.SeedSequence([self.seed, self.epoch, i]).generate_state(1)[0]) for i in indices]
        doubts: list[list[str]] = [[] for _ in self.inputs]
        inputs = zip(self.inputs, doubts, strict=True)
        prepared = [self._varied(read, read(picked, doubts=found), seeds) for read, found in inputs]
        target, index = torch.from_numpy(self.samples.labels[list(indices)]), torch.tensor(list(indices))
        return {"images": prepared, "target": target, "index": index, "doubts": doubts}

    def _varied(self, preprocess: Any, x: Tensor, seeds: Sequence[int]) -> Tensor:
        vary = self.vary
        return x if vary is None else cast(Tensor, preprocess.varied(x, lambda pixels: vary(pixels, seeds)))


class Doubts:
    """What is doubtful about training images, told once a fit: of all batches of an epoch, whoever read them."""

    def __init__(self, encoders: Sequence[zoo.Encoder]) -> None:
        self.inputs, self.told, self.seen = [encoder.preprocess for encoder in encoders], False, 0
        self.found: list[list[str]] = [[] for _ in encoders]

    def heard(self, batch: Batch) -> Batch:
        """Take note of a batch, which is handed back."""
        if not self.told:
            self.seen += len(batch["index"])
            for held, found in zip(self.found, batch["doubts"], strict=True):
                held += found
        return batch

    def tell(self) -> None:
        """Warn of what was heard, by the first encoder that doubts."""
        if not self.told:
            first = next((pair for pair in zip(self.inputs, self.found, strict=True) if pair[1]), None)
            if first:
                first[0].tell(first[1], self.seen)
            self.told = True


def loader(samples: Samples, encoders: Sequence[zoo.Encoder], batch: int, workers: int = 0) -> "DataLoader[Any]":
    """Batches in the order given, of all images."""
    places: Any = range(len(samples))
    return DataLoader(places, batch, collate_fn=Collate(samples, encoders, None, 0), num_workers=workers)


class Shuffled:
    """Batches in a new order at every epoch; a last one that is not full is left for another epoch."""

    def __init__(
        self,
        samples: Samples,
        encoders: Sequence[zoo.Encoder],
        batch: int,
        seed: int,
        vary: Vary | None,
        workers: int,
    ) -> None:
        self.order, self.collate = Order(len(samples), seed), Collate(samples, encoders, vary, seed)
        places: Any = range(len(samples))
        # Its own generator keeps the loader from drawing from the global one, which would shift a resumed run.
        self.loader: DataLoader[Any] = DataLoader(
            places,
            min(batch, len(samples)),
            sampler=self.order,
            collate_fn=self.collate,
            drop_last=True,
            num_workers=workers,
            generator=torch.Generator().manual_seed(seed),
        )

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order and variations come next."""
        self.order.epoch = self.collate.epoch = epoch
