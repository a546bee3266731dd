"""The page of `zoo browse`: every card, filtered in the browser, in one file that needs nothing outside it."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import resources

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from zoo.registry import terms
from zoo.registry.cards import Card

# A card may be anyone's: its HTML stays text, and its images would be fetched from outside.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
_MARKDOWN.add_render_rule(  # wide tables scroll, also by keyboard
    "table_open", lambda *_: '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>\n'
)
_MARKDOWN.add_render_rule("table_close", lambda *_: "</table></div>\n")

_PAPERS = {"arxiv:": "https://arxiv.org/abs/", "doi:": "https://doi.org/"}

# What can be filtered by, beside free text; the names are those of `zoo.search`, but `licence`.
_FILTERS: dict[str, Callable[[Card], str]] = {
    "family": lambda card: card.family,
    "domain": lambda card: card.domain,
    "architecture": lambda card: card.architecture,
    "licence": lambda card: terms.binding(card).kind,
}


def page(cards: Sequence[Card]) -> str:
    """A self-contained HTML page of `cards`, in their order; the same cards give the same bytes.

    Each card shows its depth, input, terms, weights and how its facts are known. Filters need JavaScript and live
    in the address (`#family=contrastive&licence=permissive&text=chest`); without it every card is shown.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("zoo.registry").joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        cards=cards,
        commercial=sum(map(terms.commercial, cards)),
        filters={name: sorted(Counter(map(value, cards)).items()) for name, value in _FILTERS.items()},
        values=lambda card: {name: value(card) for name, value in _FILTERS.items()},
        binding=terms.binding,
        sides=terms.sides,
        origin=terms.origin,
        call=_call,
        verified=_verified,
        prose=_prose,
        web=_web,
        digest=lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
    )


def _call(card: Card) -> str:
    weights = card.weights
    missing = {
        'weights="PATH"': weights.file is None,
        'revision="40 hex digits"': weights.file and weights.repo and weights.revision is None,
        "mean=[...]": card.input.mean is None,
        "std=[...]": card.input.std is None,
    }
    words = [f'"{card.name}"', *(word for word, absent in missing.items() if absent)]
    return f"zoo.load({', '.join(words)})"


def _verified(card: Card) -> str:
    weights = card.weights
    if weights.file is None:
        return "no file can be fetched: pass weights=PATH"
    if weights.repo and weights.digests is None:
        return "not yet verified online"
    return "checked at every load" if weights.digests or weights.sha256 else "no digest known"


def _prose(card: Card) -> Markup:
    tokens = _MARKDOWN.parse(card.body)
    if tokens and tokens[0].tag == "h1":
        del tokens[:3]  # the name, which the page shows already: its opening, text and closing
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, max(3, int(token.tag[1]) + 1))}"  # below the card's own heading
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _web(place: str | None) -> str | None:
    """The address to link to; None where `place` is none, so that no card can make a link run code."""
    for prefix, site in _PAPERS.items():
        if place and place.lower().startswith(prefix):
            return site + place[len(prefix) :].strip()
    return place if re.match("https?://", place or "") else None
