"""The header of a safetensors file, read as untrusted text: where each tensor lies, to the byte."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# safetensors' own limit; a longer header is an attack or another format.
LIMIT = 100_000_000

SIZES = {"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
SIZES |= {"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1}
_RANK = 32  # dimensions; multiplying thousands of them would take hours


@dataclass(frozen=True)
class Span:
    """One tensor: its type and shape, and where its bytes lie, counted from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Header:
    """A whole header: its bytes, the length that precedes it included, and the span of each tensor by name."""

    raw: bytes
    spans: dict[str, Span]

    @property
    def size(self) -> int:
        """The size of the whole file in bytes."""
        return max((span.stop for span in self.spans.values()), default=len(self.raw))


def stop(first: bytes) -> int:
    """Compute where the header ends, from the first eight bytes of the file.

    Raises:
        ValueError: These are not the first bytes of a safetensors file; the cause is named.
    """
    if cause := foreign(first):
        raise ValueError(cause)
    length = int.from_bytes(first[:8], "little")
    if len(first) < 8:
        raise ValueError(f"it is truncated at {len(first)} bytes")
    if length > LIMIT:
        raise ValueError(f"its header claims {length} bytes, more than {LIMIT} allowed")
    return 8 + length


def foreign(first: bytes) -> str | None:
    """Say what a file that starts with these bytes is, if it is plainly no safetensors file."""
    if len(first) >= 8 and int.from_bytes(first[:8], "little") <= LIMIT:
        return None  # a length may well look like a letter
    if first.lstrip()[:1] == b"<":
        return "it is an HTML page, not weights"
    if first[:8] == b"version ":
        return "it is a git-lfs pointer, not the file it points to"
    if first[:2] == b"PK" or first[:1] == b"\x80":
        return "it is a pickled checkpoint, not safetensors"
    return None


def parse(raw: bytes) -> Header:
    """Read a header.

    Args:
        raw: The first `stop(raw)` bytes of the file.

    Raises:
        ValueError: A name comes twice, a type is unknown, a size is not its shape's, or tensors overlap, leave holes
            or start elsewhere than right behind the header.
    """
    if len(raw) < stop(raw):
        raise ValueError(f"it is truncated at {len(raw)} bytes")
    try:
        entries = json.loads(raw[8:].decode("utf-8"), object_pairs_hook=_once)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"its header is not JSON ({type(error).__name__})") from None
    if not isinstance(entries, dict):
        raise ValueError("its header is not a JSON object")
    entries.pop("__metadata__", None)
    spans = {name: _span(name, entry, len(raw)) for name, entry in entries.items()}
    _check_gapless(spans, len(raw))
    return Header(raw, spans)


def read(path: Path) -> Header:
    """Read the header of a local file; a `ValueError` names the cause when the file is no whole safetensors file."""
    with path.open("rb") as stream:
        first = stream.read(8)
        header = parse(first + stream.read(stop(first) - 8))
    if (size := path.stat().st_size) != header.size:
        kind = "truncated at" if size < header.size else "longer than its header says, with"
        raise ValueError(f"it is {kind} {size} bytes, not {header.size}")
    return header


def read_spans(path: Path, spans: Iterable[Span]) -> list[bytes]:
    """The bytes of some tensors of a local file, in the order asked for."""
    with path.open("rb") as stream:
        return [stream.read(span.stop - stream.seek(span.start)) for span in spans]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header names a tensor twice")
    return found


def _span(name: str, entry: Any, base: int) -> Span:
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        counts = [*shape, start, end]
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"its header does not describe {name!r} as a tensor") from None
    if (
        str(dtype) not in SIZES
        or len(counts) > _RANK
        or not all(type(count) is int and 0 <= count < 1 << 48 for count in counts)
    ):
        raise ValueError(f"its header describes {name!r} with an unknown type or an impossible number")
    if end - start != math.prod(shape) * SIZES[dtype]:
        raise ValueError(f"its header gives {name!r} a size that is not its shape's")
    return Span(dtype, tuple(shape), base + start, base + end)


def _check_gapless(spans: dict[str, Span], base: int) -> None:
    place = base
    for name, span in sorted(spans.items(), key=lambda item: (item[1].start, item[1].stop)):
        if span.start != place:
            raise ValueError(f"its tensors overlap or leave a hole at {name!r}")
        place = span.stop
