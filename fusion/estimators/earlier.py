"""Saved models of format 3, which have no digests: read as they are, to be saved again."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from torch import Tensor

import zoo
from fusion.estimators.record import FORMAT, File, Held, Model

_NONE = File(name="head.safetensors", sha256="0" * 64)


def is_one(folder: Path) -> bool:
    """Tell whether the folder holds a model of that format."""
    try:
        return bool(json.loads((folder / "model.json").read_text())["format"] == 3)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def read(folder: Path) -> tuple[Model, dict[str, Any], dict[str, Tensor]]:
    """Read the record, the head's numbers and what moved of the encoders.

    Raises:
        ValueError: It does not hold what it says, or an encoder is not the one of the fit.
    """
    try:
        known = json.loads((folder / "model.json").read_text())
        moved = load_tensors(folder / "encoders.safetensors") if known["moved"] else {}
        if sorted(moved) != known["moved"]:
            raise ValueError("encoders.safetensors of another model")
        encoders = [_held(entry, e, moved) for e, entry in enumerate(known["encoders"])]
        model = Model(
            format=FORMAT,
            parameters=known["parameters"],
            encoders=encoders,
            classes=known["classes"],
            dtype=np.asarray(known["classes"]).dtype.str,
            multilabel=known["multilabel"],
            trained=known["trained"],
            seconds=math.nan,
            history=known["history"],
            seen=[],
            solved=known["solved"],
            head=_NONE,
            tensors=None,
        )
        return model, load_file(folder / "head.safetensors"), moved
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no model of format 3 ({error!r})") from None


def _held(entry: dict[str, Any], number: int, moved: dict[str, Tensor]) -> Held:
    """The entry of an encoder that the zoo still gives: its digest is that of the file it was loaded from."""
    if "/" in entry["name"]:
        raise ValueError(f"{entry['name']} would be fetched from a repo that this folder names")
    found = zoo.load(entry["name"])
    if found.report is None or found.report.digest != entry["digest"]:
        raise ValueError(f"{entry['name']} is another in the zoo now")
    origin = found.identity()
    own = {key.partition(".")[2]: value for key, value in moved.items() if key.startswith(f"{number}.")}
    found.load_state_dict({**found.state_dict(), **own})
    depth, identity = float(found.depth), found.identity()
    return Held(name=entry["name"], depth=depth, origin=origin, identity=identity, card=None, stored=sorted(own))
