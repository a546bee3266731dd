"""Strategies as data: a name is a list of phases, and several encoders have a list each.

Sources: eight strategies of Davila et al. arXiv:2406.10050; quarters and truncation, Khan and Fang arXiv:2307.10915.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import zoo
from fusion.tuning.phases import Phase, Rates, Stretch, timeline
from fusion.tuning.rules import RULES

Strategy = Any  # a name, a list of phases, or one of either per encoder (a list, or a mapping from encoder names)

# Learning-rate decay from block to block, towards the input. Source: He et al. arXiv:2111.06377, fine-tuning of ViT-B.
DECAY = 0.65
LORA_RANK = 8
# The authors' 0.1 is for SGD: under Adam it drowns the loss. Chosen on the validation slabs of the shipped task.
L1_ALPHA = 1e-4
BEST_QUARTER = {"contrastive": 2, "restorative": 3}
PULLED = ("l1-sp", "l2-sp")  # those with a penalty, whose alpha a study may vary
TRUNCATED = 0.75  # the deepest that `truncated` is for


def strategies() -> list[str]:
    """The names that `strategy=` takes."""
    return list(STRATEGIES)


def why_not(strategy: str, family: str, depth: float) -> str | None:
    """Say why an encoder of this family, cut at this depth, cannot have the strategy named; None where it can."""
    if strategy == "truncated" and depth > TRUNCATED:
        return f"depth {depth:g} is not truncated"
    if strategy == "best-quarter" and family not in BEST_QUARTER:
        return f"no best quarter is known for the family {family}"
    if (quarter := _own_quarter(strategy, family)) > math.ceil(4 * depth - 1e-9):
        return f"quarter {quarter} is cut off at depth {depth:g}"
    return None


def plan(strategy: Strategy, encoders: Sequence[zoo.Encoder], epochs: int) -> list[Stretch]:
    """The whole course of a fit.

    Args:
        strategy: As `FusionClassifier` takes it.
        encoders: What is tuned.
        epochs: In all; each phase takes one at least, and those that name their own may take more.

    Raises:
        ValueError: A name, a group or a value is not one of the allowed, or a strategy does not suit an encoder.
    """
    each = _each(strategy, encoders)
    return timeline([_shared(_phases(s, encoder), epochs) for s, encoder in zip(each, encoders, strict=True)])


def pulled(strategy: str, encoders: Sequence[zoo.Encoder], alpha: float) -> list[list[Phase]]:
    """A named strategy with another strength of its SP penalty, as phases per encoder.

    Raises:
        ValueError: The strategy has no penalty, or alpha is negative.
    """
    found = [_phases(strategy, encoder) for encoder in encoders]
    if not any(phase.penalty for phases in found for phase in phases):
        raise ValueError(f"alpha must be of a strategy with a penalty (got {strategy!r}). Try l2-sp or l1-sp.")
    return [
        [_checked(replace(phase, alpha=alpha) if phase.penalty else phase, encoder) for phase in phases]
        for phases, encoder in zip(found, encoders, strict=True)
    ]


def _each(strategy: Strategy, encoders: Sequence[zoo.Encoder]) -> list[Strategy]:
    if isinstance(strategy, str) or (_is_list(strategy) and all(map(_is_phase, strategy))):
        return [strategy] * len(encoders)
    names = [encoder.name for encoder in encoders]
    if isinstance(strategy, Mapping):
        plain = {name.partition("@")[0]: name for name in names}
        given = {plain.get(key, key): value for key, value in strategy.items()}
        if given.keys() != set(names) or len(given) != len(strategy):
            raise ValueError(f"strategy must name every encoder, {names} (got {list(strategy)}). Name each once.")
        return [given[name] for name in names]
    if not _is_list(strategy) or len(strategy) != len(encoders):
        raise ValueError(
            f"strategy must be a name, a list of phases, or one of these per encoder, {len(encoders)} "
            f"(got {strategy!r}). Try strategy='lp-ft'."
        )
    return list(strategy)


def _phases(strategy: Strategy, encoder: zoo.Encoder) -> list[Phase]:
    if isinstance(strategy, str):
        if strategy not in STRATEGIES:
            near = difflib.get_close_matches(strategy, STRATEGIES, 3, 0.4) or strategies()
            raise ValueError(
                f"strategy must be one of fusion.strategies() (got {strategy!r}). Try {' or '.join(near)}."
            )
        _check_suited(strategy, encoder)
        return STRATEGIES[strategy](encoder)
    if not _is_list(strategy) or not strategy or not all(map(_is_phase, strategy)):
        raise ValueError(
            f"strategy must be a name or a list of phases (got {strategy!r}). Try [{{'rates': {{'quarter-2': 1}}}}]."
        )
    return [_checked(_as_phase(phase), encoder) for phase in strategy]


def _as_phase(given: Phase | Mapping[str, Any]) -> Phase:
    if isinstance(given, Phase):
        return given
    unknown = sorted(set(given) - set(Phase.__dataclass_fields__))
    if unknown:
        allowed = list(Phase.__dataclass_fields__)
        raise ValueError(f"phase must have keys of {allowed} (got {unknown}). Remove or rename them.")
    return Phase(**given)


def _checked(phase: Phase, encoder: zoo.Encoder) -> Phase:
    if not isinstance(phase.rates, Mapping) or not all(type(rate) in (int, float) for rate in phase.rates.values()):
        raise ValueError(f"rates must be numbers by group (got {phase.rates!r}). Try {{'quarter-2': 1}}.")
    allowed = [group["name"] for group in [*encoder.quarters(), *encoder.blocks()]] + ["stem", "head"]
    unknown = [name for name in phase.rates if name not in allowed]
    if unknown:
        near = difflib.get_close_matches(unknown[0], allowed, 1, 0.0)
        raise ValueError(
            f"rates must name groups of {encoder.name}: {', '.join(_quarters(encoder))}, a stem, a block or head "
            f"(got {unknown}). Try {near[0]!r}, or load the encoder deeper."
        )
    if not all(rate >= 0 for rate in phase.rates.values()) or phase.rates.get("head", 1) <= 0:
        raise ValueError(
            f"rates must be >= 0, and > 0 for the head (got {dict(phase.rates)}). Leave a group out to freeze it."
        )
    if phase.epochs is not None and (not isinstance(phase.epochs, int) or phase.epochs < 1 or phase.solve):
        raise ValueError(f"epochs must be a positive integer, and none for solve (got {phase.epochs!r}). Try epochs=5.")
    if phase.penalty not in (None, "l1-sp", "l2-sp") or phase.rule not in (None, *RULES):
        raise ValueError(
            f"penalty must be l1-sp or l2-sp, rule {' or '.join(RULES)} (got {phase.penalty!r}, {phase.rule!r}). "
            "Leave out what is not wanted."
        )
    alone = {"solve": phase.solve, "lora": phase.lora, "rates": dict(phase.rates), "penalty": phase.penalty}
    given = [name for name, value in {**alone, "rule": phase.rule}.items() if value]
    if (phase.solve or phase.lora) and len(given) > 1 and set(phase.rates) != {"head"}:
        raise ValueError(f"phase must have solve or lora alone (got {given}). Make it a phase of its own.")
    if min(phase.alpha, phase.beta) < 0 or (phase.lora is not None and phase.lora < 1):
        got = (phase.alpha, phase.beta, phase.lora)
        raise ValueError(f"alpha and beta must be >= 0, lora a rank from 1 (got {got}). Leave them out.")
    return phase


def _shared(phases: list[Phase], epochs: int) -> list[Phase]:
    """Phases without epochs share what the others leave, at least one each; the remainder goes to the last."""
    open_ = [i for i, phase in enumerate(phases) if phase.epochs is None and not phase.solve]
    left = max(0, epochs - sum(phase.epochs or 0 for phase in phases))
    share = max(1, left // len(open_)) if open_ else 0
    counts = dict.fromkeys(open_, share)
    if open_:
        counts[open_[-1]] = max(1, left - share * (len(open_) - 1))
    return [replace(phase, epochs=counts.get(i, phase.epochs or 0)) for i, phase in enumerate(phases)]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_phase(value: Any) -> bool:
    return isinstance(value, Phase | Mapping)


def _quarters(encoder: zoo.Encoder) -> list[str]:
    return [str(group["name"]) for group in encoder.quarters()]


def _all(encoder: zoo.Encoder) -> Rates:
    return dict.fromkeys(_quarters(encoder), 1.0)


def _gradual(names: Sequence[str]) -> list[Phase]:
    """Open one quarter after the other; what is open stays open. Source: Howard and Ruder arXiv:1801.06146."""
    return [Phase(dict.fromkeys(names[:count], 1.0)) for count in range(1, len(names) + 1)]


def _own_quarter(strategy: str, family: str) -> int:
    """The only quarter that a strategy moves; 0 for those that move others."""
    if strategy == "best-quarter":
        return BEST_QUARTER[family]
    stem, _, number = strategy.rpartition("-")
    return int(number) if stem == "quarter" else 0


def _check_suited(strategy: str, encoder: zoo.Encoder) -> None:
    if why := why_not(strategy, encoder.card.family, encoder.depth):
        deeper = encoder.card.family in BEST_QUARTER or strategy != "best-quarter"
        depth = TRUNCATED if strategy == "truncated" else deeper and _own_quarter(strategy, encoder.card.family) / 4
        step = f"Load {encoder.card.name}@{depth:g}" if depth else "Try strategy='quarter-2' or 'quarter-3'"
        raise ValueError(f"strategy must suit {encoder.name} (got {strategy!r}: {why}). {step}.")


def _quarter(encoder: zoo.Encoder, strategy: str) -> list[Phase]:
    return [Phase({f"quarter-{_own_quarter(strategy, encoder.card.family)}": 1.0})]


def _decayed(encoder: zoo.Encoder) -> list[Phase]:
    """Block b of L moves at DECAY ** (L + 1 - b), the stem at DECAY ** (L + 1). Source: Bao et al. arXiv:2106.08254."""
    names = [group["name"] for group in encoder.blocks()]
    last = len([name for name in names if name != "stem"])
    return [Phase({name: DECAY ** (last + 1 - int(name.partition("-")[2] or 0)) for name in names})]


STRATEGIES: dict[str, Callable[[zoo.Encoder], list[Phase]]] = {
    "full": lambda e: [Phase(_all(e))],
    "probe": lambda _: [Phase(solve=True)],
    # BatchNorm statistics stay, as in the authors' main runs: the second phase then starts at the loss of the first.
    "lp-ft": lambda e: [Phase(solve=True), Phase(_all(e), statistics=False)],
    "gradual-last-first": lambda e: _gradual(_quarters(e)[::-1]),
    "gradual-first-last": lambda e: _gradual(_quarters(e)),
    "l1-sp": lambda e: [Phase(_all(e), penalty="l1-sp", alpha=L1_ALPHA)],
    "l2-sp": lambda e: [Phase(_all(e), penalty="l2-sp")],
    # The moments of Adam live on from epoch to epoch; the authors' code loses them.
    "auto-rgn": lambda e: [Phase(_all(e), rule="auto-rgn")],
    # Ours, not the authors': one outlying tensor slows all others, and a random head sends noise into every gradient.
    "auto-rgn-robust": lambda e: [Phase(_all(e), rule="auto-rgn-robust")],
    "lp-auto-rgn": lambda e: [Phase(solve=True), Phase(_all(e), rule="auto-rgn")],
    "quarter-1": partial(_quarter, strategy="quarter-1"),
    "quarter-2": partial(_quarter, strategy="quarter-2"),
    "quarter-3": partial(_quarter, strategy="quarter-3"),
    "quarter-4": partial(_quarter, strategy="quarter-4"),
    "best-quarter": partial(_quarter, strategy="best-quarter"),
    "truncated": lambda e: [Phase(_all(e))],
    "layer-decay": _decayed,
    "lora": lambda _: [Phase(lora=LORA_RANK)],
}
