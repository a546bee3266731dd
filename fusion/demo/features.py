"""What the demo knows of images: features of every source at its quarters, of images and of shifted copies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

import zoo
from fusion.data.samples import Samples
from fusion.data.shifts import Part, rows
from fusion.features import extract, raw
from fusion.features.taps import Taps, load, whole

ENCODERS = ("mocov2-mini", "mae-mini")
DEPTHS = (0.25, 0.5, 0.75, 1.0)
SEEDS = range(3)

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Key = tuple[str, int]  # source, level
Sources = Mapping[str, Taps | None]
Step = Callable[[str], None]


@dataclass(frozen=True)
class Features:
    """Of M images, and copies of them.

    Attributes:
        rows: (M,) which image of the part each is, or is a copy of.
        levels: Of each source the features (M, D_l) at each of its depths.
    """

    rows: Ints
    levels: dict[str, list[Floats]]

    def of(self, keys: Sequence[Key], index: Ints | None = None) -> list[Floats]:
        """A block for each key, of all or of those at the positions `index`."""
        blocks = [self.levels[source][level] for source, level in keys]
        return blocks if index is None else [block[index] for block in blocks]


def sources() -> dict[str, Taps | None]:
    """Return what features come from: raw pixels, the encoders at their quarters, and untrained controls.

    The controls end at the first quarter: on the validation slabs that was the best of theirs at every budget.
    """
    named: dict[str, Taps | None] = {raw.NAME: None}
    named |= {name: load(f"{name}@quarters") for name in ENCODERS}
    named |= {f"random init {seed}": whole(zoo.untrained(ENCODERS[0], DEPTHS[0], seed=seed)) for seed in SEEDS}
    for taps in named.values():
        if taps is not None:  # 1.6 times the images per second of the default on a CPU
            taps.encoder.to(memory_format=torch.channels_last)
    return named


def features(found: Sources, samples: Samples, parts: Sequence[Part], step: Step) -> Features:
    """Features of the images that `parts` name, each as it is and as its copies are."""
    levels: dict[str, list[Floats]] = {}
    for name, taps in found.items():
        levels[name] = _pixels(samples, parts) if taps is None else list(extract.copied(taps, samples.images, parts))
        step(name)
    return Features(rows(parts), levels)


def _pixels(samples: Samples, parts: Sequence[Part]) -> list[Floats]:
    views = [view for index, kinds in parts for view in raw.varied(samples.images[index], kinds)]
    return [np.concatenate(views)]
