"""Two encoders on the same images: how alike each block of the one is to each block of the other."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import zoo
from fusion.features import extract, taps
from fusion.similarity import streaming
from fusion.similarity.measures import LEAST, cka, minibatch_cka

Floats = npt.NDArray[np.float64]

MEASURES = ("cka", "biased-cka", "cca", "minibatch-cka")
LARGEST = 256  # batch of which minibatch CKA is computed
IMAGES = 2 * LARGEST


@dataclass(frozen=True)
class Comparison:
    """A measure between all blocks of two encoders.

    Attributes:
        measure: Of `MEASURES`, with the batch size where it depends on it.
        first: Name of the encoder of the rows.
        second: Name of that of the columns.
        depths: At the end of each block, of the rows and of the columns.
        values: (L, L').
        images: How many they were.
    """

    measure: str
    first: str
    second: str
    depths: tuple[tuple[float, ...], tuple[float, ...]]
    values: Floats
    images: int


def compare(
    first: str | zoo.Encoder,
    second: str | zoo.Encoder,
    images: Any,
    *,
    measure: str = "cka",
    batch: int = 64,
    device: str = "auto",
) -> Comparison:
    """The similarity of every block of one encoder to every block of another, from one pass over the images.

    Args:
        first: An encoder or the name of one, `name@depth`.
        second: The other encoder, or the name of it.
        images: What `encoder.preprocess` takes, N >= 4; every encoder preprocesses them in its own way.
        measure: `cka` (debiased), `biased-cka` or `cca` of pooled features; or `minibatch-cka` of whole maps,
            flattened: they are too large to be kept, so that it depends on `batch` and on the order of the images.
        batch: Images at a time.
        device: `auto` takes the GPU where there is one.

    Memory does not grow with the number of images; pooled features lie in the temporary folder (`TMPDIR`)
    meanwhile, 4 bytes for each number.

    Raises:
        ValueError: The encoders' inputs differ in size, there are too few images for the measure, features are not
            finite, or a block is the same for all images.

    Example:
        >>> import fusion
        >>> images = fusion.brain_regions("validation").images[:64]
        >>> fusion.compare("mocov2-mini@1", "mae-mini@1", images).values.shape
        (8, 8)
    """
    images, pair = zoo.listed(images), _encoders(first, second, device)
    _check(pair, images, measure, batch)
    depths = pair[0].depths, pair[1].depths
    if measure == "minibatch-cka":
        both = [extract.batches(encoder, images, zoo.Encoder.maps, batch=batch) for encoder in pair]
        values = streaming.minibatch(*both)
        measure = f"minibatch-cka, batch {batch}"
    else:
        both = [extract.batches(encoder, images, zoo.Encoder.at_depths, batch=batch) for encoder in pair]
        values = streaming.pooled(zip(*both, strict=True), measure)
    return Comparison(measure, pair[0].name, pair[1].name, depths, values, len(images))


def before_after(model: Any, images: Any, *, measure: str = "cka", batch: int = 64) -> list[Comparison]:
    """Compare each encoder of a fitted `FusionClassifier` as it was (rows) and as fine-tuning changed it (columns).

    Args:
        model: Fitted, from `FusionClassifier.fit` or `.load`.
        images: As in `compare`.
        measure: As in `compare`.
        batch: As in `compare`.
    """
    images, found = zoo.listed(images), []
    for given, tuned in zip(origins(model), model.encoders_, strict=True):
        place = str(next(tuned.parameters()).device)
        both = compare(given, tuned, images, measure=measure, batch=batch, device=place)
        found.append(replace(both, second=f"{both.second}, fine-tuned"))
    return found


def changes(model: Any, images: Any, *, measure: str = "cka", batch: int = 64) -> list[Comparison]:
    """`before_after`, then how alike every two encoders of the model are, before it and after.

    Two that see images of different sizes are left out. Arguments as in `before_after`.
    """
    images = zoo.listed(images)
    found = before_after(model, images, measure=measure, batch=batch)
    before, after = origins(model), model.encoders_
    for i, j in itertools.combinations(range(len(after)), 2):
        if _size(after[i]) != _size(after[j]):
            continue
        found.append(compare(before[i], before[j], images, measure=measure, batch=batch))
        both = compare(after[i], after[j], images, measure=measure, batch=batch)
        found.append(replace(both, first=f"{both.first}, fine-tuned", second=f"{both.second}, fine-tuned"))
    return found


def origins(model: Any) -> list[zoo.Encoder]:
    """Give the encoders of a fitted model as they were before the fit.

    Raises:
        ValueError: One is not to be had any more: neither the model, nor its caller, nor the zoo has it.
    """
    given = [] if isinstance(model.encoders, str) else [getattr(e, "encoder", e) for e in model.encoders]
    given = [encoder for encoder in given if isinstance(encoder, zoo.Encoder)]
    return [_origin(entry, [own, *given]) for entry, own in zip(model.origins_, model.encoders_, strict=True)]


def pairwise(encoders: Sequence[str | zoo.Encoder], images: Any, *, batch: int = 64, device: str = "auto") -> Floats:
    """Debiased CKA (E, E) between the features of several encoders, each at the depth it has.

    Args:
        encoders: Names, `name@depth`, or encoders.
        images: As in `compare`.
        batch: As in `compare`.
        device: As in `compare`.
    """
    known = extract.loaded(encoders, device)
    for pair in itertools.combinations(known, 2):
        _check_sizes(*pair)
    found = [extract.extract(encoder, images, batch=batch) for encoder in known]
    values = np.empty((len(found), len(found)))
    for i, j in itertools.combinations_with_replacement(range(len(found)), 2):
        values[i, j] = values[j, i] = cka(found[i], found[j])  # once for both: a sum in another order differs by a hair
    return values


@dataclass(frozen=True)
class BatchSizes:
    """Minibatch CKA between the features of two encoders, over batch sizes.

    Attributes:
        names: Of both encoders.
        sizes: Images in a batch: doublings from 4.
        debiased: A value per size.
        biased: A value per size, without the correction for few images.
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
    some = zoo.listed(images)[:IMAGES]
    x, y = (extract.extract(encoder, some) for encoder in (first, second))
    sizes = [size for size in (LEAST * 2**k for k in range(20)) if size <= min(LARGEST, max(LEAST, len(some)))]
    debiased, biased = ([minibatch_cka(x, y, batch=n, debiased=kind) for n in sizes] for kind in (True, False))
    return BatchSizes((first.name, second.name), sizes, debiased, biased, len(some))


def _origin(entry: Mapping[str, str], candidates: Sequence[zoo.Encoder]) -> zoo.Encoder:
    found = next((encoder for encoder in candidates if encoder.identity() == entry["identity"]), None)
    found = found or _of_the_zoo(entry["name"])
    if found is None or found.identity() != entry["identity"]:
        raise ValueError(
            f"{entry['name']} must be there as it was before the fit (the zoo gives another under this name, or none). "
            "Pass the model that was fitted in this process, or fit it again."
        )
    return found


def _of_the_zoo(name: str) -> zoo.Encoder | None:
    try:
        return None if "/" in name else taps.load(name).encoder
    except (ValueError, OSError):
        return None


def _encoders(first: str | zoo.Encoder, second: str | zoo.Encoder, device: str) -> tuple[zoo.Encoder, zoo.Encoder]:
    # One by one: an encoder may be compared with itself.
    return extract.loaded([first], device)[0], extract.loaded([second], device)[0]


def _check(pair: tuple[zoo.Encoder, zoo.Encoder], images: Any, measure: str, batch: int) -> None:
    if measure not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)} (got {measure!r}). Try measure='cka'.")
    if len(images) < LEAST or batch < LEAST:
        raise ValueError(f"images and batch must be at least {LEAST} (got {len(images)} and {batch}). Add images.")
    _check_sizes(*pair)


def _check_sizes(first: zoo.Encoder, second: zoo.Encoder) -> None:
    if _size(first) != _size(second):
        raise ValueError(
            f"encoders must see images of one size (got {first.name} at {_size(first)} and {second.name} at "
            f"{_size(second)}): else resolution is compared too. Give one a card with the other's input.size."
        )


def _size(encoder: zoo.Encoder) -> int:
    return encoder.card.input.size
