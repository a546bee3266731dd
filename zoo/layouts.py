"""From the names in a file to timm's names: pure renaming, one function per layout."""

from collections.abc import Callable, Iterable

# A stored classifier is not part of an encoder.
_HEADS = ("fc.", "classifier.", "head.fc.", "head.weight", "head.bias")


def timm(keys: Iterable[str]) -> dict[str, str]:
    """timm's own names, without a classifier."""
    return {key: key for key in keys if not key.startswith(_HEADS)}


LAYOUTS: dict[str, Callable[[Iterable[str]], dict[str, str]]] = {"timm": timm}


def rename(layout: str, keys: Iterable[str]) -> dict[str, str]:
    """Map each timm name to the file's name for it."""
    return {new: old for old, new in LAYOUTS[layout](keys).items()}
