"""The one door for ids, and what depends on what: images of one id, and copies of one image, are one unit.

An id is text, a whole number or a boolean; `"P1 "` is `"P1"`. What differs in case or in zeros in front stays two, with
a warning. Copies are rows of one file (slices of one volume too), files of the same bytes, PIL images of such files,
and equal pixels (`pixels` says in which spellings); a picture of a single value is nobody's copy.
"""

import hashlib
import os
import re
import stat
from collections.abc import Collection, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fusion.evaluation import digits as digits_
from fusion.evaluation import labels, pixels

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

_THREADS = 8
_DIGITS = 16
_IMAGES = ("path", "image", "file")
_SLICE = re.compile(r"(.+\.nii(?:\.gz)?):[^/\\]*", flags=re.IGNORECASE)


def ids(groups: Any, what: str = "groups") -> Array:
    """(N,) ids without blanks around them.

    Raises:
        ValueError: They are not (N,), one is missing (the rows are named), of two kinds, no id, or shortened.
    """
    shape = labels.shape(groups)
    if len(shape) != 1:
        raise ValueError(f"{what} must be one per image (got shape {shape}). Pass one column of ids.")
    found = labels.listed(groups)
    unknown = [row for row, value in enumerate(found) if labels.missing(value)]
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        raise ValueError(
            f"{what} must be known for every image (got none for images {unknown[:10]}{more}). "
            "Fill them in, or leave these images out."
        )
    kinds = {labels.kind(value) for value in found}
    if None in kinds or len(kinds) > 1:
        got = sorted({type(value).__name__ for value in found})
        raise ValueError(
            f"{what} must be all text, all whole numbers or all booleans (got {', '.join(got)}). "
            f"Try [str(name) for name in {what}], from a table whose ids were read as text."
        )
    digits_.check(found, what)
    names = labels.array(found)
    names = names.astype(np.int64) if names.dtype.kind == "f" else names  # pandas makes floats where some were missing
    labels.warn_alike(np.unique(names).tolist(), what)
    return names


def numbered(groups: Any, images: Any, count: int) -> Ints:
    """(N,) the unit of each image, from 0 in the order of the ids: images of one id or of one content share one.

    Args:
        groups: (N,) ids; None takes every image for itself.
        images: (N,) images, of which copies are found; None where there is nothing to look at.
        count: N.

    Raises:
        ValueError: As `ids`.
    """
    start = np.arange(count) if groups is None else np.unique(ids(groups), return_inverse=True)[1].astype(np.int64)
    if images is None or len(start) != count:
        return start
    keys = contents(images, count)
    return _joined(_joined(start, keys), _sources(images, keys))


def held(groups: Any, images: Any, count: int) -> Array | None:
    """(N,) ids that hold copies together too; None where there were none, and every image is another.

    Raises:
        ValueError: As `ids`, or they are not as many as images.
    """
    names = None if groups is None else ids(groups)
    if names is not None and names.shape != (count,):
        raise ValueError(f"groups must be one per image, {count} (got shape {names.shape}). Check groups.")
    start = np.arange(count) if names is None else np.unique(names, return_inverse=True)[1].astype(np.int64)
    keys = contents(images, count)
    units = _joined(_joined(start, keys), _sources(images, keys))
    if np.array_equal(units, start):
        return names
    if names is None:  # named by what they show: numbers would be other images elsewhere
        names = np.array([f"image {key.hex()[:_DIGITS]}" if key else f"image {row}" for row, key in enumerate(keys)])
    first = np.unique(units, return_index=True)[1]
    return np.asarray(names[first][units])


def contents(images: Any, count: int) -> list[bytes | None]:
    """What is in each image, as a digest of its file or pixels; None where it has a single value or cannot be told."""
    each = _each(images)
    if len(each) != count:
        return [None] * count
    with ThreadPoolExecutor(_THREADS) as pool:  # hashing and reading let other threads run
        keys = list(pool.map(_content, each))
    names: dict[bytes | None, set[str]] = {}
    for key, image in zip(keys, each, strict=True):
        names.setdefault(key, set()).add(_place(image))
    empty = {key for key, places in names.items() if len(places) > 1 and any(_is_blank(place) for place in places)}
    return [_of_place(image) if key in empty else key for key, image in zip(keys, each, strict=True)]


def length(images: Any) -> int:
    """How many images there are; a path is one."""
    return len(_each(images))


def digests(images: Any, groups: Any = None) -> set[str]:
    """16 hex digits of each image's content and of each id: what a model remembers of whom it has seen.

    Raises:
        ValueError: As `ids`.
    """
    keys = contents(images, len(_each(images)))
    found = {key.hex()[:_DIGITS] for key in (*keys, *_sources(images, keys)) if key}
    return found | ({_of_id(name) for name in ids(groups).tolist()} if groups is not None else set())


def seen_rows(seen: Collection[str], images: Any, groups: Any = None) -> list[int]:
    """The rows of images, or of images of ids, that are among the digests."""
    count = len(_each(images))
    known = [None] * count if groups is None else [_of_id(name) for name in ids(groups).tolist()]
    keys = contents(images, count)
    pairs = zip(keys, _sources(images, keys), map(_earlier, _each(images)), strict=True)
    shown = [any(key is not None and key.hex()[:_DIGITS] in seen for key in pair) for pair in pairs]
    rows = zip(_each(images), shown, known, strict=True)
    return [
        row for row, (image, met, name) in enumerate(rows) if name in seen or (met and not _is_blank(_place(image)))
    ]


def refuse_seen(seen: Collection[str], images: Any, groups: Any = None) -> None:
    """Refuse images, and images of ids, that a model was fitted on.

    Raises:
        ValueError: Some are among the digests `seen`.
    """
    each = _each(images)
    rows = seen_rows(seen, each, groups) if seen and each else []
    if rows:
        first = [str(each[row]) if isinstance(each[row], str | os.PathLike) else f"image {row}" for row in rows[:3]]
        raise ValueError(
            f"images must be new to the model (got {len(rows)} of {len(each)} that it was fitted on, themselves or "
            f"others of the same id, such as {', '.join(first)}). Leave these out; or pass allow_seen=True where ids "
            "are other people's here, or where it is to be judged on what it knows."
        )


def of_file(path: str | os.PathLike[str]) -> bytes:
    """The SHA-256 of the file; of a slice (`brain.nii.gz:42`), of its volume.

    Raises:
        OSError: It cannot be read.
    """
    name = os.fspath(path)
    match = _SLICE.fullmatch(name)
    name = os.path.realpath(match[1] if match and not os.path.exists(name) else name)
    state = os.stat(name)
    if not stat.S_ISREG(state.st_mode):  # what is no file may never end
        raise OSError(f"an image must be a file (got {name!r}). Check the path.")
    return _read(name, state.st_size, state.st_mtime_ns, state.st_ino)


def is_slice(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path names a slice of a volume (`brain.nii.gz:42`)."""
    return _SLICE.fullmatch(os.fspath(path)) is not None


def of_pixels(image: Any) -> bytes:
    """Shape and values of an array or a PIL image, as bytes."""
    values = np.ascontiguousarray(image)
    return repr(values.shape).encode() + values.tobytes()


@lru_cache(maxsize=2**20)
def _read(name: str, *_: int) -> bytes:
    """Once per state of a file: folds, draws and digests ask for the same."""
    with open(name, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _each(images: Any) -> list[Any]:
    """The images one by one, of a table its column of them (as `zoo.listed` has it, which this room does not know)."""
    if isinstance(images, str | bytes | os.PathLike) or not hasattr(images, "__len__"):
        return [] if images is None else [_named(images)]
    if hasattr(images, "detach") and getattr(images, "ndim", 0) == 4:  # a tensor (N, C, H, W) of torch
        images = images.detach().cpu().float().permute(0, 2, 3, 1).numpy()
    columns = getattr(images, "columns", ())
    return [_named(image) for image in next((images[name] for name in _IMAGES if name in columns), images)]


def _named(image: Any) -> Any:
    """A path as text, which it may be in bytes; others as they are."""
    return os.fsdecode(image) if isinstance(image, bytes) else image


def _content(image: Any) -> bytes | None:
    if isinstance(image, str | os.PathLike):
        try:
            return of_file(image)
        except (OSError, ValueError):  # whoever reads it says so; until then it is what it is called
            return _of_place(image)
    try:
        values = pixels.values(image)
    except Exception:  # a decoder raises anything; whoever reads it says so
        return None
    return None if values is None else hashlib.sha256(of_pixels(values)).digest()


def _earlier(image: Any) -> bytes | None:
    """The content of an image in memory as models remember it that were saved before, where that is another."""
    if isinstance(image, str | os.PathLike):
        return None
    try:
        values = pixels.earlier(image)
    except Exception:  # a decoder raises anything; whoever reads it says so
        return None
    return None if values is None else hashlib.sha256(of_pixels(values)).digest()


def _sources(images: Any, keys: Sequence[bytes | None]) -> list[bytes | None]:
    """The contents once more, of PIL images as digests of the files behind them."""
    each = _each(images) if any(keys) else [None] * len(keys)
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_source, each, keys))


def _source(image: Any, key: bytes | None) -> bytes | None:
    name = pixels.source(image) if key and isinstance(image, Image.Image) else None
    return key if name is None else _content(name)


def _place(image: Any) -> str:
    try:
        return os.path.realpath(image) if isinstance(image, str | os.PathLike) else ""
    except ValueError:  # no file can be called so
        return str(image)


def _of_place(image: Any) -> bytes:
    return hashlib.sha256(_place(image).encode(errors="surrogatepass")).digest()


def _is_blank(place: str) -> bool:
    """Tell whether a file is a picture of a single value; asked of few, for it is decoded."""
    try:
        with Image.open(place, formats=pixels.FORMATS) as picture:
            ends = picture.getextrema()
    except Exception:  # no picture, or a broken one: whoever reads it says so
        return False
    return all(low == high for low, high in (ends if isinstance(ends[0], tuple) else [ends]))


def _of_id(name: Any) -> str:
    return hashlib.sha256(str(name).encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


def _joined(start: Ints, keys: Sequence[Hashable | None]) -> Ints:
    """Units that share a content become one, numbered by the lowest of them; without any, as they were."""
    root = list(range(int(start.max(initial=-1)) + 1))

    def find(unit: int) -> int:
        while root[unit] != unit:
            root[unit] = root[root[unit]]
            unit = root[unit]
        return unit

    first: dict[Hashable, int] = {}
    for unit, key in zip(start.tolist(), keys, strict=True):
        if key is not None:
            low, high = sorted((find(unit), find(first.setdefault(key, unit))))
            root[high] = low
    owners = np.array([find(unit) for unit in range(len(root))], dtype=np.int64)
    return np.unique(owners[start], return_inverse=True)[1].astype(np.int64)
