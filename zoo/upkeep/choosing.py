"""Which of several sets of weights in a checkpoint is taken, and what is said of the others."""

import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from zoo.networks.layouts import Reading
from zoo.registry.words import some

_EMA = re.compile(r"(.*_)?ema(_.*)?|ema\w*|.*averaged?.*|swa(_.*)?")  # a part of a prefix: averaged, in so many words
_FOLLOWS = re.compile(
    r"(.*_)?(teacher|target|momentum|mean)(_.*)?|encoder_k|key_encoder"
)  # of a pair, the averaged one


def choose(fitting: Sequence[Reading], tensors: Mapping[str, Tensor], ema: bool | None) -> Reading:
    """The reading to take; a choice between sets that differ is made by what is known of them, or not at all.

    Raises:
        ValueError: Several fit, and nothing says which is meant.
    """
    sets: list[Reading] = []
    for reading in fitting:
        if not any(_equal(reading, other, tensors) for other in sets):
            sets.append(reading)
    if len(sets) == 1:
        return sets[0]
    averaged = [one for one in sets if _is(one, _EMA) or (ema is not None and _is(one, _FOLLOWS))]
    raw = [one for one in sets if one not in averaged]
    wanted = raw if ema is False else averaged
    if len(wanted) != 1:
        named = ", ".join(one.prefix or "the names without a prefix" for one in sets)
        which = (
            "--ema or --no-ema, or --prefix"
            if any(_is(one, _EMA) or _is(one, _FOLLOWS) for one in sets)
            else "--prefix"
        )
        raise ValueError(
            f"one set of weights must fit (got {len(sets)} that differ: {named}). Choose with {which} {sets[0].prefix}."
        )
    return wanted[0]


def taken(reading: Reading) -> str:
    """What was taken, in words."""
    where = f"what lies below {reading.prefix!r}" if reading.prefix else "the names as they are"
    return f"{where}, by the layout {reading.layout}{', averaged weights' if _is(reading, _EMA) else ''}"


def left_out(reading: Reading, names: Collection[str]) -> str:
    """What was not taken, each branch by its first part that holds nothing else, and how many tensors it has."""
    used = {old for olds in reading.sources.values() for old in olds}
    inside = {name[: match.end()] for name in used for match in re.finditer(r"\.", name)}
    found: dict[str, int] = {}
    for name in sorted(set(names) - used):
        branches = (name[: match.end()] for match in re.finditer(r"\.", name))
        branch = next((branch for branch in branches if branch not in inside), name)
        found[branch] = found.get(branch, 0) + 1
    return some([f"{branch} ({count} tensors)" for branch, count in found.items()])


def _is(reading: Reading, words: re.Pattern[str]) -> bool:
    return any(words.fullmatch(part) for part in reading.prefix.split("."))


def _equal(first: Reading, second: Reading, tensors: Mapping[str, Tensor]) -> bool:
    pairs = ((olds, second.sources.get(new, ())) for new, olds in first.sources.items())
    return all(
        len(olds) == len(others) and all(torch.equal(tensors[a], tensors[b]) for a, b in zip(olds, others, strict=True))
        for olds, others in pairs
    )
