"""The settings of a fit, whatever the strategy, and the schedule of its learning rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MONITORS = ("auc", "loss")
_PRECISIONS = ("no", "bf16", "fp16")
STATISTICS = ("strategy", "batch", "frozen")
_SAID_BEFORE = {True: "strategy", False: "frozen"}  # older settings, models and configs

# By how timm's names of architectures begin. Source: the sweep in this folder's README.
_TRANSFORMERS = ("vit", "deit", "beit", "eva", "swin")
_OF_TRANSFORMERS, _OF_OTHERS = 3e-4, 1e-3


@dataclass(frozen=True)
class Training:
    """Settings of a fit, whatever the strategy.

    Attributes:
        epochs: In all; phases of a strategy share them, one each at least.
        learning_rate: Of AdamW, at a rate of 1; None takes that of each encoder's architecture, see `default_rate`.
        batch: Images per step and process.
        warmup: Share of a phase's steps over which the learning rate rises; after it, it falls by a cosine to 0. Of
            several encoders, a phase of one begins anew when another's does.
        weight_decay: Decoupled; off in phases with a penalty.
        patience: Epochs of a phase without a better validation before the next begins; None: all epochs.
        monitor: What is better: `auc` (then loss) or `loss`, on the validation images.
        class_weight: `balanced`, or None to count every image the same.
        augment: A modality of `fusion.data.augmentation`, or None.
        statistics: By what BatchNorm normalises where weights move, one mode for the whole fit. `batch`: by the batch,
            and its running statistics follow, in every block that moves, whatever the strategy or phase. `frozen`: by
            the running statistics, which stay. `strategy`: `frozen` in `lp-ft`, `lora` and all of `auto-rgn`, `batch`
            elsewhere. It is the default since it repeats earlier results, but strategies are then compared in two
            modes at once: compare them under one of the others. Frozen blocks and `probe` are frozen in every mode.
            True and False of older settings are `strategy` and `frozen`.
        drop_encoder: Probability that one of several encoders is missing in a batch.
        precision: `no`, `bf16` or `fp16`.
        deterministic: Only operations that repeat exactly, or an error (CPUs do without).
        workers: Processes that prepare images.
        checkpoint: Folder of the state after each epoch; a fit that finds its own there goes on.
        trackers: Of accelerate, such as `tensorboard`; they write into `checkpoint`.
        progress: Whether a bar is shown.
    """

    epochs: int = 20
    learning_rate: float | None = None
    batch: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    patience: int | None = 5
    monitor: str = "auc"
    class_weight: str | None = "balanced"
    augment: str | None = None
    statistics: str | bool = "strategy"
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
        for name, usual in (("learning_rate", _OF_OTHERS), ("weight_decay", 0.01)):
            value = getattr(self, name)
            known = isinstance(value, int | float) and 0 <= value < math.inf
            if not known and not (name == "learning_rate" and value is None):
                raise ValueError(f"{name} must be a number from 0 (got {value!r}). Try {name}={usual}.")
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
        if isinstance(self.statistics, bool):
            object.__setattr__(self, "statistics", _SAID_BEFORE[self.statistics])
        if self.statistics not in STATISTICS:
            raise ValueError(
                f"statistics must be strategy, batch or frozen (got {self.statistics!r}). Try statistics='batch'."
            )
        if self.trackers and not self.checkpoint:
            raise ValueError(f"trackers must have a folder (got checkpoint={self.checkpoint!r}). Pass checkpoint=DIR.")


def default_rate(architecture: str) -> float:
    """The learning rate of a fit that is given none: 3e-4 of transformers (ViT, EVA, Swin), 1e-3 of all others.

    Args:
        architecture: A timm name, as cards have it.

    Source: a third of what was best in the sweep in `fusion/tuning/README.md`, of two small ResNets and a small ViT.
    """
    return _OF_TRANSFORMERS if architecture.startswith(_TRANSFORMERS) else _OF_OTHERS


def cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate at `step` of `steps`: a straight rise, then half a cosine down to 0."""
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _default(name: str) -> object:
    return getattr(Training, name)
