"""Cards: one Markdown file per checkpoint, whose front matter is the registry row."""

import difflib
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PACKAGE = Path(__file__).parents[1]

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
_NAME = re.compile("[a-z0-9]+([._-][a-z0-9]+)*")  # as `<method>-<domain>[-<variant>]` is written
Hex40 = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CardError(ValueError):
    """A card cannot be found or does not say what a card must say."""


class Record(BaseModel):
    """Plain values, none of them unknown or of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Depth(Record):
    """The depth `zoo.load` takes when none is given, and how it is known."""

    optimal: Annotated[float, Field(gt=0, le=1)]
    evidence: Literal["measured", "prior", "default"]


class Input(Record):
    """Rules for how pixels must reach the encoder: first scaled to `range`, then normalised by `mean` and `std`."""

    channels: Literal[1, 3]
    size: Annotated[int, Field(gt=0)]
    range: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.0, 1.0]
    mean: list[float] | None
    std: list[float] | None
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = "bicubic"
    resize: Literal["squash", "crop", "pad"] = "squash"
    crop_pct: Annotated[float, Field(gt=0, le=1)] = 1.0
    grey: Literal["repeat", "luminance"] = "repeat"
    window: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None

    @model_validator(mode="after")
    def _one_number_per_channel(self) -> Self:
        if any(len(numbers) != self.channels for numbers in (self.mean, self.std) if numbers is not None):
            raise ValueError(f"mean and std must have {self.channels} numbers, one per channel")
        return self


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

    repo: Annotated[str, Field(pattern=rf"^{PART}/{PART}$")] | None
    revision: Hex40 | None = None
    prefix: Annotated[str, Field(pattern=r"^[0-9a-f]{7,39}$")] | None = None
    file: Annotated[str, Field(pattern=rf"^{PART}(/{PART})*$")] | None
    size: int | None = None
    sha256: Hex64 | None = None
    layout: Layout = "timm"
    digests: Hex64 | None = None
    allow: list[Literal["argparse.Namespace"]] = []


class Terms(Record):
    """Licences: what the card says and what the original authors say. The stricter binds."""

    card: str | None
    upstream: str | None
    gated: bool = False


class Source(Record):
    """Places where the checkpoint was published, and where facts marked `seen` were read (HF: the Hub, GH: GitHub)."""

    paper: str | None
    url: str | None
    seen: list[str] = []


class Card(Record):
    """A checkpoint's record, read from the front matter of its Markdown file."""

    name: Annotated[str, Field(pattern=rf"^([a-z0-9]+(-[a-z0-9]+)*|{PART}/{PART})$")]
    architecture: str
    kwargs: dict[str, Any] = {}
    method: str
    family: Family
    domain: str
    pool: Literal["avg", "cls", "cls+avg"]
    depth: Depth
    input: Input
    weights: Weights
    terms: Terms
    evidence: dict[str, Evidence] = {}
    source: Source
    path: Path
    body: str


def folder() -> Path:
    """The package's cards: `zoo/_cards` in a wheel, `cards/` of the checkout otherwise."""
    shipped = PACKAGE / "_cards"
    return shipped if shipped.is_dir() else PACKAGE.parent / "cards"


def names() -> list[str]:
    """The names `load` knows, in alphabetical order: the package's cards and those in `ZOO_CARDS`."""
    return sorted(_paths())


def split_name(name: str) -> tuple[str, float | None]:
    """A name without its depth, and the depth behind its `@`; None where there is none.

    Raises:
        ValueError: The depth is not a number in (0, 1].

    Example:
        >>> import zoo
        >>> zoo.split_name("mocov2-chest@0.75")
        ('mocov2-chest', 0.75)
    """
    stem, at, text = name.partition("@")
    if not at:
        return stem, None
    try:
        depth = float(text)
    except ValueError:
        depth = math.nan
    if not 0 < depth <= 1:
        raise ValueError(f"depth must be a number in (0, 1] (got {text!r}). Try {stem}@0.75.")
    return stem, depth


def find(name: str) -> Card:
    """The card called `name`.

    Raises:
        CardError: No card has that name (the nearest names are offered), or the card is not valid.
    """
    paths = _paths()
    if name not in paths:
        near = difflib.get_close_matches(str(name), paths, n=3, cutoff=0.4) or sorted(paths)
        raise CardError(f"name must be a known checkpoint (got {name!r}). Nearest: {', '.join(near)}.")
    return read(paths[name])


def read(path: str | Path) -> Card:
    """Read one card; the file's stem is its name.

    Raises:
        CardError: The file is missing, has no front matter, or a key is unknown, missing or has a wrong value.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fact = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CardError(f"card must be a readable file (got {str(path)!r}: {fact}). Check the path.") from None
    return parse(text, path.stem, path)


def parse(text: str, name: str, path: Path) -> Card:
    """Read a card's text; `name` is its file's stem or, on the Hub, its repo."""
    front, body = _split(text, path)
    try:
        return Card(name=name, path=path, body=body, **front)
    except (ValidationError, TypeError) as error:
        raise CardError(f"card {path} must follow the card format: {_first(error)}. Edit its front matter.") from None


def fill(
    card: Card,
    *,
    revision: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
) -> Card:
    """The card with facts that it leaves unknown; a fact that it states is not overridden.

    Raises:
        ValueError: The card states that fact already, or the value is not one.
    """
    given = {"revision": revision, "mean": mean and list(mean), "std": std and list(std)}
    given["interpolation"] = interpolation
    changes: dict[str, dict[str, Any]] = {"weights": {}, "input": {}}
    for key, value in given.items():
        place = "weights" if key == "revision" else "input"
        known = getattr(getattr(card, place), key)
        if value is not None and known is not None and known != value:
            raise ValueError(f"{key} must be left to the card, which states {known} (got {value!r}). Use an own card.")
        if value is not None:
            changes[place][key] = value
    try:
        weights = Weights.model_validate({**dict(card.weights), **changes["weights"]})
        pixels = Input.model_validate({**dict(card.input), **changes["input"]})
    except ValidationError as error:
        raise ValueError(f"{_first(error)}. Give it in that form.") from None
    return card.model_copy(update={"weights": weights, "input": pixels})


def unnamed() -> list[Path]:
    """The Markdown files beside the cards that are none by their name, but for READMEs."""
    found = (path for place in _folders() for path in sorted(place.glob("*.md")) if path not in paths(place).values())
    return [path for path in found if path.stem.lower() != "readme"]


def paths(folder: Path) -> dict[str, Path]:
    """The cards of a folder by name; a README, or anything else that has no card's name, is none."""
    found = {path.stem: path for path in sorted(folder.glob("*.md"))}
    return {name: path for name, path in found.items() if _NAME.fullmatch(name) and name != "readme"}


def within(card: Card, repo: str) -> Card:
    """The card for a file of the same name in a repo on the Hub."""
    return card.model_copy(update={"weights": card.weights.model_copy(update={"repo": repo})})


def weights_file(card: Card) -> Path:
    """The local file of a card without a repo: in the package for the package's own cards, else beside the card."""
    own = card.path.parent.resolve() == folder().resolve()
    return (PACKAGE / "_weights" if own else card.path.parent) / str(card.weights.file)


def _paths() -> dict[str, Path]:
    return {name: path for place in _folders() for name, path in paths(place).items()}


def _folders() -> Iterator[Path]:
    yield folder()
    for entry in filter(None, os.environ.get("ZOO_CARDS", "").split(os.pathsep)):
        if not Path(entry).is_dir():
            raise CardError(f"ZOO_CARDS must name existing folders (got {entry!r}). Correct or unset it.")
        yield Path(entry)


def _split(text: str, path: Path) -> tuple[dict[str, Any], str]:
    match = re.match(r"---\n(.*?)\n---\n(.*)", text, flags=re.DOTALL)
    try:
        if match and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(match[1], yaml.SafeLoader)):
            raise CardError(f"card {path} must write out each value (got a YAML alias). Edit it.")
        front = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        raise CardError(f"card {path} must start with valid YAML ({' '.join(str(error).split())}). Edit it.") from None
    if match is None or not isinstance(front, dict) or not isinstance(front.get("zoo"), dict):
        raise CardError(f"card {path} must start with YAML front matter that holds a `zoo:` block. Add one.")
    return front["zoo"], match[2]


def _first(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    # A misspelt key shows as unknown and as missing: the unknown one says more.
    detail = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']} (got {repr(detail['input'])[:200]})"
