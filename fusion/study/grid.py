"""A study on paper: the cells that a config asks for, and the combinations that cannot exist.

Nothing here computes or reads data; `fusion.study` does.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import zoo
from fusion.study.config import Config, variant
from fusion.tuning.strategies import why_not

_FORMAT, _FUSED = 1, 2  # heads of several encoders choose their penalties otherwise since 0.2


@dataclass(frozen=True)
class Cell:
    """One model of the grid: what is fitted, on how many labels, under which seed.

    Attributes:
        encoders: Each with its depth, `name@depth`; none for raw pixels.
        strategy: The config's label.
        labels: As in the config.
        learning_rate: None where nothing is learnt step by step.
        untrained: Random weights.
        context: Whatever else changes the result, as a digest.
    """

    encoders: tuple[str, ...]
    head: str
    strategy: str
    labels: float | int | None
    learning_rate: float | None
    seed: int
    untrained: bool = False
    context: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        """A digest of the content: the name of the cell's files."""
        return digest(asdict(self))

    def __str__(self) -> str:
        inputs = " + ".join(self.encoders) or "raw pixels"
        amount = "all labels" if self.labels is None else f"labels {self.labels:g}"
        rate = "" if self.learning_rate is None else f", rate {self.learning_rate:g}"
        return f"{inputs}, {self.head}, {self.strategy}, {amount}{rate}, seed {self.seed}"


@dataclass(frozen=True)
class Facts:
    """Facts that the grid needs to know of an encoder: the depth it has when none is given, and its family."""

    depth: float
    family: str


@dataclass(frozen=True)
class Grid:
    """The cells; the combinations left out, and the cells whose encoder cannot be had, with the reason."""

    cells: list[Cell]
    left_out: dict[str, str]
    skipped: dict[str, str]


def lay_out(
    config: Config, facts: Mapping[str, Facts], data: str, absent: Mapping[str, str] = MappingProxyType({})
) -> Grid:
    """Every cell of the config, on the data with the fingerprint `data`.

    Args:
        config: Of the study.
        facts: Of every encoder of the config, by name without depth.
        data: What tells this data set from others.
        absent: Encoders that cannot be had here, by name without depth, with the reason.
    """
    left_out: dict[str, str] = {}
    rows = list(_mechanics(config, facts)) + (_raw(config) if config.raw_pixels else [])
    heads = {False: ["concat"], True: config.heads}
    for entry in _entries(config, facts):
        for label, told in config.strategies.items():
            definition = variant(told)["strategy"]
            reason = _impossible(config, definition, entry, facts, label)
            if reason is not None:
                left_out |= {f"{' + '.join(entry)}, {label}": reason} if reason else {}
                continue
            rates = [None] if frozen(definition) else config.learning_rates
            for head, labels, rate in itertools.product(heads[len(entry) > 1], config.labels, rates):
                rows.append(Cell(entry, head, label, labels, rate, 0))
    placed = (_placed(row, seed, config, data) for row in rows for seed in ([0] if row.untrained else config.seeds))
    cells = list(dict.fromkeys(placed))
    lacking = {cell: stem for cell in cells for stem, _ in map(zoo.split_name, cell.encoders) if stem in absent}
    skipped = {str(cell): absent[stem] for cell, stem in lacking.items()}
    return Grid([cell for cell in cells if cell not in lacking], left_out, skipped)


def digest(value: Any) -> str:
    """20 hex digits that tell plain values apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:20]


def per_encoder(definition: Any, encoders: Sequence[str]) -> list[Any] | None:
    """A definition that names a strategy for each encoder, in the order of `encoders`; None for one that does not."""
    if isinstance(definition, dict):
        return [definition[zoo.split_name(name)[0]] for name in encoders]
    mixed = isinstance(definition, list) and not all(isinstance(item, dict) for item in definition)
    return list(definition) if mixed else None


def _entries(config: Config, facts: Mapping[str, Facts]) -> Iterator[tuple[str, ...]]:
    """Each entry at each depth, once."""
    found = (
        tuple(name if "@" in name else f"{name}@{depth or facts[name].depth:g}" for name in entry)
        for entry in config.encoders
        for depth in config.depths
    )
    yield from dict.fromkeys(found)


def _impossible(
    config: Config, definition: Any, entry: tuple[str, ...], facts: Mapping[str, Facts], label: str
) -> str | None:
    """Why the strategy cannot be had on these encoders; empty where the config itself rules it out, None if it can."""
    pairs = [zoo.split_name(name) for name in entry]
    stems = [stem for stem, _ in pairs]
    if any(label not in config.only.get(stem, [label]) for stem in stems):
        return ""
    if isinstance(definition, dict) and set(definition) != set(stems):
        return f"is for {' + '.join(definition)}"
    parts = per_encoder(definition, entry)
    if parts is not None and len(parts) != len(entry):
        return f"is for {len(parts)} encoders"
    each = zip(pairs, parts or [definition] * len(entry), strict=True)
    named = ((stem, depth, part) for (stem, depth), part in each if isinstance(part, str))
    reasons = (why_not(part, facts[stem].family, depth or facts[stem].depth) for stem, depth, part in named)
    return next(filter(None, reasons), None)


def frozen(definition: Any) -> bool:
    """Whether a definition leaves every encoder as it is."""
    parts = definition.values() if isinstance(definition, dict) else definition
    return definition == "probe" or (not isinstance(parts, str) and all(map(_still, parts)))


def _still(part: Any) -> bool:
    """Whether nothing of it is learnt step by step."""
    return part == "probe" or (isinstance(part, dict) and bool(part.get("solve")))


def _raw(config: Config) -> list[Cell]:
    return [Cell((), "concat", "probe", labels, None, 0) for labels in config.labels]


def _mechanics(config: Config, facts: Mapping[str, Facts]) -> Iterator[Cell]:
    plan = config.mechanics
    for name, strategy in itertools.product(plan.encoders, plan.strategies) if plan else ():
        full = name if "@" in name else f"{name}@{facts[name].depth:g}"
        rate = None if strategy == "probe" else config.learning_rates[0]
        yield Cell((full,), "concat", strategy, plan.images if plan else None, rate, 0, untrained=True)


def _placed(row: Cell, seed: int, config: Config, data: str) -> Cell:
    """The row under a seed, with everything else that its result hangs on."""
    training = {
        **config.training,
        **({"epochs": config.mechanics.epochs} if row.untrained and config.mechanics else {}),
    }
    definition = config.strategies.get(row.strategy, row.strategy)
    size = config.mechanics.size if row.untrained and config.mechanics else None
    # Only where there is one: cells of before there were windows go on under their keys.
    window = [config.window] if config.window else []
    context = digest(
        [_FUSED if len(row.encoders) > 1 else _FORMAT, definition, training, config.stop_images, size, data, *window]
    )
    return Cell(**{**asdict(row), "seed": seed, "context": context})
