"""Cards: one Markdown file per checkpoint, whose front matter is the registry row."""

import difflib
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from zoo.registry.record import NAME, PART, Card, Depth, Evidence, Family, Input, Layout, Record, Source, Terms, Weights
from zoo.registry.words import shown

PACKAGE = Path(__file__).parents[1]
_LONGEST = 500_000  # characters
_DEEPEST = 12
_MOST = 5_000

# What a card is made of is spoken of as `cards.Input` and so on.
__all__ = [
    "PART",
    "Card",
    "CardError",
    "Depth",
    "Evidence",
    "Family",
    "Input",
    "Layout",
    "Record",
    "Source",
    "Terms",
    "Weights",
]


class CardError(ValueError):
    """A card cannot be found or does not say what a card must say."""

    def __init__(self, text: str) -> None:
        super().__init__(shown(text))  # it quotes what others wrote


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
        TypeError: The name is no text.

    Example:
        >>> import zoo
        >>> zoo.split_name("mocov2-chest@0.75")
        ('mocov2-chest', 0.75)
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a text (got {name!r}). Take one of zoo.names().")
    stem, at, text = name.partition("@")
    if not at:
        return stem, None
    try:
        depth = float(text)
    except ValueError:
        depth = math.nan
    if not 0 < depth <= 1:
        several = "+" in text or text == "quarters"
        step = f"{stem}@0.75" + several * f", or all of them in fusion.FusionClassifier([{name!r}])"
        raise ValueError(f"depth must be a number in (0, 1] (got {text!r}). Try {step}.")
    return stem, depth


def find(name: str) -> Card:
    """The card called `name`.

    Raises:
        CardError: No card has that name (the nearest names are offered), two have it, or the card is not valid.
    """
    known = _paths()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4) or sorted(known)
        raise CardError(f"name must be a known checkpoint (got {name!r}). Nearest: {', '.join(near)}.")
    for other in shadows(name):
        raise CardError(
            f"name must belong to one card (got {name!r} of {known[name]} and of {other}). "
            "Rename the second, or pass it as card=PATH."
        )
    return read(known[name])


def read_all() -> tuple[list[Card], dict[str, str]]:
    """The cards by name, and by what could not be read why: one that is not valid takes no other along."""
    found: list[Card] = []
    unread: dict[str, str] = {}
    for name, path in sorted(_paths().items()):
        try:
            found.append(read(path))
        except CardError as error:
            unread[name] = str(error)
        unread |= {str(other): f"{path} has its name. Rename it." for other in shadows(name)}
    return found, unread


def shadows(name: str) -> list[Path]:
    """The other cards of a name: which of two is meant must not depend on the order of folders."""
    first, *others = [found[name] for place in _folders() if name in (found := paths(place))]
    return [path for path in others if not _same(path, first)]


def read(path: str | Path) -> Card:
    """Read one card; the file's stem is its name.

    Raises:
        CardError: The file is missing, has no front matter, or a key is unknown, missing or has a wrong value.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise CardError(f"card must be a readable file (got {str(path)!r}: no file). Check the path.")
        with path.open(encoding="utf-8") as stream:
            text = stream.read(_LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        fact = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CardError(f"card must be a readable file (got {str(path)!r}: {fact}). Check the path.") from None
    return parse(text, path.stem, path)


def parse(text: str, name: str, path: Path) -> Card:
    """Read a card's text; `name` is its file's stem or, on the Hub, its repo."""
    front, body = _split(text, path)
    try:
        return Card(name=name, path=path, body=body, **front)
    except Exception as error:  # whatever a value provokes, it is the card's
        raise CardError(f"card {path} must follow the card format: {_first(error)}. Edit its front matter.") from None


def fill(
    card: Card,
    *,
    revision: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
    window: Sequence[float] | None = None,
) -> Card:
    """The card with facts that it leaves unknown; a fact that it states is not overridden.

    Raises:
        ValueError: The card states that fact already, or the value is not one.
    """
    given = {"revision": revision, "mean": mean and list(mean), "std": std and list(std)}
    given |= {"interpolation": interpolation, "window": None if window is None else [float(end) for end in window]}
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
    return {name: path for name, path in found.items() if NAME.fullmatch(name) and name != "readme"}


def within(card: Card, repo: str) -> Card:
    """The card for a file of the same name in a repo on the Hub."""
    return card.model_copy(update={"weights": card.weights.model_copy(update={"repo": repo})})


def weights_file(card: Card) -> Path:
    """The local file of a card without a repo: in the package for the package's own cards, else beside the card."""
    own = card.path.parent.resolve() == folder().resolve()
    return (PACKAGE / "_weights" if own else card.path.parent) / str(card.weights.file)


def _paths() -> dict[str, Path]:
    # The package's own come first, and no other card takes their names.
    return {name: path for place in reversed(list(_folders())) for name, path in paths(place).items()}


def _same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve() or (path.is_file() and path.read_bytes() == other.read_bytes())


def _folders() -> Iterator[Path]:
    yield folder()
    for entry in filter(None, os.environ.get("ZOO_CARDS", "").split(os.pathsep)):
        if not Path(entry).is_dir():
            raise CardError(f"ZOO_CARDS must name existing folders (got {entry!r}). Correct or unset it.")
        yield Path(entry)


def _split(text: str, path: Path) -> tuple[dict[str, Any], str]:
    if len(text) > _LONGEST:
        raise CardError(f"card {path} must be at most {_LONGEST:,} characters long (got more). Shorten it.")
    match = re.match(r"---\n(.*?)\n---\n(.*)", text, flags=re.DOTALL)
    try:
        if match:
            _check_events(match[1])
        front = yaml.load(match[1], _Loader) if match else None
    except Exception as error:  # YAML itself raises what the numbers, dates and brackets of the text provoke
        fact = " ".join(str(error).split())[:300] or type(error).__name__
        raise CardError(f"card {path} must start with valid YAML ({fact}). Edit it.") from None
    if match is None or not isinstance(front, dict) or not isinstance(front.get("zoo"), dict):
        raise CardError(f"card {path} must start with YAML front matter that holds a `zoo:` block. Add one.")
    return front["zoo"], match[2]


def _check_events(front: str) -> None:
    """Refuse, before anything is built of it, text of many values, deep brackets or aliases."""
    depth = 0
    for count, event in enumerate(yaml.parse(front, yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it must write out each value (got a YAML alias)")
        if depth > _DEEPEST or count > _MOST:
            raise ValueError(f"it must hold at most {_MOST} values, nested {_DEEPEST} deep")


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML's own reader lets the last win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [name[:100] for name, count in counts.items() if count > 1]:
            raise ValueError(f"it must give each key once (got {twice[0]!r} twice)")
        return super().construct_mapping(node, deep)


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())[:300] or type(error).__name__
    # A misspelt key shows as unknown and as missing: the unknown one says more.
    detail = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    return f"{'.'.join(map(str, detail['loc']))[:100]}: {detail['msg'][:200]} (got {_got(detail['input'])})"


def _got(value: Any) -> str:
    try:
        return repr(value)[:200]
    except ValueError:  # a number of too many digits to be written
        return f"a {type(value).__name__}"
