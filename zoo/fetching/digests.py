"""What the bytes of a weights file must hash to: the file, its header and every tensor."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Digests(BaseModel):
    """The content of a `digests.json`.

    Attributes:
        file, size: sha256 and bytes of the whole safetensors file.
        header: sha256 of its header, the eight bytes of its length included.
        tensors: sha256 of each tensor's bytes, by the file's names.
        source: sha256 of the pickled file it was converted from; None for a file published as it is.
        golden: The first values of the features of `zoo.upkeep.golden`'s fixed input, by depth.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: Sha256
    size: int
    header: Sha256
    tensors: dict[str, Sha256]
    source: Sha256 | None = None
    golden: dict[str, list[float]] = {}

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """Return what the tensors must hash to; one that is not listed is like no bytes."""
        return {name: self.tensors.get(name, "not listed") for name in names}


def parse(data: bytes) -> Digests:
    """Read a `digests.json`; a `ValueError` when it is none."""
    try:
        return Digests.model_validate_json(data)
    except ValidationError as error:
        raise ValueError(f"digests must be a digests.json ({error.errors()[0]['msg']}). Write it again.") from None


def dump(digests: Digests) -> bytes:
    """The bytes of a `digests.json`."""
    return (digests.model_dump_json(indent=1) + "\n").encode()


def sha256(data: bytes) -> str:
    """The sha256 of some bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def git_sha1(data: bytes) -> str:
    """git's name for a file of these bytes, as 40 hex digits."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def sha256_all(pieces: dict[str, bytes]) -> dict[str, str]:
    """The sha256 of many pieces, in threads."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(pieces, pool.map(sha256, pieces.values()), strict=True))


def sha256_file(path: Path) -> str:
    """The sha256 of a file, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
