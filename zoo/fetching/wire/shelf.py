"""The Hub client's own cache of whole files, laid out as its documentation says: blobs, and links to them by commit."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import huggingface_hub
from filelock import FileLock
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

COMMIT = re.compile("[0-9a-f]{40}")


def cache() -> Path:
    """Return where everything that was fetched lies: in the Hub client's folder for other libraries."""
    return Path(constants.HF_ASSETS_CACHE) / "sslzoo"


def place() -> Path:
    """The Hub client's own cache, of whole files."""
    return Path(constants.HF_HUB_CACHE)


def found(repo: str, file: str, revision: str) -> Path | None:
    """The file, where it is there."""
    path = huggingface_hub.try_to_load_from_cache(repo, file, revision=revision)
    return Path(path) if isinstance(path, str) else None


def blob(repo: str, etag: str) -> Path:
    """Where the content that the Hub gives this name lies."""
    if not re.fullmatch(r"[0-9A-Za-z_-]{1,128}", etag):
        raise OSError(f"the Hub must name {repo}'s file by a hash (got {etag[:80]!r}). Load again later.")
    return _folder(repo) / "blobs" / etag


@contextlib.contextmanager
def lock(repo: str, etag: str) -> Iterator[None]:
    """Hold the only right to make a blob, as the Hub client does."""
    folder = place() / ".locks" / _folder(repo).name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{blob(repo, etag).name}.lock"):
        yield


@contextlib.contextmanager
def making(path: Path) -> Iterator[BinaryIO]:
    """A file to write: it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.incomplete")
    try:
        with part.open("xb") as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def link(repo: str, file: str, etag: str, revision: str, commit: str) -> Path:
    """Make a blob the content of a file at a commit, and that commit what a branch stands for."""
    if not COMMIT.fullmatch(commit) or ".." in Path(file).parts or Path(file).is_absolute():
        raise OSError(f"{repo} must have files at commits (got {file!r} at {commit[:80]!r}). Load again later.")
    path, source = _folder(repo) / "snapshots" / commit / file, blob(repo, etag)
    path.parent.mkdir(parents=True, exist_ok=True)
    if revision != commit and re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", revision):
        with making(_folder(repo) / "refs" / revision) as stream:
            stream.write(commit.encode())
    _point(path, source)
    return path


def _point(path: Path, source: Path) -> None:
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.incomplete")
    try:
        try:
            part.symlink_to(os.path.relpath(source, path.parent))
        except (OSError, NotImplementedError):  # a disk or system without links
            shutil.copyfile(source, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _folder(repo: str) -> Path:
    return place() / repo_folder_name(repo_id=repo, repo_type="model")
