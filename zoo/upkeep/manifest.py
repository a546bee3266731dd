"""The manifest of an exported folder: what it holds, to the byte."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from zoo.fetching.digests import Sha256, sha256_file
from zoo.fetching.hub import WeightsError
from zoo.registry.cards import PART, Record

_PATHS = re.compile(
    rf"ATTRIBUTION\.md|cards/{PART}(/{PART})*"
    rf"|pieces/{PART}%2F{PART}/[0-9a-f]{{40}}/{PART}(%2F{PART})*/{PART}\.[0-9a-f]{{64}}"
    rf"|converted/[0-9a-f]{{64}}/[0-9a-f]{{16}}/(model\.safetensors|digests\.[0-9a-f]{{64}})"
    rf"|hub/{PART}/{PART}/[0-9a-f]{{40}}/{PART}(/{PART})*"
)


class File(Record):
    """One file of the folder."""

    path: str
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if not _PATHS.fullmatch(path):
            raise ValueError("a path must lie in cards, pieces, converted or hub")
        return path


class Entry(Record):
    """One encoder: where its weights were published, and the files that its load needs.

    Attributes:
        sha256: Of the whole weights file, where it is known.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=200)]
    depth: Annotated[float, Field(gt=0, le=1)]
    repo: str | None
    revision: str | None
    file: str | None
    sha256: Sha256 | None
    files: list[File]

    @model_validator(mode="after")
    def _own_card(self) -> Self:
        own = {f"cards/{self.name}.md", f"cards/digests/{self.name}.json"}
        own |= {f"cards/{self.file}"} if self.repo is None else set()
        if strange := [one.path for one in self.files if one.path.startswith("cards/") and one.path not in own]:
            raise ValueError(f"{self.name} must list no other card than its own (got {strange[0]})")
        return self

    @property
    def cards(self) -> list[File]:
        """The files in `cards`: its card, that card's digests, and weights that lie beside it."""
        return [file for file in self.files if file.path.startswith("cards/")]

    @property
    def card(self) -> str | None:
        """The path of the card in the folder; the package's embedded encoders have none."""
        path = f"cards/{self.name}.md"
        return path if path in {file.path for file in self.files} else None


class Manifest(Record):
    """The content of `manifest.json`."""

    format: Literal[1] = 1
    sslzoo: str | None
    attribution: File
    entries: list[Entry]

    @property
    def files(self) -> list[File]:
        """Every file but the manifest, once."""
        return list({self.attribution: None} | {file: None for entry in self.entries for file in entry.files})

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        # A piece has its digest in its name; without it, the name must be there once.
        names = [re.sub(r"\.[0-9a-f]{64}$", "", file.path) for file in self.files]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"a file must be listed with one digest (got several for {twice[0]})")
        return self


def read(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        ValueError: The folder has none.
        WeightsError: It is not valid.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        step = "Make one with zoo export NAMES DIR"
        raise ValueError(f"folder must be one that zoo export wrote (got {str(folder)!r}: no manifest.json). {step}.")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        detail = error.errors()[0]
        fact = f"{'.'.join(map(str, detail['loc'])) or 'entries'}: {detail['msg']}"
        raise WeightsError(f"{path} must be a manifest of format 1 ({fact}). Export again with this sslzoo.") from None


def dump(manifest: Manifest) -> str:
    """The text of a `manifest.json`."""
    return manifest.model_dump_json(indent=1) + "\n"


def file(folder: Path, path: str) -> File:
    """The line of a file as it lies there."""
    return File(path=path, size=(folder / path).stat().st_size, sha256=sha256_file(folder / path))


def verify(folder: Path, manifest: Manifest) -> list[File]:
    """Every file of the manifest, once, each found to be as it is listed; a `WeightsError` names one that is not.

    So does one for a file that is not listed; those that a desktop leaves behind, hidden by a dot, are not counted.
    """
    for file in manifest.files:
        _verify(folder, file)
    listed = {folder / file.path for file in manifest.files} | {folder / "manifest.json"}
    for path in sorted(folder.rglob("*")):
        if path not in listed and (path.is_symlink() or not path.is_dir()) and not path.name.startswith("."):
            raise WeightsError(
                f"{path} must be listed in the manifest (got no line for it). Delete it, or export again."
            )
    return manifest.files


def _verify(folder: Path, file: File) -> None:
    path = folder / file.path
    if path.resolve() != folder.resolve() / file.path or not path.is_file():
        raise WeightsError(f"{path} must be a file in the folder itself (got none, or a link). Copy the folder again.")
    if (size := path.stat().st_size) != file.size:
        raise WeightsError(f"{path} must have {file.size} bytes (got {size}). Copy the folder again.")
    if (found := sha256_file(path)) != file.sha256:
        raise WeightsError(f"{path} must have sha256 {file.sha256} (got {found}). Copy the folder again.")
    if len(digest := path.suffix[1:]) == 64 and digest != file.sha256:
        raise WeightsError(f"{path} must have the sha256 of its name (got {file.sha256}). Do not trust the folder.")
