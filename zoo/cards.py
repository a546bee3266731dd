"""Cards: one Markdown file per checkpoint, whose front matter is the registry row."""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

PACKAGE = Path(__file__).parent

Family = Literal["contrastive", "restorative", "self-distillation", "hybrid", "supervised"]
Evidence = Literal["seen", "computed", "inferred", "unknown"]
Hex40 = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CardError(ValueError):
    """A card cannot be found or does not say what a card must say."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Depth(_Record):
    """The depth `zoo.load` takes when none is given, and how it is known."""

    optimal: Annotated[float, Field(gt=0, le=1)]
    evidence: Literal["measured", "prior", "default"]


class Input(_Record):
    """How pixels must reach the encoder: first scaled to `range`, then normalised by `mean` and `std`."""

    channels: Literal[1, 3]
    size: Annotated[int, Field(gt=0)]
    range: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.0, 1.0]
    mean: list[float] | None
    std: list[float] | None
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    resize: Literal["squash", "crop"] = "squash"
    crop_pct: Annotated[float, Field(gt=0, le=1)] = 1.0
    grey: Literal["repeat", "luminance"] = "repeat"
    window: list[float] | None = None


class Weights(_Record):
    """Where the file lies: on the Hub (`repo`, pinned `revision`), or, without a repo, beside the package or card."""

    repo: str | None
    revision: Hex40 | None = None
    file: str
    size: int | None = None
    sha256: Hex64 | None = None
    layout: Literal["timm"] = "timm"
    digests: Hex64 | None = None


class Terms(_Record):
    """Licences: what the card says and what the original authors say. The stricter binds."""

    card: str | None
    upstream: str | None
    gated: bool = False


class Source(_Record):
    """Where the checkpoint was published."""

    paper: str | None
    url: str | None


class Card(_Record):
    """A checkpoint's record, read from the front matter of its Markdown file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$")]
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
    except OSError as error:
        raise CardError(
            f"card must be a readable file (got {str(path)!r}: {error.strerror}). Check the path."
        ) from None
    front, body = _split(text, path)
    try:
        return Card(name=path.stem, path=path, body=body, **front)
    except (ValidationError, TypeError) as error:
        raise CardError(f"card {path} must follow the card format: {_first(error)}. Edit its front matter.") from None


def weights_file(card: Card) -> Path:
    """The local file of a card without a repo: in the package for the package's own cards, else beside the card."""
    own = card.path.parent.resolve() == folder().resolve()
    return (PACKAGE / "_weights" if own else card.path.parent) / card.weights.file


def _paths() -> dict[str, Path]:
    return {path.stem: path for place in _folders() for path in sorted(place.glob("*.md"))}


def _folders() -> Iterator[Path]:
    yield folder()
    for entry in filter(None, os.environ.get("ZOO_CARDS", "").split(os.pathsep)):
        if not Path(entry).is_dir():
            raise CardError(f"ZOO_CARDS must name existing folders (got {entry!r}). Correct or unset it.")
        yield Path(entry)


def _split(text: str, path: Path) -> tuple[dict[str, Any], str]:
    match = re.match(r"---\n(.*?)\n---\n(.*)", text, flags=re.DOTALL)
    try:
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
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']} (got {detail['input']!r})"
