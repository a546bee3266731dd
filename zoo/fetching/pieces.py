"""The cache of one file's pieces: its header, its tensors, its digests.

A piece lies in a file of its own whose name ends in the sha256 of its bytes, and gets that name only when all its bytes
are there and right. So a kill leaves at most a temporary file, and the digest seen at the first fetch cannot get lost.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from filelock import FileLock


class CacheError(OSError):
    """A cache cannot be written."""


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Say so, and what to do, where a cache cannot be written."""
    try:
        yield
    except OSError as error:
        fact = error.strerror or str(error)
        raise CacheError(
            f"the cache {place} must be writable (got: {fact}). Free space there, or point HF_HOME elsewhere."
        ) from error


class Store:
    """The pieces of one file at one commit, by key. Nothing is created before something is put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._spoilt = folder / "quarantine"

    def get(self, keys: Collection[str]) -> dict[str, bytes]:
        """The bytes, as they lie there, of those pieces that are there."""
        paths, found = _pieces(self.folder), {}
        for key in keys:
            with contextlib.suppress(KeyError, FileNotFoundError):  # another process may put it aside just now
                found[key] = paths[key].read_bytes()
        return found

    def sound(self, key: str) -> bytes | None:
        """A piece whose bytes are still what its name says; one whose bytes are not goes to quarantine."""
        data = self.get([key]).get(key)
        if data is not None and hashlib.sha256(data).hexdigest() != self.recorded()[key]:
            self.quarantine([key])
            return None
        return data

    def keys(self) -> set[str]:
        """The pieces that are there."""
        return set(_pieces(self.folder))

    def recorded(self) -> dict[str, str]:
        """The digest that each piece got its name from, those in quarantine included."""
        return {key: path.suffix[1:] for place in (self._spoilt, self.folder) for key, path in _pieces(place).items()}

    def spoilt(self) -> set[str]:
        """Return what lies in quarantine: pieces by key, whole files by name."""
        pieces = _pieces(self._spoilt)
        held = set(self._spoilt.iterdir()) if self._spoilt.is_dir() else set()
        return {*pieces, *(path.name for path in held - set(pieces.values()))}

    def put(self, key: str, data: bytes) -> None:
        """Keep a piece: all of it, under the name of its digest, or nothing."""
        write(self.folder / f"{key}.{hashlib.sha256(data).hexdigest()}", data)

    def quarantine(self, keys: Collection[str]) -> None:
        """Take pieces out of use, but keep them, and the digests in their names, for a look."""
        with writing(self.folder):
            for path in (path for key, path in _pieces(self.folder).items() if key in keys):
                self._spoilt.mkdir(exist_ok=True)
                path.replace(self._spoilt / path.name)

    def disprove(self, right: dict[str, str]) -> None:
        """Put aside the pieces whose recorded digest is not the right one; it holds no longer."""
        wrong = [key for key, found in self.recorded().items() if right.get(key, found) != found]
        self.quarantine(wrong)
        with writing(self.folder):
            for path in (path for key, path in _pieces(self._spoilt).items() if key in wrong):
                path.rename(path.with_name(f"{path.name}.disproved"))

    def quarantine_file(self, path: Path) -> None:
        """Take a whole file out of use, but keep it; it may be a link to where it lies, and on another disk."""
        with writing(self._spoilt):
            self._spoilt.mkdir(parents=True, exist_ok=True)
            shutil.move(path.resolve(), self._spoilt / path.name)
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the only right to fetch; what a killed process left half written is removed."""
        with contextlib.ExitStack() as held:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(self.folder / "lock"))
                for left in self.folder.glob("*.part"):
                    left.unlink(missing_ok=True)
            yield


def write(path: Path, data: bytes) -> None:
    """Write a file of a cache: it appears whole or not at all."""
    part = path.with_name(f"{secrets.token_hex(8)}.part")
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _pieces(folder: Path) -> dict[str, Path]:
    try:
        entries = [entry.name for entry in os.scandir(folder)]
    except FileNotFoundError:
        return {}
    return {key: folder / name for name in entries for key, _, digest in [name.rpartition(".")] if len(digest) == 64}
