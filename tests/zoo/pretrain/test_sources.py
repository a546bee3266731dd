"""Source images: each is the one whose digest is known."""

import pytest

from zoo.pretrain import sources


def test_a_source_with_another_digest_is_refused(tmp_path):
    (tmp_path / "member").write_bytes(b"other")
    with pytest.raises(OSError, match="member must have sha256 0"):
        sources._take(tmp_path / "member", tmp_path / "target", "0" * 64)
    assert not (tmp_path / "target").exists()
