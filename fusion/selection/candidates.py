"""Encoders that may be chosen: their features at every depth, from one pass each."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

import zoo
from fusion.data import shifts
from fusion.features import extract
from fusion.features.taps import Taps
from fusion.heads.solved import Ints

Blocks = dict[str, list[extract.Floats]]  # by encoder, (M, D) of each depth

WAYS = ("clean", "shifted")


def load(encoders: Sequence[str | zoo.Encoder], device: str) -> dict[str, zoo.Encoder]:
    """The candidates by their names without depth; a name without `@depth` is loaded as a whole.

    Raises:
        ValueError: There is none, or two have one name.
        TypeError: One is `Taps`.
    """
    if isinstance(encoders, str) or not len(encoders):
        raise ValueError(f"encoders must be a list of names or encoders (got {encoders!r}). Try ['mae-mini'].")
    extract.check_plain(encoders)
    whole = [e if isinstance(e, zoo.Encoder) or "@" in e else f"{e}@1" for e in encoders]
    loaded = extract.loaded(whole, device)
    found = {_name(encoder): encoder for encoder in loaded}
    if len(found) < len(loaded):
        raise ValueError(f"encoders must be given once each (got {[e.name for e in loaded]}). Leave depths out.")
    return found


def check_way(select: str) -> None:
    """Refuse another way to select than those of `WAYS`.

    Raises:
        ValueError: It is another.
    """
    if select not in WAYS:
        raise ValueError(f"select must be 'clean' or 'shifted' (got {select!r}). Leave it out for 'clean'.")


def features(found: dict[str, zoo.Encoder], images: Any, select: str) -> tuple[Blocks, Ints]:
    """Features at every depth, and (M,) which image each row is of; where `select` is `shifted`, of copies as well.

    The first row of each image is as it is.
    """
    if select == "clean":
        return {name: extract.levels(encoder, images) for name, encoder in found.items()}, np.arange(len(images))
    parts = shifts.copies(len(images))
    blocks = {name: extract.copied(Taps(own, own.depths), images, parts) for name, own in found.items()}
    return blocks, shifts.rows(parts)


def _name(encoder: zoo.Encoder) -> str:
    """Its own, not its card's: what no name loads must not be recommended by one that loads something else."""
    tuned = encoder.report is not None and encoder.report.verified == "fine-tuned"
    return re.sub(r"@[\d.+]+", "", encoder.name) + (", fine-tuned" if tuned else "")
