"""What a study's config names must exist: told before anything is read or computed."""

import dataclasses
import difflib
from itertools import chain
from typing import Any

import zoo
from fusion import modules, tuning
from fusion.brain_mr import NAME as BRAIN_MR
from fusion.grid import Facts
from fusion.settings import Training
from fusion.study_config import Config


def check(config: Config) -> None:
    """Refuse a config that names what does not exist.

    Raises:
        ValueError: An encoder, head, strategy or field of training is unknown; the nearest are offered.
    """
    for name in [*(config.mechanics.encoders if config.mechanics else ()), *chain(*config.encoders)]:
        facts(name)
    for head in config.heads:
        _known("heads", head, modules.MODULES)
    mechanics = config.mechanics.strategies if config.mechanics else []
    for definition in [*config.strategies.values(), *mechanics]:
        parts = definition.values() if isinstance(definition, dict) else definition
        for name in [parts] if isinstance(parts, str) else parts:
            if isinstance(name, str):
                _known("strategies", name, tuning.strategies())
    for name in config.training:
        _known("training", name, [field.name for field in dataclasses.fields(Training)])
    Training(**{**config.training, "checkpoint": "work"})  # its values


def check_offline(config: Config) -> None:
    """Refuse a config that would fetch weights.

    Raises:
        ValueError: An encoder's weights are not in the package.
    """
    names = {name.partition("@")[0] for entry in config.encoders for name in entry} - {BRAIN_MR}
    if fetched := sorted(name for name in names if zoo.card(name).weights.repo is not None):
        raise ValueError(
            f"encoders of the small form must be in the package (got {', '.join(fetched)}). Name others under `small`."
        )


def facts(name: str) -> Facts:
    """Depth and family of an encoder by name."""
    stem, at, depth = name.partition("@")
    if at and not _is_share(depth):
        raise ValueError(f"depth must be a number in (0, 1] (got {name!r}). Try {stem}@0.75.")
    if stem == BRAIN_MR:
        return Facts(1.0, "supervised")
    card = zoo.card(stem)
    return Facts(card.depth.optimal, card.family)


def _is_share(text: str) -> bool:
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False


def _known(key: str, name: str, allowed: Any) -> None:
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=2, cutoff=0.3) or sorted(allowed)
        raise ValueError(f"{key} must name one of {', '.join(allowed)} (got {name!r}). Nearest: {', '.join(near)}.")
