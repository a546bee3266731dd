"""An encoder and the depths at which its features are taken: one pass gives a block for each.

A *block* is the features (N, D) of one encoder at one depth: what a head standardises and penalises by itself, and
leaves out where it only costs. An encoder at one depth gives one, `mocov2-mini@0.25+0.5+1` three.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

import zoo

QUARTERS = "quarters"  # behind the @ of a name: the ends of all four

_GUARD = 1e-9  # a depth this little above a block's end is that end
_ALL = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Taps:
    """An encoder, and the depths at which its features are taken.

    Args:
        encoder: Holds the deepest of them; the deeper it was cut behind that, the longer a pass takes.
        depths: In (0, 1], rising; each takes the end of its block of the network, as `zoo.load` does.

    Raises:
        ValueError: Depths do not rise, reach further than the encoder, or end at one block of the network.

    Example:
        >>> import zoo
        >>> from fusion import Taps
        >>> Taps(zoo.load("mocov2-mini@1"), (0.25, 1)).widths
        (32, 256)
    """

    encoder: zoo.Encoder
    depths: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.encoder, zoo.Encoder):
            raise TypeError(f"encoder must be a zoo.Encoder (got {self.encoder!r}). Load it by zoo.load.")
        object.__setattr__(self, "depths", _numbers(self.depths))
        _check_rising(self.depths, self.name)
        ends = self.encoder.depths
        if self.depths[-1] > ends[-1] + _GUARD:
            raise ValueError(
                f"depths must be up to {ends[-1]:g}, where {self.encoder.name} ends (got {_said(self.depths)}). "
                "Load it deeper."
            )
        for place, count in Counter(self.places).items():
            if count > 1:
                alike = [depth for depth, own in zip(self.depths, self.places, strict=True) if own == place]
                raise ValueError(
                    f"depths must end different blocks of {self.encoder.card.name} (got {_said(alike)}, which end at "
                    f"{ends[place]:g} alike). Keep one of them."
                )

    @property
    def name(self) -> str:
        """The encoder's where it is whole, with these depths in place of its own otherwise."""
        own, whole_ = self.encoder.name, self.depths == (self.encoder.depth,)
        return own if whole_ and not _says_others(own, self.encoder.depth) else joined(own, self.depths)

    @property
    def blocks(self) -> list[str]:
        """A name for each block: `mocov2-mini@0.25` of several depths, the encoder's own of one."""
        return [self.name] if len(self.depths) == 1 else [joined(self.name, [depth]) for depth in self.depths]

    @property
    def places(self) -> list[int]:
        """Where each depth lies among `encoder.depths`."""
        ends = list(enumerate(self.encoder.depths))
        return [next(place for place, end in ends if end >= depth - _GUARD) for depth in self.depths]

    @property
    def widths(self) -> tuple[int, ...]:
        """D of each block; of several depths it is measured, by one pass of a blank image."""
        if self.places == [len(self.encoder.depths) - 1]:
            return (self.encoder.num_features,)
        how, like = self.encoder.card.input, next(self.encoder.parameters())
        blank = torch.zeros(1, how.channels, how.size, how.size, device=like.device, dtype=like.dtype)
        with torch.inference_mode():
            return tuple(block.shape[1] for block in self.encoder.at_rest().at_depths(blank, self.places))


def whole(encoder: zoo.Encoder) -> Taps:
    """The encoder at the one depth that it has."""
    return Taps(encoder, (encoder.depth,))


def named(taps: Sequence[Taps]) -> list[zoo.Encoder]:
    """The encoders, given the names of their taps: one encoder at other depths is then another."""
    for own in taps:
        own.encoder.name = own.name
    return [own.encoder for own in taps]


def load(name: str, *, window: Sequence[float] | None = None) -> Taps:
    """Load an encoder once, at the deepest of its depths.

    Args:
        name: As `zoo.load` takes it, and `name@0.25+0.5+1` or `name@quarters` for several depths.
        window: As in `zoo.load`.

    Raises:
        ValueError: As `split`, `Taps` and `zoo.load`.
    """
    stem, depths = split(name)
    encoder = zoo.load(name if depths is None else f"{stem}@{depths[-1]!r}", window=window)
    if depths is None or len(depths) == 1:
        return whole(encoder)
    encoder.name = joined(stem, depths)
    return Taps(encoder, depths)


def split(name: str) -> tuple[str, tuple[float, ...] | None]:
    """A name without its depths, and these; None where it has none.

    Raises:
        ValueError: A depth is not a number in (0, 1], or they do not rise.
        TypeError: The name is no text.

    Example:
        >>> from fusion.features import taps
        >>> taps.split("mocov2-mini@0.25+1")
        ('mocov2-mini', (0.25, 1.0))
    """
    stem, _, text = name.partition("@") if isinstance(name, str) else (name, "", "")
    if text == QUARTERS:
        return stem, _ALL
    if "+" not in text:
        stem, depth = zoo.split_name(name)
        return stem, None if depth is None else (depth,)
    depths = tuple(float(zoo.split_name(f"{stem}@{part}")[1] or 0) for part in text.split("+"))
    _check_rising(depths, stem)
    return stem, depths


def joined(name: str, depths: Sequence[float]) -> str:
    """The name with these depths in place of its own: `mocov2-mini@0.25+1`."""
    stem, _, own = name.partition("@")
    return f"{stem}@{_said(depths)}{''.join(own.partition('#')[1:])}"  # random weights have a seed there


def _says_others(name: str, depth: float) -> bool:
    """Whether a name has depths, as an encoder of several has, and not this one."""
    try:
        found = split(name)[1]
    except ValueError:
        return False
    return found is not None and [f"{own:g}" for own in found] != [f"{depth:g}"]


def _numbers(given: Sequence[float]) -> tuple[float, ...]:
    try:
        found = tuple(float(depth) for depth in given)
    except (TypeError, ValueError):
        found = ()
    if not found or not all(0 < depth <= 1 for depth in found):
        raise ValueError(f"depths must be numbers in (0, 1] (got {given!r}). Try (0.25, 1).")
    return found


def _check_rising(depths: Sequence[float], name: str) -> None:
    if list(depths) != (rising := sorted(set(depths))):
        raise ValueError(f"depths must rise, each given once (got {_said(depths)}). Try {joined(name, rising)}.")


def _said(depths: Sequence[float]) -> str:
    return "+".join(f"{depth:.12g}" for depth in depths)  # 1/6 in fewer digits would be the next block
