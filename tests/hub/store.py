"""What a Hub keeps: files with their digests, commits, branches and tags."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import yaml

LFS = (".safetensors", ".bin", ".pt", ".pth")
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n"
_EPOCH = datetime(2026, 1, 1)


class File:
    """A file's bytes, hashed once. `digest` is what its ETag says: sha256 of an LFS file, else the git blob sha1."""

    def __init__(self, data: bytes, *, lfs: bool) -> None:
        self.data, self.lfs, self.pointer_size = data, lfs, 0
        if lfs:
            self.digest = hashlib.sha256(data).hexdigest()
            pointer = _POINTER % (self.digest.encode(), len(data))
            self.oid, self.pointer_size = git_sha1(pointer), len(pointer)
        else:
            self.digest = self.oid = git_sha1(data)


def git_sha1(data: bytes) -> str:
    """What `git hash-object` says."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class Commit:
    """A state of a repo; `order` counts the Hub's commits and gives the date."""

    id: str
    parent: str | None
    title: str
    message: str
    order: int
    files: dict[str, File]

    @property
    def date(self) -> str:
        return (_EPOCH + timedelta(seconds=self.order)).isoformat() + ".000Z"


@dataclass
class Repo:
    """A model repo."""

    name: str
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def find(self, revision: str) -> Commit | None:
        """The commit of a branch, a tag or a full id; a shortened id finds nothing, as on the Hub."""
        revision = revision.removeprefix("refs/heads/")
        return self.commits.get(self.branches.get(revision) or self.tags.get(revision) or revision)

    def history(self, commit: Commit | None) -> Iterator[Commit]:
        """That commit and those before it."""
        while commit is not None:
            yield commit
            commit = self.commits.get(commit.parent or "")

    def add(self, files: dict[str, File], branch: str, *, order: int, text: str, commit_id: str | None) -> Commit:
        """Make a commit of these files the head of `branch`; the first line of `text` is its title."""
        parent, (title, _, message) = self.branches.get(branch), text.partition("\n")
        if commit_id in self.commits:  # served again, which must not close a circle
            parent = self.commits[commit_id].parent
        state = json.dumps([self.name, order, parent, text, {path: file.oid for path, file in files.items()}])
        found = commit_id or hashlib.sha1(state.encode()).hexdigest()
        commit = Commit(found, parent, title, message.strip(), order, dict(files))
        self.commits[found], self.branches[branch] = commit, found
        return commit


def front_matter(text: str) -> dict[str, object]:
    """The YAML block that a README.md starts with; empty where there is none.

    Raises:
        ValueError: It is not valid YAML, or not a mapping.
    """
    block = re.match(r"\s*---\r?\n(.*?)\r?\n---(\r?\n|$)", text, flags=re.DOTALL)
    try:
        values = yaml.safe_load(block[1]) if block else {}
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    if not isinstance(values or {}, dict):
        raise ValueError("the metadata must be a mapping")
    return values or {}


def card_data(commit: Commit) -> dict[str, object]:
    """The front matter of a commit's README.md."""
    readme = commit.files.get("README.md")
    try:
        return front_matter(readme.data.decode()) if readme else {}
    except ValueError:
        return {}


def tags(commit: Commit) -> list[str]:
    """The tags that the Hub derives from a model's files and card."""
    card = card_data(commit)
    found = [str(card[key]) for key in ("library_name", "pipeline_tag") if card.get(key)]
    found += ["safetensors"] if any(path.endswith(".safetensors") for path in commit.files) else []
    found += _listed(card.get("tags"))
    for key, prefix in (("license", "license"), ("datasets", "dataset"), ("base_model", "base_model")):
        found += [f"{prefix}:{value}" for value in _listed(card.get(key))]
    return list(dict.fromkeys([*found, "region:us"]))


def _listed(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(one) for one in values if one is not None]
