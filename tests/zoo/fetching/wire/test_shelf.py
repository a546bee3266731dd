"""The Hub client finds what we put into its cache, and nothing appears there by half."""

import huggingface_hub
import huggingface_hub.constants
import pytest

from tests import small
from zoo.fetching import hub as hubs
from zoo.fetching.wire import shelf


@pytest.fixture(autouse=True)
def _empty(hub):
    """Caches of this test's own."""


@pytest.mark.parametrize("revision", [small.REVISION, "main"])
def test_the_client_takes_what_we_fetched_for_its_own(hub, tmp_path, monkeypatch, revision):
    _, data = small.publish(hub, tmp_path)
    hub.serve(small.REPO, "b" * 40, {small.FILE: data, "README.md": b"# small"})
    hub.repos[small.REPO].commits[small.REVISION].files.update(hub.repos[small.REPO].commits["b" * 40].files)
    path = hubs.Remote(small.REPO, revision, small.FILE, pinned=revision != "main").download()
    assert hubs.text(small.REPO, "README.md", revision) == b"# small"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    found = huggingface_hub.hf_hub_download(small.REPO, small.FILE, revision=revision)
    assert (found, path.read_bytes()) == (str(path), data)
    assert path.is_symlink()
    assert huggingface_hub.hf_hub_download(small.REPO, "README.md", revision=revision)
    assert huggingface_hub.scan_cache_dir(huggingface_hub.constants.HF_HUB_CACHE).warnings == []
    assert hubs.text(small.REPO, "README.md", revision) == b"# small", "from the cache"


def test_we_take_what_the_client_fetched(hub, tmp_path):
    small.publish(hub, tmp_path)
    path = huggingface_hub.hf_hub_download(small.REPO, small.FILE, revision=small.REVISION)
    hub.forget()
    assert str(hubs.Remote(small.REPO, small.REVISION, small.FILE).download()) == path
    assert hub.requests == []


def test_a_disk_without_links_gets_a_copy(hub, tmp_path, monkeypatch):
    _, data = small.publish(hub, tmp_path)

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(shelf.Path, "symlink_to", refuse)
    path = hubs.Remote(small.REPO, small.REVISION, small.FILE).download()
    assert (path.is_symlink(), path.read_bytes()) == (False, data)


def broken_off(path, failure):
    with shelf.making(path) as stream:
        stream.write(b"half")
        raise failure


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError, ValueError])
def test_what_is_broken_off_leaves_nothing(tmp_path, failure):
    path = tmp_path / "deep" / "file"
    with pytest.raises(failure):
        broken_off(path, failure)
    assert list(path.parent.iterdir()) == []
    with shelf.making(path) as stream:
        stream.write(b"whole")
    assert [one.name for one in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("etag", ["../../x", "a/b", "", ".", "x" * 200, "a\x1b"])
def test_a_name_of_content_that_is_none_is_refused(etag):
    with pytest.raises(OSError, match="must name lab/x's file by a hash"):
        shelf.blob("lab/x", etag)


@pytest.mark.parametrize(("file", "commit"), [("../x", "a" * 40), ("/etc/x", "a" * 40), ("x", "../../x"), ("x", "abc")])
def test_a_file_elsewhere_is_refused(file, commit):
    with pytest.raises(OSError, match="lab/x must have files at commits"):
        shelf.link("lab/x", file, "0" * 40, "main", commit)
