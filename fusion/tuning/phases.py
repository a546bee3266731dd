"""Phases: for how long, which weights of an encoder move, and how fast.

Groups of weights are `stem`, `quarter-1..4` (the stem goes with the first), or single `block-b`; the most exact name
counts, and what is not named is frozen, BatchNorm statistics included. The new head always trains.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

import zoo

Rates = Mapping[str, float]


@dataclass(frozen=True)
class Phase:
    """One stretch of a strategy for one encoder.

    Attributes:
        rates: Share of the learning rate per group; a group that is not named is frozen.
        epochs: How many; None shares what the other phases leave.
        solve: No epochs: the head is fitted to its optimum on the features as they are.
        penalty: `l1-sp` or `l2-sp`, with strengths `alpha` (distance from the pretrained weights) and `beta` (head).
        rule: `auto-rgn`: at the start of every epoch each tensor's rate is measured, as a share of its group's.
            `auto-rgn-robust`: likewise, by a maximum that outlying tensors do not set; see `rules.relative_norms`.
        statistics: BatchNorm statistics of groups that move go along; False keeps them still. Heeded where
            `Training.statistics` leaves it to the strategy.
        lora: Rank of LoRA adapters, the only weights of the encoder that then move.
    """

    rates: Rates = field(default_factory=dict)
    epochs: int | None = None
    solve: bool = False
    penalty: str | None = None
    alpha: float = 0.1
    beta: float = 0.01
    rule: str | None = None
    statistics: bool = True
    lora: int | None = None


@dataclass(frozen=True)
class Stretch:
    """Phases of all encoders at one time, one each. `epochs` is 0 where the head is solved."""

    epochs: int
    phases: tuple[Phase, ...]

    @property
    def solve(self) -> bool:
        """True where the head is fitted to its optimum in this stretch."""
        return any(phase.solve for phase in self.phases)

    @property
    def head(self) -> float:
        """Share of the learning rate at which the head trains."""
        return max((phase.rates["head"] for phase in self.phases if "head" in phase.rates), default=1.0)


@dataclass(frozen=True)
class Group:
    """Parameters of one encoder that share a rate."""

    name: str
    params: list[nn.Parameter]
    rate: float


def timeline(plans: Sequence[Sequence[Phase]]) -> list[Stretch]:
    """Lay plans side by side: a stretch begins where an encoder's phase does; an encoder that is through is frozen."""
    starts = [list(itertools.accumulate((phase.epochs or 0 for phase in phases), initial=0)) for phases in plans]
    times = sorted({time for own in starts for time in own})
    stretches = []
    for start, end in itertools.zip_longest(times, times[1:]):
        begun = [
            [phase for phase, at in zip(phases, own, strict=False) if at == start and phase.solve]
            for phases, own in zip(plans, starts, strict=True)
        ]
        if any(begun):
            stretches.append(Stretch(0, tuple(solves[0] if solves else Phase() for solves in begun)))
        if end is not None:
            active = tuple(_at(phases, own, start) for phases, own in zip(plans, starts, strict=True))
            stretches.append(Stretch(end - start, active))
    return stretches


def groups(phase: Phase, encoder: zoo.Encoder) -> list[Group]:
    """The encoder's parameters by block, with their rates; norm layers stay out of Auto-RGN, by its definition."""
    quarter = {id(p): str(group["name"]) for group in encoder.quarters() for p in group["params"]}
    skipped = _norms(encoder) if phase.rule else set()
    found = []
    for group in encoder.blocks():
        inside = quarter[id(group["params"][0])] if group["params"] else ""
        rate = phase.rates.get(group["name"], phase.rates.get(inside, 0.0))
        found.append(Group(group["name"], [p for p in group["params"] if id(p) not in skipped], rate))
        found.append(Group(f"{group['name']} norms", [p for p in group["params"] if id(p) in skipped], 0.0))
    return [group for group in found if group.params]


def movers(
    stretch: Stretch, encoders: Sequence[zoo.Encoder], head: nn.Module, shares: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """Free what moves, freeze the rest, and return what moves as a torch optimiser takes it, with a `rate` per group.

    The head comes first. Auto-RGN has a group per tensor; adapters, put in before, are a group of their own. `shares`
    slows encoders whose architecture wants smaller rates than another's beside it: one in (0, 1] per encoder.
    """
    made: list[dict[str, Any]] = [{"name": "head", "params": list(head.parameters()), "rate": stretch.head}]
    for encoder, phase, share in zip(encoders, stretch.phases, shares or [1.0] * len(encoders), strict=True):
        if phase.lora:
            found = [Group("lora", [p for p in encoder.parameters() if p.requires_grad], 1.0)]
        else:
            found = groups(phase, encoder)
        for group in found:
            for parameter in group.params:
                parameter.requires_grad_(group.rate > 0)
        moving = [group for group in found if group.rate > 0]
        if phase.rule:
            names = {id(p): name for name, p in encoder.named_parameters()}
            moving = [Group(names[id(p)], [p], group.rate) for group in moving for p in group.params]
        for group in moving:
            rate = group.rate * share
            made.append({"name": f"{encoder.name} {group.name}", "params": group.params, "rate": rate, "share": rate})
    return made


def _at(phases: Sequence[Phase], starts: Sequence[int], time: int) -> Phase:
    running = (
        phase for phase, start in zip(phases, starts, strict=False) if start <= time < start + (phase.epochs or 0)
    )
    return next(running, Phase())


def _norms(encoder: nn.Module) -> set[int]:
    # By kind, not by name: `downsample.1` is a norm too.
    layers = [m for m in encoder.modules() if "norm" in type(m).__name__.lower()]
    return {id(p) for layer in layers for p in layer.parameters(recurse=False)}
