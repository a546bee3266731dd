"""The manifest of an exported folder: it lists every file, and what does not fit it is refused, whole."""

import hashlib

import pytest

import zoo
from tests.loadable import REVISION, inside
from tests.zoo.upkeep.carried import _renamed, listed, manifest, piece, rewrite
from zoo.upkeep import airgap
from zoo.upkeep import manifest as manifests


def test_the_manifest_lists_every_file(exported):
    found = manifest(exported)
    (entry,) = found["entries"]
    where = (entry["name"], entry["depth"], entry["repo"], entry["revision"], entry["file"])
    assert where == ("small-test", 0.25, "lab/small-test", REVISION, "model.safetensors")
    listed = {file["path"]: (file["size"], file["sha256"]) for file in [*entry["files"], found["attribution"]]}
    there = inside(exported)
    assert there.pop("manifest.json")
    assert listed == {path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in there.items()}
    assert there["ATTRIBUTION.md"].decode() == zoo.attribution([zoo.card("small-test")])
    assert there["cards/small-test.md"] == zoo.card("small-test").path.read_bytes()


def test_an_embedded_encoder_is_a_line_of_the_manifest(tmp_path):
    folder = airgap.export(["mocov2-mini"], tmp_path / "out")
    assert manifest(folder)["entries"][0]["files"] == []
    assert set(inside(folder)) == {"manifest.json", "ATTRIBUTION.md"}
    assert airgap.import_(folder) == airgap.Imported(("mocov2-mini@0.75",), 0, (), None)


def shorten(folder):
    path = piece(folder, "header")
    path.write_bytes(path.read_bytes()[:-1])


def flip(folder):
    path = piece(folder, "header")
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def link(folder):
    path = piece(folder, "header")
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def link_folder(folder):
    (folder / "pieces").rename(folder.parent / "elsewhere")
    (folder / "pieces").symlink_to(folder.parent / "elsewhere")


def rename_piece(folder):
    path = piece(folder, "header")
    path.rename(path.with_suffix(f".{'0' * 64}"))
    rewrite(folder, lambda found: listed(found, path.name).update(path=_renamed(listed(found, path.name)["path"])))


def twice(found):
    files = found["entries"][0]["files"]
    files.append({"path": _renamed(files[-1]["path"]), "size": 0, "sha256": "0" * 64})


def moved(path):
    def change(found):
        found["entries"][0]["files"][0]["path"] = path

    return lambda folder: rewrite(folder, change)


FORMAT = r"manifest\.json must be a manifest of format 1 "
OUTSIDE = FORMAT + r"\(entries\.0\.files\.0\.path: Value error, a path must lie in cards, pieces, converted or hub\)"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (flip, r"header\.\w+ must have sha256 \w+ \(got \w+\)\. Copy the folder again"),
        (shorten, r"header\.\w+ must have \d+ bytes \(got \d+\)\. Copy the folder again"),
        (lambda folder: piece(folder, "header").unlink(), r"header\.\w+ must be a file in the folder itself"),
        (link, r"header\.\w+ must be a file in the folder itself \(got none, or a link\)\. Copy"),
        (link_folder, r"must be a file in the folder itself \(got none, or a link\)\. Copy"),
        (rename_piece, r"header\.0+ must have the sha256 of its name \(got \w+\)\. Do not trust the folder"),
        (lambda folder: (folder / "ATTRIBUTION.md").write_text(""), r"ATTRIBUTION\.md must have \d+ bytes \(got 0\)"),
        (lambda folder: (folder / "manifest.json").write_text("{"), FORMAT + r"\(entries: Invalid JSON.*Export again"),
        (lambda folder: rewrite(folder, lambda found: found.update(format=2)), FORMAT + r"\(format: Input should be 1"),
        (lambda folder: rewrite(folder, lambda found: found.update(more=1)), FORMAT + r"\(more: Extra inputs"),
        (lambda folder: rewrite(folder, twice), FORMAT + r".*a file must be listed with one digest \(got several for"),
        (moved("../evil"), OUTSIDE),
        (moved("/tmp/evil"), OUTSIDE),
        (moved("cards/../../evil"), OUTSIDE),
        (moved("cards/.hidden"), OUTSIDE),
        (moved("cards\\..\\evil"), OUTSIDE),
        (moved("pieces/lab%2Fsmall/main/model.safetensors/lock"), OUTSIDE),
        (moved(f"pieces/lab%2Fsmall/{REVISION}/model.safetensors/lock"), OUTSIDE),
        (moved(f"hub/lab/small/{REVISION}/../../../refs/main"), OUTSIDE),
        (moved("cards/line\nbreak"), OUTSIDE),
        (moved("cards/end\n"), OUTSIDE),
    ],
)
def test_a_spoilt_folder_is_refused_and_the_cache_is_as_before(exported, hub, go, spoil, message):
    there = go(hub)
    there.mkdir()
    (there / "mine").write_text("mine")
    spoil(exported)
    with pytest.raises(zoo.WeightsError, match=message):
        airgap.import_(exported)
    assert inside(there) == {"mine": b"mine"}


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"folder must be one that zoo export wrote \(got '.*': no manifest.json\)\. M"
    ):
        airgap.import_(tmp_path)


def test_what_is_written_is_read_again(exported):
    found = manifests.read(exported)
    assert manifests.dump(found) == (exported / "manifest.json").read_text()
    (entry,) = found.entries
    assert entry.card == "cards/small-test.md"
    assert found.files == [found.attribution, *entry.files]
    assert manifests.verify(exported, found) == found.files
    line = manifests.file(exported, "ATTRIBUTION.md")
    assert line == found.attribution
