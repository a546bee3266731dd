"""What a machine that reaches the Hub can add to the cards: commits, sizes, digests, golden features.

Run by `zoo verify --all --online --record CARDS_DIR`. Every card's file is fetched whole, checked against the sha256
that the card or else the Hub states, loaded strictly at the golden depths, and only then written about.
"""

import functools
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zoo.fetching import digests, hub, opened
from zoo.fetching.digests import Digests
from zoo.fetching.pieces import write
from zoo.fetching.places import remote_of
from zoo.fetching.weights import open_weights
from zoo.loading import assemble
from zoo.registry import cards
from zoo.registry.cards import Card
from zoo.upkeep import golden
from zoo.upkeep.conversion import convert_card

_COMPUTED = ("architecture", "kwargs", "layout", "bytes", "sha256")  # a strict load and the bytes themselves say so
_UNVERIFIED = "**Not yet verified online.**"
_VERIFIED = """\
**Verified online** at commit {revision}: the file has the sha256 that the card or the Hub stated, loads strictly into
the whole network, and its digests and golden features are recorded beside this card. What was known before that:"""


@dataclass(frozen=True)
class Outcome:
    """Result for one card: `recorded`, `proposed` (a commit), `skipped` or `failed`, and why."""

    name: str
    state: str
    detail: str


def record(folder: Path, names: Iterable[str] | None = None, *, accept: bool = False) -> list[Outcome]:
    """Verify the cards of `folder` online, and write into them what was learnt.

    Args:
        folder: Cards, `NAME.md`; their digests go to `digests/NAME.json` beside them.
        names: Some of them; None takes all.
        accept: Pin a card that names no commit to the repo's newest one; otherwise that is only proposed.

    Raises:
        ValueError: The folder holds no such card.
    """
    known = cards.paths(folder)
    wanted = list(known) if names is None else list(names)
    if missing := [name for name in wanted if name not in known]:
        raise ValueError(f"cards must be in {folder} (got {', '.join(missing)}). Name cards that are there.")
    return [_outcome(known[name], accept=accept) for name in wanted]


def _outcome(path: Path, *, accept: bool) -> Outcome:
    try:
        card = cards.read(path)
        if card.weights.file is None:
            return Outcome(card.name, "skipped", f"no file can be fetched ({card.source.url})")
        if card.weights.repo is not None and card.weights.revision is None:
            revision = _commit(card)
            if card.weights.prefix is None and not accept:
                return Outcome(card.name, "proposed", f"revision {revision}; run again with --accept to pin it")
            card = cards.fill(card, revision=revision)
        return _recorded(card)
    except (ValueError, TypeError, OSError) as error:
        return Outcome(path.stem, "failed", str(error))


def _commit(card: Card) -> str:
    """The newest commit, or the one that starts as the card says."""
    found = hub.commits(str(card.weights.repo))
    fitting = [commit for commit in found if commit.startswith(card.weights.prefix or "")]
    if not fitting or (card.weights.prefix and len(fitting) > 1):
        raise ValueError(
            f"revision must start with {card.weights.prefix} (got {len(fitting)} such commits of {len(found)}). "
            "Look the commit up."
        )
    return fitting[0]


def _recorded(card: Card) -> Outcome:
    if card.weights.repo and not str(card.weights.file).endswith(".safetensors"):
        convert_card(card)
    file = open_weights(card, whole=True)
    known = file.digests or opened.digest(file.path)
    values = {f"{depth:g}": golden.values(assemble(card, depth)) for depth in golden.DEPTHS}
    _check_golden(values, known)
    data = digests.dump(known.model_copy(update={"golden": values}))
    facts = {"revision": card.weights.revision, "size": _size(card, known), "sha256": known.source or known.file}
    text = _edited(card, facts | {"digests": digests.sha256(data)})
    write(card.path.parent / "digests" / f"{card.name}.json", data)
    write(card.path, text.encode())
    return Outcome(card.name, "recorded", f"{len(known.tensors)} tensors, {known.size} bytes")


def _check_golden(values: dict[str, list[float]], known: Digests) -> None:
    if not all(math.isfinite(value) for row in values.values() for value in row):
        raise ValueError("features must be finite (got NaN or infinity). Look at the weights.")
    cosines = {depth: golden.cosine(values[depth], row) for depth, row in known.golden.items() if depth in values}
    if not min(cosines.values(), default=1.0) >= golden.CLOSE:
        raise ValueError(f"features must be the golden ones recorded before (got cosines {cosines}). Compare timm.")


def _size(card: Card, known: Digests) -> int:
    """Of the file as published, which for a pickle is not the one the digests are of."""
    pickled = remote_of(card).cached if known.source else None
    return pickled.stat().st_size if pickled else known.size


def _edited(card: Card, facts: dict[str, Any]) -> str:
    """The card's text with what was learnt, and without what is no longer true."""
    text = _updated(card.path.read_text(encoding="utf-8"), "weights", facts, drop="prefix")
    if card.weights.repo is None:
        return text
    text = _updated(
        text, "evidence", dict.fromkeys(("revision", "file"), "seen") | dict.fromkeys(_COMPUTED, "computed")
    )
    replaced = {
        "\nlayout: read, not run\n": "\nlayout: run on the published file\n",
        "\nThe commit must be given by whoever loads it:\n": "\n",
        ', revision="<40 hex>"': "",
        _UNVERIFIED: _VERIFIED.format(revision=card.weights.revision),
    }
    return functools.reduce(lambda done, pair: done.replace(*pair), replaced.items(), text)


def _updated(text: str, block: str, values: dict[str, Any], drop: str = "") -> str:
    """`values` written into the one-line mapping called `block`, everything else byte for byte as it was."""
    line = re.search(rf"^  {block}: (\{{.*\}})$", text, flags=re.MULTILINE)
    if line is None:
        raise ValueError(f"{block} must be written on one line, as in the other cards (got none). Edit the card.")
    found = yaml.safe_load(line[1]) | values
    flow = ", ".join(f"{key}: {_word(value)}" for key, value in found.items() if key != drop)
    return text[: line.start(1)] + f"{{{flow}}}" + text[line.end(1) :]


def _word(value: Any) -> str:
    # A bare word stays bare; what YAML could take for a number is quoted.
    plain = isinstance(value, str) and re.fullmatch(r"[a-z][a-z-]*(\.[a-z]+)?", value)
    return str(value) if plain else json.dumps(value)
