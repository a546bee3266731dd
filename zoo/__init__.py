"""zoo: from a name to a verified, truncated, self-supervised encoder.

import zoo
encoder = zoo.load("mocov2-chest", depth=0.75)
features = encoder(encoder.preprocess(["scan.png"]))  # (1, 1024)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.fetching.hub import WeightsError
    from zoo.images.listing import listed
    from zoo.images.reading import fault, is_image
    from zoo.loading import load, restore, untrained
    from zoo.networks.encoder import Encoder, Report
    from zoo.registry.cards import Card, CardError, names, split_name
    from zoo.registry.cards import find as card
    from zoo.registry.search import search
    from zoo.registry.terminal import Terminal
    from zoo.registry.terms import LicenceError, LicenceWarning, attribution
    from zoo.registry.words import shown

__all__ = [
    "Card",
    "CardError",
    "Encoder",
    "LicenceError",
    "LicenceWarning",
    "Report",
    "Terminal",
    "WeightsError",
    "attribution",
    "card",
    "fault",
    "is_image",
    "listed",
    "load",
    "names",
    "restore",
    "search",
    "shown",
    "split_name",
    "untrained",
]

# A name is imported when it is first touched: a list of cards, or a page of help, need not wait for torch.
_HOMES = {
    "Card": "zoo.registry.cards.Card",
    "CardError": "zoo.registry.cards.CardError",
    "Encoder": "zoo.networks.encoder.Encoder",
    "LicenceError": "zoo.registry.terms.LicenceError",
    "LicenceWarning": "zoo.registry.terms.LicenceWarning",
    "Report": "zoo.networks.encoder.Report",
    "Terminal": "zoo.registry.terminal.Terminal",
    "WeightsError": "zoo.fetching.hub.WeightsError",
    "attribution": "zoo.registry.terms.attribution",
    "card": "zoo.registry.cards.find",
    "fault": "zoo.images.reading.fault",
    "is_image": "zoo.images.reading.is_image",
    "listed": "zoo.images.listing.listed",
    "load": "zoo.loading.load",
    "names": "zoo.registry.cards.names",
    "restore": "zoo.loading.restore",
    "search": "zoo.registry.search.search",
    "shown": "zoo.registry.words.shown",
    "split_name": "zoo.registry.cards.split_name",
    "untrained": "zoo.loading.untrained",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, own = _HOMES[name].rpartition(".")
    globals()[name] = value = getattr(importlib.import_module(home), own)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
