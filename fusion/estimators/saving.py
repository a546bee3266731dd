"""A fitted classifier as a folder: its record, its head, what moved of its encoders, and whom to credit."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors
from torch import Tensor

import zoo
from fusion.tuning.phases import Phase
from fusion.tuning.settings import Training

FORMAT = 3


def write(
    folder: Path,
    record: dict[str, Any],
    head: Mapping[str, Any],
    encoders: Sequence[zoo.Encoder],
    changed: Sequence[set[str]],
) -> None:
    """Write the folder; `model.json` comes last, so that what is half written is no model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.json", "encoders.safetensors"):  # of an earlier model
        (folder / name).unlink(missing_ok=True)
    credits_ = zoo.attribution([encoder.card for encoder in encoders])
    _replace(folder / "ATTRIBUTION.md", lambda part: part.write_text(credits_, encoding="utf-8"))
    _replace(folder / "head.safetensors", lambda part: save_file(dict(head), part))
    moved = {
        f"{e}.{name}": value.cpu().contiguous()
        for e, (encoder, names) in enumerate(zip(encoders, changed, strict=True))
        for name, value in encoder.state_dict().items()
        if name in names
    }
    if moved:
        _replace(folder / "encoders.safetensors", lambda part: save_tensors(moved, part))
    whole = {"format": FORMAT, **record, "moved": sorted(moved)}
    _replace(folder / "model.json", lambda part: part.write_text(json.dumps(whole, indent=2) + "\n"))


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """The record, the head's numbers, and what moved of the encoders.

    Raises:
        OSError: The folder does not hold a model.
    """
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


def move(encoder: zoo.Encoder, number: int, moved: Mapping[str, Tensor]) -> None:
    """Give an encoder, as the zoo loads it, the tensors that a fit left."""
    own = {key.partition(".")[2]: value for key, value in moved.items() if key.startswith(f"{number}.")}
    encoder.load_state_dict({**encoder.state_dict(), **own})


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


def _replace(path: Path, write_part: Callable[[Path], Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    write_part(part)
    os.replace(part, path)
