"""The only place that opens a pickle: a program of its own, which `zoo.upkeep.conversion` runs in a subprocess.

    python zoo/upkeep/unpickling.py SOURCE OUT [--allow argparse.Namespace]

Tensors and plain containers are read (`weights_only=True`); nothing that the file asks for is run or imported. Every
tensor is written to OUT, as safetensors, under its flat name. What is wrong is one line on stderr, with exit code 1.
It imports nothing of zoo: beside the file, only torch and safetensors are in the process.
"""

import argparse
import pickle
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

ALLOWED = {"argparse.Namespace": argparse.Namespace}

_ADVICE = "Ask its publisher for safetensors or a plain state dict."
_MOST = 100_000  # tensors; more are no network


class RefusedError(Exception):
    """The file is not what a checkpoint must be; the text follows its name."""


def main(arguments: Sequence[str]) -> int:
    """Open SOURCE, write OUT; returns the exit code."""
    parser = argparse.ArgumentParser(description="Open a pickled checkpoint.")
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--allow", action="append", choices=list(ALLOWED), default=[])
    asked = parser.parse_args(arguments)
    try:
        limit = 2 * asked.source.stat().st_size  # tied weights are written twice
        check_zip(asked.source, limit)
        tensors = collect(read(asked.source, asked.allow), limit)
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, asked.out)
    except Exception as error:  # whatever the file provokes, its reader gets one line
        print(" ".join(_told(error).split()), file=sys.stderr)  # noqa: T201 - this is what the caller reads
        return 1
    return 0


def check_zip(source: Path, limit: int) -> None:
    """Refuse a zip made to harm before it is opened: `torch.save` compresses nothing."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > limit:
            size = source.stat().st_size
            raise RefusedError(f"must not unpack to more than it holds (got {total} bytes from {size}). {_ADVICE}")


def read(source: Path, allow: Sequence[str] = ()) -> Any:
    """Read what the file holds, if that is tensors, plain containers and the allowed classes."""
    with torch.serialization.safe_globals([ALLOWED[name] for name in allow]), source.open("rb") as stream:
        return torch.load(stream, map_location="cpu", weights_only=True)


def collect(content: Any, limit: int) -> dict[str, Tensor]:
    """Every tensor by its flat name; a file that would grow beyond `limit` bytes is refused before it does."""
    found: dict[str, Tensor] = {}
    for name, tensor in _flat(content):
        if name in found:
            raise RefusedError(f"must name each tensor once (got {name!r} twice). {_ADVICE}")
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise RefusedError(f"must hold plain tensors (got another kind in {name!r}). {_ADVICE}")
        limit -= tensor.numel() * tensor.element_size()
        if limit < 0 or len(found) == _MOST:
            raise RefusedError(f"must not unpack to more than it holds (got too much at {name!r}). {_ADVICE}")
        found[name] = tensor
    if not found:
        raise RefusedError("must hold tensors (got none). Check that it is a checkpoint.")
    return found


def _flat(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield name or "tensor", content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))


def _told(error: Exception) -> str:
    text = str(error)
    if isinstance(error, RefusedError):
        return text
    if forbidden := re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", text):
        return f"must hold tensors only (got {forbidden[1]}, which was not run). {_ADVICE}"
    if isinstance(error, pickle.UnpicklingError):  # torch wraps the fact in advice to trust the file
        text = re.sub(
            r".*(WeightsUnpickler error:|trusted source\.)|Check the documentation.*", "", text, flags=re.DOTALL
        )
    fact = text.strip().split(". ")[0] or type(error).__name__
    return f"must be a whole checkpoint of tensors (got: {fact}). Fetch it again, or convert a plain state dict."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
