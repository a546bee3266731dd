"""The settings of a fit, whatever the strategy, and the schedule of its learning rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MONITORS = ("auc", "loss")
_PRECISIONS = ("no", "bf16", "fp16")


@dataclass(frozen=True)
class Training:
    """Settings of a fit, whatever the strategy.

    Attributes:
        epochs: In all; phases of a strategy share them, one each at least.
        learning_rate: Of AdamW, at a rate of 1.
        batch: Images per step and process.
        warmup: Share of a phase's steps over which the learning rate rises; after it, it falls by a cosine to 0. Of
            several encoders, a phase of one begins anew when another's does.
        weight_decay: Decoupled; off in phases with a penalty.
        patience: Epochs of a phase without a better validation before the next begins; None: all epochs.
        monitor: What is better: `auc` (then loss) or `loss`, on the validation images.
        class_weight: `balanced`, or None to count every image the same.
        augment: A modality of `fusion.data.augmentation`, or None.
        statistics: Whether BatchNorm statistics of what trains move along.
        drop_encoder: Probability that one of several encoders is missing in a batch.
        precision: `no`, `bf16` or `fp16`.
        deterministic: Only operations that repeat exactly, or an error (CPUs do without).
        workers: Processes that prepare images.
        checkpoint: Folder of the state after each epoch; a fit that finds its own there goes on.
        trackers: Of accelerate, such as `tensorboard`; they write into `checkpoint`.
        progress: Whether a bar is shown.
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    batch: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    patience: int | None = 5
    monitor: str = "auc"
    class_weight: str | None = "balanced"
    augment: str | None = None
    statistics: bool = True
    drop_encoder: float = 0.0
    precision: str = "no"
    deterministic: bool = False
    workers: int = 0
    checkpoint: str | Path | None = None
    trackers: Sequence[str] = ()
    progress: bool = False

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("workers", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(
                    f"{name} must be an integer from {least} (got {value!r}). Try {name}={_default(name)}."
                )
        for name, value in (("learning_rate", self.learning_rate), ("weight_decay", self.weight_decay)):
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number from 0 (got {value!r}). Try {name}={_default(name)}.")
        if isinstance(self.trackers, str) or self.precision not in _PRECISIONS:
            got = (self.trackers, self.precision)
            raise ValueError(
                f"trackers must be a list, precision one of {_PRECISIONS} (got {got}). Try ['tensorboard']."
            )
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be a positive integer or None (got {self.patience!r}). Try patience=5.")
        if not (0 <= self.warmup < 1 and 0 <= self.drop_encoder < 1):
            shares = (self.warmup, self.drop_encoder)
            raise ValueError(f"warmup and drop_encoder must be in [0, 1) (got {shares}). Try warmup=0.1.")
        if self.monitor not in _MONITORS or self.class_weight not in ("balanced", None):
            raise ValueError(
                "monitor must be auc or loss, class_weight balanced or None "
                f"(got {self.monitor!r}, {self.class_weight!r}). Leave them out."
            )
        if self.trackers and not self.checkpoint:
            raise ValueError(f"trackers must have a folder (got checkpoint={self.checkpoint!r}). Pass checkpoint=DIR.")


def cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate at `step` of `steps`: a straight rise, then half a cosine down to 0."""
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _default(name: str) -> object:
    return getattr(Training, name)
