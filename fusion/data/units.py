"""Who and what a data set holds, as a fitted model remembers it; what depends on what is `Samples.units`."""

from fusion.data.samples import Samples
from fusion.evaluation import units


def digests(samples: Samples) -> set[str]:
    """16 hex digits of every image's content (the file's bytes, or the pixels) and of every group's id.

    Nothing is salted, so that two machines agree; who has the list can test whether an id is in it.

    Raises:
        ValueError: An id is missing.
    """
    return units.digests(samples.images, samples.groups)


def overlap(samples: Samples, seen: set[str]) -> list[int]:
    """The rows whose image, or whose group, is among the digests."""
    return units.seen_rows(seen, samples.images, samples.groups)
