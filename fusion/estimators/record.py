"""The record of a saved model, `model.json`: strict, so that nothing in it is taken for something else."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT = 5
_READ = (4, FORMAT)  # 4 has no calibration: its answers are for balanced classes

Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Label = str | int | float | bool


class Strict(BaseModel):
    """Plain values, none of them unknown or of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class File(Strict):
    """A file of the folder, by its name and its bytes."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+\.safetensors$")]
    sha256: Hex64


class Held(Strict):
    """An encoder of the model.

    Attributes:
        name: As the zoo calls it, with its depth.
        depth: In (0, 1].
        origin: Its identity before the fit.
        identity: Its identity in the model.
        card: Its whole card, where the zoo does not load it by name; the folder then holds all its tensors.
        stored: Names of its tensors that the folder holds.
        depths: Where its features are taken; None of those written when that was at its end alone.
    """

    name: str
    depth: Annotated[float, Field(gt=0, le=1)]
    origin: Hex64
    identity: Hex64
    card: dict[str, Any] | None
    stored: list[str]
    depths: list[float] | None = None


class Model(Strict):
    """All of `model.json`, but for its own sha256."""

    format: int
    parameters: dict[str, Any]
    encoders: Annotated[list[Held], Field(min_length=1)]
    classes: Annotated[list[Label], Field(min_length=2)]
    dtype: str
    multilabel: bool
    trained: Annotated[int, Field(ge=0)]
    seconds: float
    history: list[dict[str, Any]]
    seen: list[str]
    prior: list[float] | None = None
    shift: list[float] | None = None
    temperature: Annotated[float, Field(gt=0)] = 1.0
    leaderboard: dict[str, Any] | None = None
    solved: bool
    head: File
    tensors: File | None


def dump(model: Model) -> str:
    """The text of `model.json`: the record with the sha256 of itself."""
    values = model.model_dump(mode="json")
    return json.dumps({**values, "sha256": _digest(values)}, indent=2) + "\n"


def read(path: Path) -> Model:
    """Read `model.json`.

    Raises:
        OSError: It is not there.
        ValueError: It is no record of this format, or not what was written.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"no record of a model ({type(values).__name__})")
        stated = values.pop("sha256", None)
        if values.get("format") not in _READ:
            raise ValueError(f"format {values.get('format')!r}, not {FORMAT}")
        if stated != _digest(values):
            raise ValueError("its sha256 is another: it was changed or damaged")
        return Model(**values)
    except (ValidationError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"no record of a model ({' '.join(str(error).split())[:200]})") from None


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
