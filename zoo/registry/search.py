"""Search: the cards that match, and those that others published on the Hub."""

import difflib
import warnings

from zoo.registry import cards, terms
from zoo.registry.cards import Card


def search(
    *,
    family: str | None = None,
    domain: str | None = None,
    architecture: str | None = None,
    commercial: bool | None = None,
    text: str | None = None,
) -> list[Card]:
    """The cards, sorted by name, that match everything given; a card that is not valid is left out with a warning.

    Args:
        family: A family that a card has, such as `"contrastive"`.
        domain: A domain that a card has, such as `"chest-x-ray"`.
        architecture: A timm name that a card has, such as `"resnet50"`.
        commercial: True keeps the cards whose binding terms permit commercial use, False the others.
        text: Words, in any case and order, that name, method or text of the card must all contain.

    Raises:
        ValueError: No card has that family, domain or architecture; the nearest are offered.
        TypeError: `commercial` is not True, False or None.
        CardError: `ZOO_CARDS` names no folder.

    Example:
        >>> import zoo
        >>> [card.name for card in zoo.search(architecture="resnet18", text="colin27 brain")]
        ['mae-mini', 'mocov2-mini']
    """
    wanted = {"family": family, "domain": domain, "architecture": architecture, "text": text}
    known, unread = cards.read_all()
    for name, reason in unread.items():
        warnings.warn(f"{name} left out: {reason}", stacklevel=2)
    return matching(known, **wanted, commercial=commercial)


def matching(
    known: list[Card],
    *,
    family: str | None = None,
    domain: str | None = None,
    architecture: str | None = None,
    commercial: bool | None = None,
    text: str | None = None,
) -> list[Card]:
    """Return the cards of `known` that match everything given, as in `search`."""
    if commercial not in (True, False, None):
        raise TypeError(f"commercial must be True, False or None (got {commercial!r}). Leave it out for all cards.")
    wanted = {"family": family, "domain": domain, "architecture": architecture}
    for key, value in wanted.items():
        _check(key, value, sorted({getattr(card, key) for card in known}))
    found = [card for card in known if all(value in (None, getattr(card, key)) for key, value in wanted.items())]
    if commercial is not None:
        found = [card for card in found if terms.commercial(card) == commercial]
    return [card for card in found if _contains(card, text or "")]


def _check(key: str, value: str | None, have: list[str]) -> None:
    if value is not None and value not in have:
        near = difflib.get_close_matches(str(value), have, n=3, cutoff=0.4) or have
        raise ValueError(f"{key} must be one that a card has (got {value!r}). Nearest: {', '.join(near)}.")


def _contains(card: Card, text: str) -> bool:
    whole = f"{card.name}\n{card.method}\n{card.body}".casefold()
    return all(word in whole for word in text.casefold().split())
