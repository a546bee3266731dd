"""Where a card's file lies: on the Hub, in the cache, converted."""

import json
from pathlib import Path

from zoo.fetching import digests as digests_
from zoo.fetching.pieces import Store
from zoo.fetching.wire.refusals import WeightsError
from zoo.fetching.wire.remote import Remote
from zoo.fetching.wire.shelf import cache
from zoo.registry.cards import Card


def store_of(card: Card) -> Store:
    """The cache of the card's file."""
    # No part of a card's path or repo holds a percent sign, so two files never share a folder.
    parts = (str(part).replace("/", "%2F") for part in (card.weights.repo, card.weights.revision, card.weights.file))
    return Store(cache().joinpath(*parts))


def remote_of(card: Card) -> Remote:
    """The card's file on the Hub."""
    if card.weights.repo is None or card.weights.revision is None or card.weights.file is None:
        raise WeightsError(
            f"revision must be pinned (got None). Pass zoo.load({card.name!r}, revision='<40 hex digits>')."
        )
    known = card.weights
    return Remote(card.weights.repo, card.weights.revision, card.weights.file, sha256=known.sha256, length=known.size)


def converted(source: str, card: Card) -> Path:
    """Say where the safetensors file lies that was made, as `card` says, from the pickled file with sha256 `source`."""
    recipe = json.dumps([card.architecture, card.kwargs, card.weights.layout], sort_keys=True, default=str)
    return cache() / "converted" / source / digests_.sha256(recipe.encode())[:16] / "model.safetensors"
