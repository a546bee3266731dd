"""Records of a card: what it may say, of which kind, and within which bounds."""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Family = Literal["contrastive", "restorative", "self-distillation", "hybrid", "supervised"]
Evidence = Literal["seen", "computed", "inferred", "unknown"]
Layout = Literal[
    "timm",
    "transformers-dinov2",
    "transformers-vit",
    "transformers-mae",
    "mae",
    "moco",
    "covid-prognosis",
    "open-clip",
    "eva-x",
    "flair",
    "spark",
    "meta-dinov3",
    "sequential",
]
# No part of a path or repo id may start with a dot: nothing climbs out of its folder.
PART = "[A-Za-z0-9_-][A-Za-z0-9_.-]*"
NAME = re.compile("[a-z0-9]+([._-][a-z0-9]+)*")  # as `<method>-<domain>[-<variant>]` is written
Hex40 = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, Field(max_length=500)]
Place = Annotated[str, Field(max_length=200)]

# A card may be anyone's, and what it states is computed with: numbers beyond these are no pixels and no networks.
_LARGEST = 1e6
_SMALLEST = 1e-6
_KWARG = 65_536
_LAYERS = 512
_VALUES = 256
_NESTED = 4
Number = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)]
Spread = Annotated[float, Field(ge=_SMALLEST, le=_LARGEST)]
Bounds = Annotated[list[Number], Field(min_length=2, max_length=2)]


class Record(BaseModel):
    """Plain values, none of them unknown or of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Depth(Record):
    """The depth `zoo.load` takes when none is given, and how it is known."""

    optimal: Annotated[float, Field(gt=0, le=1)]
    evidence: Literal["measured", "prior", "default"]


class Input(Record):
    """Rules for how pixels must reach the encoder: first scaled to `range`, then normalised by `mean` and `std`."""

    channels: Literal[1, 3]
    size: Annotated[int, Field(gt=0, le=4096)]
    range: Bounds = [0.0, 1.0]
    mean: list[Number] | None
    std: list[Spread] | None
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = "bicubic"
    resize: Literal["squash", "crop", "pad"] = "squash"
    crop_pct: Annotated[float, Field(ge=0.1, le=1)] = 1.0
    grey: Literal["repeat", "luminance"] = "repeat"
    window: Bounds | None = None

    @model_validator(mode="after")
    def _one_number_per_channel(self) -> Self:
        if any(len(numbers) != self.channels for numbers in (self.mean, self.std) if numbers is not None):
            raise ValueError(f"mean and std must have {self.channels} numbers, one per channel")
        return self

    @field_validator("range", "window")
    @classmethod
    def _rising(cls, bounds: list[float] | None) -> list[float] | None:
        if bounds is not None and bounds[1] - bounds[0] < _SMALLEST:
            raise ValueError("the first number must be below the second")
        return bounds


class Weights(Record):
    """Facts of the weights: where the file lies, and how its tensors are named.

    Attributes:
        repo: `owner/name` on the Hub; None for a file beside the package or the card.
        revision: The pinned commit; None while only its `prefix`, or nothing, is known.
        prefix: The first hex digits of the commit, where no more is known.
        file: The path in the repo or beside the card; None where no file can be fetched (`load(weights=PATH)`).
        size, sha256: Of the file as published.
        layout: How the file's names become timm's (see `zoo.networks.layouts`).
        digests: The sha256 of `digests/NAME.json`, which holds the sha256 of every tensor.
        allow: The classes, beside tensors, that a pickled file may hold.
    """

    repo: Annotated[str, Field(pattern=rf"^{PART}/{PART}$", max_length=200)] | None
    revision: Hex40 | None = None
    prefix: Annotated[str, Field(pattern=r"^[0-9a-f]{7,39}$")] | None = None
    file: Annotated[str, Field(pattern=rf"^{PART}(/{PART})*$", max_length=200)] | None
    size: Annotated[int, Field(ge=0, le=2**60)] | None = None
    sha256: Hex64 | None = None
    layout: Layout = "timm"
    digests: Hex64 | None = None
    allow: Annotated[list[Literal["argparse.Namespace"]], Field(max_length=4)] = []


class Terms(Record):
    """Licences: what the card says and what the original authors say. The stricter binds."""

    card: Line | None
    upstream: Line | None
    gated: bool = False


class Source(Record):
    """Places where the checkpoint was published, and where facts marked `seen` were read (HF: the Hub, GH: GitHub)."""

    paper: Line | None
    url: Line | None
    seen: Annotated[list[Line], Field(max_length=100)] = []


class Card(Record):
    """A checkpoint's record, read from the front matter of its Markdown file."""

    name: Annotated[str, Field(pattern=rf"^([a-z0-9]+(-[a-z0-9]+)*|{PART}/{PART})$", max_length=200)]
    architecture: Place
    kwargs: dict[str, Any] = {}
    method: Place
    family: Family
    domain: Place
    pool: Literal["avg", "cls", "cls+avg"]
    depth: Depth
    input: Input
    weights: Weights
    terms: Terms
    evidence: Annotated[dict[Place, Evidence], Field(max_length=100)] = {}
    source: Source
    path: Path
    body: str

    @field_validator("kwargs")
    @classmethod
    def _plain(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        left = [_VALUES]
        for key, value in kwargs.items():
            _check(key, value, _LAYERS if re.search("depth|layers|repeats", key) else _KWARG, left)
        return kwargs


def _check(key: str, value: Any, most: int, left: list[int], nested: int = 0) -> None:
    """Refuse what is no plain value, too large or too much: `left` counts how many values may still come."""
    left[0] -= 1
    if left[0] < 0 or nested > _NESTED:
        raise ValueError(f"kwargs must hold at most {_VALUES} values, nested {_NESTED} deep")
    if isinstance(value, list | dict):
        names = value if isinstance(value, dict) else {}
        inner = value.values() if isinstance(value, dict) else value
        for one in (*names, *inner):
            _check(key, one, most, left, nested + 1)
    elif isinstance(value, str):
        if len(value) > 100:
            raise ValueError(f"{key} must be at most 100 characters long")
    elif value is None or isinstance(value, bool):
        return
    elif not isinstance(value, int | float):
        raise ValueError(f"{key} must hold plain values, no {type(value).__name__}")
    elif not abs(value) <= most or not math.isfinite(value):
        raise ValueError(f"{key} must hold numbers of at most {most}")
