"""What may stand in the constructor of a `FusionClassifier`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import numpy.typing as npt

import zoo
from fusion.features.taps import Taps, split
from fusion.heads.modules import TRAINED
from fusion.tuning.phases import Stretch
from fusion.tuning.settings import Training

_EFFECTIVE = ("class_weight",)  # of the training settings, where the head is solved
_BEFORE = {"learning_rate": 1e-3}  # an earlier default, which saved models state


def check(model: Any) -> None:
    """Refuse what no fit could use.

    Raises:
        ValueError: Naming the parameter, what it may be and what it is.
    """
    if model.head not in TRAINED:
        raise ValueError(f"head must be one of {sorted(TRAINED)} (got {model.head!r}). Try head='concat'.")
    _check_encoders(listed(model.encoders))
    if not isinstance(model.training, Training | None):
        raise ValueError(f"training must be a fusion.Training (got {model.training!r}). Try Training(epochs=10).")
    _check_candidates(model.candidates, model.encoders)
    if not isinstance(model.seed, int | np.integer) or model.seed < 0:
        raise ValueError(f"seed must be an integer from 0 (got {model.seed!r}). Try seed=0.")
    if model.class_weight not in ("balanced", None):
        raise ValueError(f"class_weight must be 'balanced' or None (got {model.class_weight!r}). Leave it out.")
    if model.calibration not in ("temperature", None):
        raise ValueError(f"calibration must be 'temperature' or None (got {model.calibration!r}). Leave it out.")
    if model.select not in ("clean", "shifted"):
        raise ValueError(f"select must be 'clean' or 'shifted' (got {model.select!r}). Leave it out.")
    if not isinstance(model.compare_baselines, bool | np.bool_):
        raise ValueError(f"compare_baselines must be True or False (got {model.compare_baselines!r}). Leave it out.")
    if not isinstance(model.folds, int | np.integer) or model.folds < 2:
        raise ValueError(f"folds must be an integer from 2 (got {model.folds!r}). Try folds=5.")
    given = listed(model.encoders)
    count = 1 if isinstance(given, str) else sum(_blocks(encoder) for encoder in given)
    if model.C is not None and not _are_strengths(model.C, count):
        raise ValueError(
            f"C must be positive, one or one per encoder and depth, {count} (got {model.C!r}). Try C=0.03."
        )


def listed(encoders: Any) -> Any:
    """The encoders as a list: a name, an encoder or one with its depths is a list of one; `auto` stays what it is."""
    one = isinstance(encoders, str) and encoders != "auto"
    return [encoders] if one or isinstance(encoders, zoo.Encoder | Taps) else encoders


def _blocks(encoder: str | zoo.Encoder | Taps) -> int:
    """How many blocks of features an encoder is to give."""
    if isinstance(encoder, str):
        return len(split(encoder)[1] or (None,))
    return len(encoder.depths) if isinstance(encoder, Taps) else 1


def _are_strengths(C: Any, count: int) -> bool:
    found = np.asarray(C)
    numbers = found.dtype.kind in "iuf" and found.shape in ((), (count,))
    return numbers and bool((np.isfinite(found) & (found > 0)).all())


def _check_encoders(encoders: Any) -> None:
    if isinstance(encoders, str):  # auto
        return
    if not isinstance(encoders, Sequence | np.ndarray) or not len(encoders):
        raise ValueError(f"encoders must be a list of names, or 'auto' (got {encoders!r}). Try ['mae-mini'].")
    for encoder in encoders:
        if not isinstance(encoder, str | zoo.Encoder | Taps):
            inner = isinstance(getattr(encoder, "module", None), zoo.Encoder)
            step = "Pass its .module" if inner else "Load it by zoo.load"
            kind = type(encoder).__name__
            raise TypeError(f"encoders must be names, zoo.Encoder or fusion.Taps (got a {kind}). {step}.")


def _check_candidates(candidates: Any, encoders: Any) -> None:
    if candidates is None:
        return
    if isinstance(candidates, str) or not candidates or any(not isinstance(name, str) for name in candidates):
        raise ValueError(f"candidates must be a list of names (got {candidates!r}). Try ['mocov2-mini', 'mae-mini'].")
    if encoders != "auto":
        raise ValueError(f"candidates must come with encoders='auto' (got encoders={encoders!r}). Leave one out.")


def prior(given: Any, classes: Any, *, multilabel: bool) -> npt.NDArray[np.float64]:
    """(K,) frequencies of classes, from a list in their order or a dictionary.

    Raises:
        ValueError: They are not K numbers in (0, 1), or those of classes do not sum to 1.
    """
    names = classes.tolist()
    given = given.to_dict() if hasattr(given, "to_dict") else given  # a Series has an order of its own
    if isinstance(given, dict) and given.keys() == set(names):
        given = [given[name] for name in names]
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    inside = found.shape == (len(names),) and bool(((found > 0) & (found < 1)).all())
    if not inside or not (multilabel or np.isclose(found.sum(), 1, atol=1e-3)):
        total = "" if multilabel else ", summing to 1"
        raise ValueError(f"prior must be a frequency in (0, 1) for each of {names}{total} (got {given!r}). Give all.")
    return found


def check_effect(model: Any, solved: bool, validation: Any, *, multilabel: bool = False) -> None:
    """Refuse settings that a head solved on frozen features has no use for: who gives them expects an effect.

    Raises:
        ValueError: Naming them.
    """
    if model.calibration and multilabel:
        raise ValueError("calibration must be left out where images have several labels (got 'temperature').")
    idle_images = validation is None and (model.training or Training()).patience is None
    if model.calibration and not solved and idle_images:
        raise ValueError(
            "calibration must have images that are not trained on (got none, with patience=None). Pass validation=, or "
            "leave it out."
        )
    if not solved and model.select != "clean":
        raise ValueError(
            f"select must be 'clean' where encoders train (got {model.select!r} with strategy {model.strategy!r}). "
            "Leave it out, or vary images by Training(augment=...)."
        )
    if not solved or (model.training is None and validation is None):
        return
    given, plain = asdict(model.training or Training()), asdict(Training())
    usual = {key: (value, _BEFORE.get(key, value)) for key, value in plain.items()}
    idle = [key for key, value in given.items() if value not in usual[key] and key not in _EFFECTIVE]
    idle += [] if validation is None else ["validation"]
    if idle:
        raise ValueError(
            f"training must be left out where nothing is trained step by step (got {', '.join(idle)} with strategy "
            f"{model.strategy!r}). Leave it out, or try strategy='full'."
        )


def check_read(stretches: Sequence[Stretch], taps: Sequence[Taps]) -> None:
    """Refuse to train an encoder that is tapped below its end only: nothing would read its deepest layers.

    Raises:
        ValueError: Naming it.
    """
    for number, own in enumerate(taps):
        phases = [stretch.phases[number] for stretch in stretches]
        trains = any(phase.lora or set(phase.rates) - {"head"} for phase in phases)
        if trains and own.places[-1] < len(own.encoder.depths) - 1:
            card, end, deepest = own.encoder.card.name, own.encoder.depth, f"{own.depths[-1]:.12g}"
            raise ValueError(
                f"encoders that train must be tapped at their end (got {card}@{end:g} at {deepest} at most). "
                f"Load it there: zoo.load({card!r}, {deepest})."
            )


def penalties(C: float | Sequence[float] | None, count: int) -> list[float] | None:
    """One per block, of which there are `count`; None where they are to be chosen."""
    if C is None or np.ndim(C):
        return None if C is None else [float(c) for c in cast(Sequence[float], C)]
    return [float(cast(float, C))] * count
