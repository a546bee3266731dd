"""FusionClassifier: several frozen encoders, one head, a scikit-learn estimator."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.utils.multiclass import type_of_target

import zoo
from fusion import features
from fusion.heads import HEADS, Folds, Head

_FORMAT = 2


class FusionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify images by the frozen features of one or several encoders.

    Args:
        encoders: Names of `zoo.names()`, with `@depth` where another depth than the card's is wanted, or loaded
            `zoo.Encoder` objects.
        head: `concat`, `convex`, `stack` or `mean`, see `fusion.heads`.
        strategy: How the encoders' weights move. `probe`: they do not.
        C: Inverse strength of the L2 penalty: one number, one per encoder, or None to choose it on the folds.
        folds: Folds of the out-of-fold predictions and of the choice of C.
        device: `auto` takes the GPU where there is one.
        seed: Of the folds.

    Attributes:
        classes_: (K,) labels as they came in; columns of `predict_proba`.
        encoders_: The loaded encoders.
        head_: The fitted head.

    Example:
        >>> from fusion import FusionClassifier, brain_regions
        >>> train = brain_regions("train", labels=60)
        >>> model = FusionClassifier(["mocov2-mini", "mae-mini"]).fit(train.images, train.labels)
        >>> model.predict(train.images[:1]).shape
        (1,)
    """

    def __init__(
        self,
        encoders: Sequence[str | zoo.Encoder] = ("mocov2-mini", "mae-mini"),
        head: str = "concat",
        strategy: str = "probe",
        C: float | Sequence[float] | None = None,
        folds: int = 5,
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        self.encoders = encoders
        self.head = head
        self.strategy = strategy
        self.C = C
        self.folds = folds
        self.device = device
        self.seed = seed

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit the head on the encoders' features; the encoders do not change.

        Args:
            X: Paths, PIL images, or arrays (N, H, W[, C]), uint8 or float in [0, 1].
            y: (N,) labels.
            groups: (N,) patients; no fold then holds a part of a patient.

        Raises:
            ValueError: A parameter is not one of its values, lengths differ, there is one class only, or there are
                more folds than images of a class or than groups.
        """
        self._check_parameters()
        labels = _labels(y, X)
        classes, numbers = np.unique(labels, return_inverse=True)
        folds = self._folds(numbers, _groups(groups, labels))
        encoders = _loaded(self.encoders, self.device)
        blocks = [features.extract(encoder, X) for encoder in encoders]
        head = cast(Head, HEADS[self.head]()).fit(blocks, numbers, folds, self._penalties())
        self.classes_, self.encoders_, self.head_ = classes, encoders, head
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """(N, K) probabilities, columns in the order of `classes_`."""
        if not hasattr(self, "head_"):
            raise NotFittedError("FusionClassifier must be fitted before it predicts. Call fit first.")
        return np.exp(self.head_.log_proba([features.extract(encoder, X) for encoder in self.encoders_]))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """(N,) labels, of the kind given to `fit`."""
        best = self.predict_proba(X).argmax(1)
        return cast(npt.NDArray[Any], self.classes_[best])

    def save(self, path: str | Path) -> None:
        """Write `model.json`, `head.safetensors` and `ATTRIBUTION.md` into the folder `path`.

        The encoders stay in the zoo; their terms go with the model, and are in the text.

        Raises:
            NotFittedError: `fit` was not called.
        """
        if not hasattr(self, "head_"):
            raise NotFittedError("FusionClassifier must be fitted before it is saved. Call fit first.")
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        record = {
            "format": _FORMAT,
            "parameters": {key: getattr(self, key) for key in ("head", "strategy", "C", "folds", "seed")},
            "encoders": [_identity(encoder) for encoder in self.encoders_],
            "classes": self.classes_.tolist(),
        }
        credits_ = zoo.attribution([encoder.card for encoder in self.encoders_])
        _replace(folder / "ATTRIBUTION.md", lambda part: part.write_text(credits_, encoding="utf-8"))
        _replace(folder / "head.safetensors", lambda part: save_file(self.head_.arrays(), part))
        _replace(folder / "model.json", lambda part: part.write_text(json.dumps(record, indent=2) + "\n"))

    @classmethod
    def load(cls, path: str | Path, *, encoders: Sequence[zoo.Encoder] | None = None, device: str = "auto") -> Self:
        """Read a model that `save` wrote.

        Args:
            path: Its folder.
            encoders: The encoders in their order, where they cannot be loaded from the zoo by name.
            device: As in the constructor.

        Raises:
            OSError: The folder does not hold a model.
            ValueError: An encoder is not the one the head was fitted on.
        """
        record, arrays = _read(Path(path))
        names = [entry["name"] for entry in record["encoders"]]
        model = cls(encoders=encoders or names, device=device, **record["parameters"])
        model.encoders_ = _loaded(model.encoders, device)
        for encoder, entry in zip(model.encoders_, record["encoders"], strict=True):
            if _identity(encoder) != entry:
                raise ValueError(f"encoder must be the one of the fit, {entry} (got {_identity(encoder)}). Fit again.")
        model.classes_ = np.asarray(record["classes"])
        model.head_ = HEADS[model.head].restore(arrays)
        return model

    def _check_parameters(self) -> None:
        if self.head not in HEADS:
            raise ValueError(f"head must be one of {sorted(HEADS)} (got {self.head!r}). Try head='concat'.")
        if self.strategy != "probe":
            raise ValueError(f"strategy must be 'probe' (got {self.strategy!r}). Fine-tune with PyTorch, see README.")
        if isinstance(self.encoders, str) or not len(self.encoders):
            raise ValueError(f"encoders must be a list of names (got {self.encoders!r}). Try ['mocov2-mini'].")
        penalties = self._penalties()
        if penalties is not None and (len(penalties) != len(self.encoders) or min(penalties) <= 0):
            raise ValueError(f"C must be positive, one or one per encoder (got {self.C!r}). Try C=0.03.")

    def _penalties(self) -> list[float] | None:
        if self.C is None or isinstance(self.C, Sequence):
            return None if self.C is None else list(self.C)
        return [float(self.C)] * len(self.encoders)

    def _folds(self, y: npt.NDArray[np.int64], groups: npt.NDArray[Any] | None) -> Folds:
        fewest = int(np.bincount(y).min())
        if not 2 <= self.folds <= fewest:
            raise ValueError(
                f"folds must be from 2 to the images of the rarest class, {fewest} (got {self.folds}). "
                "Pass folds=2 or add images."
            )
        if groups is None:
            split = StratifiedKFold(self.folds, shuffle=True, random_state=self.seed)
            return list(split.split(y, y))
        if len(np.unique(groups)) < self.folds:
            count = len(np.unique(groups))
            raise ValueError(
                f"folds must not exceed the groups, {count} (got {self.folds}). Pass folds={max(2, count)}."
            )
        split = StratifiedGroupKFold(self.folds, shuffle=True, random_state=self.seed)
        return list(split.split(y, y, groups))


def _labels(y: Any, X: Any) -> npt.NDArray[Any]:
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) != len(X):
        raise ValueError(f"y must be one label per image, {len(X)} (got shape {labels.shape}). Check X and y.")
    if type_of_target(labels) not in ("binary", "multiclass"):
        raise ValueError(f"y must hold classes (got {type_of_target(labels)} values). Pass strings or integers.")
    if len(np.unique(labels)) < 2:
        raise ValueError(f"y must hold at least two classes (got {np.unique(labels).tolist()}). Add images of another.")
    return labels


def _groups(groups: Any, labels: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    if groups is None:
        return None
    members = np.asarray(groups)
    if members.shape != labels.shape:
        raise ValueError(f"groups must be one per image, {len(labels)} (got shape {members.shape}). Check groups.")
    return members


def _loaded(encoders: Sequence[str | zoo.Encoder], device: str) -> list[zoo.Encoder]:
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    loaded = [encoder if isinstance(encoder, zoo.Encoder) else zoo.load(encoder) for encoder in encoders]
    return [encoder.to(place) for encoder in loaded]


def _identity(encoder: zoo.Encoder) -> dict[str, str | None]:
    return {"name": encoder.name, "digest": encoder.report.digest if encoder.report else None}


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        record = json.loads((folder / "model.json").read_text())
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']}")
        return record, load_file(folder / "head.safetensors")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OSError(f"{folder} must hold a saved model (got {error!r}). Save one with model.save(path).") from error


def _replace(path: Path, write: Any) -> None:
    part = path.with_name(f"{path.name}.part")
    write(part)
    os.replace(part, path)
