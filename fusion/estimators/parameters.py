"""What may stand in the constructor of a `FusionClassifier`."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from fusion.heads.modules import TRAINED
from fusion.tuning.phases import Stretch
from fusion.tuning.settings import Training


def check(model: Any) -> None:
    """Refuse what no fit could use.

    Raises:
        ValueError: Naming the parameter, what it may be and what it is.
    """
    if model.head not in TRAINED:
        raise ValueError(f"head must be one of {sorted(TRAINED)} (got {model.head!r}). Try head='concat'.")
    if (isinstance(model.encoders, str) and model.encoders != "auto") or not len(model.encoders):
        raise ValueError(f"encoders must be a list of names, or 'auto' (got {model.encoders!r}). Try ['mae-mini'].")
    if not isinstance(model.training, Training | None):
        raise ValueError(f"training must be a fusion.Training (got {model.training!r}). Try Training(epochs=10).")
    _check_candidates(model.candidates, model.encoders)
    if not isinstance(model.seed, int | np.integer) or model.seed < 0:
        raise ValueError(f"seed must be an integer from 0 (got {model.seed!r}). Try seed=0.")
    count = 1 if model.encoders == "auto" else len(model.encoders)
    strengths = penalties(model.C, count)
    if strengths is not None and (len(strengths) != count or min(strengths) <= 0):
        raise ValueError(f"C must be positive, one or one per encoder (got {model.C!r}). Try C=0.03.")


def _check_candidates(candidates: Any, encoders: Any) -> None:
    if candidates is None:
        return
    if isinstance(candidates, str) or not candidates or any(not isinstance(name, str) for name in candidates):
        raise ValueError(f"candidates must be a list of names (got {candidates!r}). Try ['mocov2-mini', 'mae-mini'].")
    if encoders != "auto":
        raise ValueError(f"candidates must come with encoders='auto' (got encoders={encoders!r}). Leave one out.")


def check_weighting(model: Any, stretches: list[Stretch]) -> None:
    """Refuse class weights that a solved head does not have."""
    if model.training and model.training.class_weight is None and any(stretch.solve for stretch in stretches):
        raise ValueError(
            f"class_weight must be balanced where the head is solved (got None with strategy {model.strategy!r}). "
            "Leave it out, or try strategy='full'."
        )


def penalties(C: float | Sequence[float] | None, count: int) -> list[float] | None:
    """One per encoder, of which there are `count`; None where they are to be chosen."""
    if C is None or np.ndim(C):
        return None if C is None else [float(c) for c in cast(Sequence[float], C)]
    return [float(cast(float, C))] * count
