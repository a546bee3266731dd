"""zoo: from a name to a verified, truncated, self-supervised encoder.

import zoo
encoder = zoo.load("mocov2-chest", depth=0.75)
features = encoder(encoder.preprocess(["scan.png"]))  # (1, 1024)
"""

from zoo.fetching.hub import WeightsError
from zoo.loading import load, untrained
from zoo.networks.encoder import Encoder, Report
from zoo.registry.cards import Card, CardError, names
from zoo.registry.cards import find as card
from zoo.registry.search import search
from zoo.registry.terms import LicenceError, LicenceWarning, attribution

__all__ = [
    "Card",
    "CardError",
    "Encoder",
    "LicenceError",
    "LicenceWarning",
    "Report",
    "WeightsError",
    "attribution",
    "card",
    "load",
    "names",
    "search",
    "untrained",
]
