"""What a study's config names must exist: told before anything is read or computed."""

import dataclasses
import difflib
from itertools import chain
from typing import Any

from fusion.heads import modules
from fusion.study import encoders
from fusion.study.config import Config
from fusion.tuning import strategies
from fusion.tuning.settings import Training


def check(config: Config) -> None:
    """Refuse a config that names what does not exist.

    Raises:
        ValueError: An encoder, head, strategy or field of training is unknown; the nearest are offered.
    """
    for name in [*(config.mechanics.encoders if config.mechanics else ()), *chain(*config.encoders)]:
        encoders.facts(name)
    for head in config.heads:
        _known("heads", head, modules.MODULES)
    mechanics = config.mechanics.strategies if config.mechanics else []
    for definition in [*config.strategies.values(), *mechanics]:
        parts = definition.values() if isinstance(definition, dict) else definition
        for name in [parts] if isinstance(parts, str) else parts:
            if isinstance(name, str):
                _known("strategies", name, strategies.strategies())
    for name in config.training:
        _known("training", name, [field.name for field in dataclasses.fields(Training)])
    Training(**{**config.training, "checkpoint": "work"})  # its values


def check_offline(config: Config) -> None:
    """Refuse a config that would fetch weights.

    Raises:
        ValueError: An encoder's weights are not in the package.
    """
    cards = [encoders.card(name) for entry in config.encoders for name in entry]
    if fetched := sorted({card.name for card in cards if card and card.weights.repo is not None}):
        raise ValueError(
            f"encoders of the small form must be in the package (got {', '.join(fetched)}). Name others under `small`."
        )


def _known(key: str, name: str, allowed: Any) -> None:
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=2, cutoff=0.3) or sorted(allowed)
        raise ValueError(f"{key} must name one of {', '.join(allowed)} (got {name!r}). Nearest: {', '.join(near)}.")
