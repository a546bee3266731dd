"""Terms: what a licence permits, which of a card's two licences binds, and the gate that every load passes."""

import contextlib
import functools
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from zoo.registry import cards as cards_
from zoo.registry.cards import Card, CardError, Evidence
from zoo.registry.words import shown

Kind = Literal["permissive", "copyleft", "non-commercial", "unknown"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # from the least to the most strict
POLICIES = ("allow", "warn", "refuse")

# Licence ids as the Hub and SPDX write them. An id that is not here (no derivatives, use restrictions, `other`) is
# unknown: only its text says what it permits. The order counts: a non-commercial rider on another licence binds.
_IDS: dict[Kind, str] = {
    "non-commercial": r"cc-by-nc(-.+)?|.*non-?commercial.*|cncrl(-.+)?|apple-amlr|h-research|intel-research",
    "copyleft": r"[al]?gpl(-\d(\.\d)?)?(-only|-or-later)?|cc-by-sa-\d\.\d|mpl-2\.0|epl-[12]\.0|eupl-1\.[12]|osl-3\.0"
    r"|cdla-sharing-1\.0|odbl|gfdl",
    "permissive": r"apache-2\.0|mit|bsd|bsd-2-clause|bsd-3-clause(-clear)?|cc0-1\.0|cc-by-\d\.\d|unlicense|isc|0bsd"
    r"|zlib|wtfpl|bsl-1\.0|afl-3\.0|artistic-2\.0|ecl-2\.0|ncsa|postgresql|pddl|odc-by|cdla-permissive-[12]\.0",
}

_MEANING: dict[Kind, str] = {
    "permissive": "The licences of all its encoders permit commercial use, if their notices are kept.",
    "copyleft": "Commercial use is permitted; who passes this model on, or one made from it, does so under the "
    "copyleft licence.",
    "non-commercial": "At least one encoder is licensed for non-commercial use only, and so is this model.",
    "unknown": "The terms of at least one encoder are not known, or of no known kind: until someone has read them, "
    "nothing says that this model may be used or passed on.",
}

_NOTE = """\
A fused or fine-tuned model carries the terms of every encoder it was made from: all those below apply. The encoders
may have been truncated and fine-tuned since they were published. This text repeats what the encoders' cards state;
it is no legal advice.
"""

_warned: set[str] = set()


class LicenceWarning(UserWarning):
    """The terms that bind a checkpoint are not permissive."""


class LicenceError(PermissionError):
    """`ZOO_LICENSE_POLICY=refuse`, and the terms that bind a checkpoint are not permissive."""


@dataclass(frozen=True)
class Side:
    """A licence as one side states it: the Hub's card, the original authors upstream, or the registry's card."""

    source: Literal["card", "upstream", "registry"]
    licence: str | None
    evidence: Evidence | None

    @property
    def kind(self) -> Kind:
        """Kind that the licence counts as: one that was not read, or not found, counts as unknown."""
        return "unknown" if self.evidence in ("inferred", "unknown") else kind(self.licence)

    def __str__(self) -> str:
        doubt = f", {self.evidence}" if self.licence and self.evidence in ("inferred", "unknown") else ""
        return f"{self.licence or 'none stated'} ({self.source}{doubt})"


@dataclass(frozen=True)
class Binding:
    """The stricter kind of a card's two licences, and the side that it comes from: at a tie, both."""

    kind: Kind
    sides: tuple[Side, ...]

    def __str__(self) -> str:
        return f"{self.kind}: {', '.join(map(str, self.sides))}"


def kind(licence: str | None) -> Kind:
    """Say what a licence id permits, in any case; None and an id that is not in the table are unknown.

    Example:
        >>> from zoo import terms
        >>> terms.kind("Apache-2.0"), terms.kind("lunit-non-commercial"), terms.kind("other")
        ('permissive', 'non-commercial', 'unknown')
    """
    wanted = (licence or "").strip().lower()
    return next((name for name, ids in _IDS.items() if re.fullmatch(ids, wanted)), "unknown")


def sides(card: Card) -> tuple[Side, Side]:
    """Give what card and upstream state, with the evidence for each; without any, the words count as given."""
    return (
        Side("card", card.terms.card, card.evidence.get("license")),
        Side("upstream", card.terms.upstream, card.evidence.get("upstream")),
    )


def binding(card: Card) -> Binding:
    """The stricter of card and upstream: unknown > non-commercial > copyleft > permissive.

    What the registry states of the same repo or file binds where it is stricter: no other card loosens it.
    """
    own = _bound(sides(card))
    known = [_bound(sides(other)) for other in _registered(card)]
    strict = max([own, *known], key=lambda binds: KINDS.index(binds.kind))
    return strict if strict is own else Binding(strict.kind, tuple(replace(s, source="registry") for s in strict.sides))


def commercial(card: Card) -> bool:
    """Tell whether the terms that bind permit commercial use: permissive and copyleft do, gated or not."""
    return binding(card).kind in ("permissive", "copyleft")


def strictest(cards: Sequence[Card]) -> Kind:
    """The terms of a model made from these encoders: the strictest of theirs.

    Raises:
        ValueError: There is no card.
    """
    if not cards:
        raise ValueError("cards must hold at least one card (got none). Pass zoo.card(NAME) of each encoder.")
    return _strictest([binding(card).kind for card in cards])


def check(card: Card, *, stacklevel: int = 3) -> None:
    """The gate of each load; `ZOO_LICENSE_POLICY` says what it does where the terms that bind are not permissive.

    Args:
        card: Of the checkpoint to load.
        stacklevel: Whose line the warning names; 3 is the caller of the function that calls this one.

    Raises:
        LicenceError: The policy is `refuse`.
        ValueError: The policy is not `allow`, `warn` (also when unset; once per name) or `refuse`.
    """
    policy, binds = _policy(), binding(card)
    if policy == "allow" or binds.kind == "permissive":
        return
    place = shown(str(card.source.url or card.path))
    if policy == "refuse":
        raise LicenceError(
            f"licence of {card.name} must be permissive (got {shown(str(binds))}). "
            f"Read its terms at {place}, then set ZOO_LICENSE_POLICY=allow."
        )
    if card.name not in _warned:
        text = shown(f"{card.name} has terms that bind its use ({binds}). Read them at {place}.")
        warnings.warn(f"{text} ZOO_LICENSE_POLICY=allow silences this.", LicenceWarning, stacklevel=stacklevel)
        _warned.add(card.name)  # after the warning: one that was made an error is not forgotten


def origin(card: Card) -> str:
    """Say where the weights come from, in words: repository and commit, or file."""
    weights = card.weights
    if weights.repo is None:
        return f"{weights.file}, sha256 {weights.sha256 or 'not known'}" if weights.file else "no repository stated"
    if weights.revision is None and weights.prefix:
        return f"{weights.repo} at {weights.prefix} (the rest of the commit is not known)"
    return f"{weights.repo} at {weights.revision or 'a commit that is not known'}"


def attribution(cards: Sequence[Card]) -> str:
    """The Markdown text that goes with a saved or exported model: its terms, then each encoder's credits and terms.

    Raises:
        ValueError: There is no card.
    """
    strict = strictest(cards)
    once = [card for i, card in enumerate(cards) if card not in cards[:i]]  # one encoder may serve at two depths
    head = f"# Terms and attribution\n\nTerms of this model: **{strict}**. {_MEANING[strict]}\n\n{_NOTE}"
    return "\n".join([head, *map(_credits, once)])


def _credits(card: Card) -> str:
    binds = binding(card)
    rows = {
        "Method": card.method,
        "Paper": card.source.paper or "none stated",
        "Source": card.source.url or "none stated",
        "Weights": origin(card),
        "Licences": ", ".join(map(str, sides(card))),
        "Binding": f"{binds.kind} ({' and '.join(side.source for side in binds.sides)})",
        "Gated": "yes, its terms are accepted on its page" if card.terms.gated else "no",
    }
    # A line break in a value must not end its row.
    lines = [f"* {key}: {' '.join(value.split())}\n" for key, value in rows.items()]
    return f"## {card.name}\n\n{''.join(lines)}"


def _bound(both: Sequence[Side]) -> Binding:
    strict = _strictest([side.kind for side in both])
    return Binding(strict, tuple(side for side in both if side.kind == strict))


def _registered(card: Card) -> list[Card]:
    """What the package's own cards say of the repo or of the bytes that this one names."""
    place = cards_.folder()
    if card.path.parent.resolve() == place.resolve():
        return []
    return [known for key in _keys(card) for known in _by_key(place).get(key, [])]


@functools.cache
def _by_key(place: Path) -> dict[str, list[Card]]:
    found: dict[str, list[Card]] = {}
    for path in cards_.paths(place).values():
        with contextlib.suppress(CardError):  # a card that cannot be read is named where it is listed
            card = cards_.read(path)
            for key in _keys(card):
                found.setdefault(key, []).append(card)
    return found


def _keys(card: Card) -> list[str]:
    weights = card.weights
    return [key for key in (weights.repo and weights.repo.casefold(), weights.sha256, weights.digests) if key]


def _policy() -> str:
    policy = os.environ.get("ZOO_LICENSE_POLICY") or "warn"
    if policy not in POLICIES:
        raise ValueError(f"ZOO_LICENSE_POLICY must be allow, warn or refuse (got {policy!r}). Correct or unset it.")
    return policy


def _strictest(kinds: Sequence[Kind]) -> Kind:
    return max(kinds, key=KINDS.index)
