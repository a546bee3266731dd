"""A fitted classifier as a folder: its record, its head, what moved of its encoders, and whom to credit."""

import copy
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors
from torch import Tensor

import zoo
from fusion.data import writing
from fusion.data.writing import replacing
from fusion.features import extract
from fusion.heads.optimum import ModuleHead, restored
from fusion.tuning.phases import Phase
from fusion.tuning.settings import Training

FORMAT = 3
T = TypeVar("T")

_KEPT = ("head", "strategy", "C", "folds", "seed", "training")  # of the constructor


def save(model: Any, folder: Path) -> None:
    """Write a fitted classifier; `model.json` comes last, so that what is half written is no model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.json", "encoders.safetensors"):  # of an earlier model
        (folder / name).unlink(missing_ok=True)
    writing.write(folder / "ATTRIBUTION.md", zoo.attribution([encoder.card for encoder in model.encoders_]))
    with replacing(folder / "head.safetensors") as part:
        save_file(dict(model.head_.arrays()), part)
    moved = {
        f"{e}.{name}": value.cpu().contiguous()
        for e, (encoder, names) in enumerate(zip(model.encoders_, model.changed_, strict=True))
        for name, value in encoder.state_dict().items()
        if name in names
    }
    if moved:
        with replacing(folder / "encoders.safetensors") as part:
            save_tensors(moved, part)
    writing.write(folder / "model.json", json.dumps({**_record(model), "moved": sorted(moved)}, indent=2) + "\n")


def load(kind: type[T], folder: Path, encoders: Sequence[zoo.Encoder] | None, device: str) -> T:
    """Read a fitted classifier.

    Args:
        kind: Its class.
        folder: What `save` wrote.
        encoders: As they were before the fit, in their order; None loads them by name.
        device: As in the constructor.

    Raises:
        OSError: The folder does not hold a model.
        ValueError: An encoder is not the one the head was fitted on.
    """
    record, arrays, moved = _read(folder)
    names = [entry["name"] for entry in record["encoders"]]
    model: Any = kind(encoders=encoders or names, device=device, **_parameters(record))  # type: ignore[call-arg]
    loaded = extract.loaded(model.encoders, device)
    found = [identity(encoder) for encoder in loaded]
    if found != record["encoders"]:
        raise ValueError(f"encoders must be those of the fit, {record['encoders']} (got {found}). Fit again.")
    model.encoders_ = [copy.deepcopy(encoder) if moved else encoder for encoder in loaded]
    for number, encoder in enumerate(model.encoders_):
        own = {key.partition(".")[2]: value for key, value in moved.items() if key.startswith(f"{number}.")}
        encoder.load_state_dict({**encoder.state_dict(), **own})
        if moved:
            disown(encoder)
    model.origins_ = found
    model.changed_ = [{k.partition(".")[2] for k in moved if k.startswith(f"{e}.")} for e in range(len(loaded))]
    model.head_ = restored(model.head, arrays, solved=record["solved"], multilabel=record["multilabel"])
    model.classes_, model.multilabel_ = np.asarray(record["classes"]), record["multilabel"]
    model.history_, model.trained_ = record["history"], record["trained"]
    model.seconds_ = record.get("seconds", math.nan)  # models of earlier versions do not tell
    return cast(T, model)


def _record(model: Any) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "parameters": {key: plain(getattr(model, key)) for key in _KEPT},
        "encoders": model.origins_,
        "classes": model.classes_.tolist(),
        "multilabel": model.multilabel_,
        "trained": model.trained_,
        "seconds": model.seconds_,
        "history": model.history_,
        "solved": not isinstance(model.head_, ModuleHead),
    }


def _parameters(record: dict[str, Any]) -> dict[str, Any]:
    """Of the constructor; JSON has no tuples and no classes."""
    given = dict(record["parameters"])
    if given["training"]:
        given["training"] = Training(**{**given["training"], "trackers": tuple(given["training"]["trackers"])})
    return given


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """The record, the head's numbers, and what moved of the encoders."""
    try:
        record = json.loads((folder / "model.json").read_text())
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}, not {FORMAT}")
        moved = load_tensors(folder / "encoders.safetensors") if record["moved"] else {}
        if sorted(moved) != record["moved"]:
            raise ValueError("encoders.safetensors of another model")
        return record, load_file(folder / "head.safetensors"), moved
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise OSError(f"{folder} must hold a saved model (got {error!r}). Save one with model.save(path).") from error


def plain(value: Any) -> Any:
    """Phases and settings as JSON has them."""
    if isinstance(value, Training | Phase):
        return {key: str(entry) if isinstance(entry, Path) else entry for key, entry in asdict(value).items()}
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def identity(encoder: zoo.Encoder) -> dict[str, str | None]:
    """What tells an encoder from others of its name."""
    return {"name": encoder.name, "digest": encoder.report.digest if encoder.report else None}


def disown(encoder: zoo.Encoder) -> None:
    """Tell a fine-tuned encoder from the one that was loaded: a head fitted on it must not meet the other."""
    digest = hashlib.sha256()
    for name, value in encoder.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    if encoder.report:
        encoder.report = replace(encoder.report, digest=digest.hexdigest(), verified="fine-tuned")
