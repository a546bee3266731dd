"""Air gap: what was exported here loads there, and nothing else gets there."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

import huggingface_hub
import pytest

import zoo
from tests.conftest import ROOT
from tests.loadable import REVISION, beside, inside, publish, write_card
from tests.zoo.upkeep.carried import listed, manifest, piece, rewrite
from zoo.fetching import hub as hubs
from zoo.fetching.places import store_of
from zoo.upkeep import airgap, conversion


def fingerprint(encoder):
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in encoder.state_dict().values())).hexdigest()


THERE = """
import hashlib, sys
import zoo
from zoo.upkeep import airgap
opened = []
sys.addaudithook(lambda event, arguments: opened.append(event) if event.startswith("socket.") else None)
done = airgap.import_(sys.argv[1])
print(done.strangers)
for name in sys.argv[2:]:
    encoder = zoo.load(name)
    print(encoder.report.fetched, encoder.report.verified, end=" ")
    print(hashlib.sha256(b"".join(v.numpy().tobytes() for v in encoder.state_dict().values())).hexdigest())
print(opened)
"""


@pytest.mark.slow
def test_after_an_import_every_load_opens_no_socket(hub, own, tmp_path):
    publish(hub, own, pinned=True)
    publish(hub, own, "first-test", seed=1)
    publish(hub, own, "whole-test", seed=2)
    conversion.convert_card(publish(hub, own, "pickled-test", seed=3, file="checkpoint.pt"))
    beside(own)
    names = ["small-test@0.25", "first-test", "whole-test@1", "pickled-test@0.5", "beside-test", "mocov2-mini"]
    zoo.load("whole-test", whole=True)
    expected = {name: fingerprint(zoo.load(name)) for name in names}
    folder = airgap.export(names, tmp_path / "out")
    hub.forget()
    left_out = ("HF_HUB_CACHE", "HF_ASSETS_CACHE", "HF_HUB_OFFLINE")
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    environment |= {"HF_HOME": str(tmp_path / "home"), "ZOO_CARDS": str(folder / "cards")}
    command = [sys.executable, "-c", THERE, str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    strangers, *loads, opened = done.stdout.splitlines()
    assert (strangers, opened, hub.requests) == ("()", "[]", [])
    verified = ["card", "first-use", "whole file", "conversion", "own file", "card"]
    assert loads == [f"0 {how} {expected[name]}" for name, how in zip(names, verified, strict=True)]


def test_only_what_the_depth_needs_is_exported(hub, own, tmp_path, go):
    card = publish(hub, own)
    zoo.load("small-test", 1.0)
    folder = airgap.export(["small-test@0.25"], tmp_path / "out")
    cut = zoo.load("small-test", 0.25)
    held = {path.name for path in folder.glob("pieces/*/*/*/*")}
    assert len(held) == cut.report.matched + 2, "its tensors, the header, and that the commit has no digests.json"
    assert held < {path.name for path in store_of(card).folder.iterdir()}
    go(hub)
    airgap.import_(folder)
    assert fingerprint(zoo.load("small-test", 0.25)) == fingerprint(cut)
    with pytest.raises(zoo.WeightsError, match="cannot be fetched"):
        zoo.load("small-test", 0.5)


def test_the_optimal_depth_goes_where_none_is_given_and_depths_share_their_pieces(hub, own, tmp_path):
    publish(hub, own)
    entries = manifest(airgap.export(["small-test", "small-test@0.25"], tmp_path / "out"))["entries"]
    assert [entry["depth"] for entry in entries] == [0.75, 0.25]
    deep, shallow = ({file["path"] for file in entry["files"]} for entry in entries)
    assert shallow < deep


def test_whole_goes_for_every_depth_and_strict_checks(hub, own, tmp_path, go, monkeypatch):
    publish(hub, own)
    folder = airgap.export(["small-test@0.25"], tmp_path / "out", whole=True)
    expected = fingerprint(zoo.load("small-test", 1.0))
    go(hub)
    airgap.import_(folder)
    monkeypatch.setenv("ZOO_VERIFY", "strict")
    assert fingerprint(zoo.load("small-test", 1.0)) == expected
    assert hub.requests == []


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["new", "empty"])
def test_the_folder_appears_whole(tmp_path, make):
    make(tmp_path / "out")
    airgap.export(["mocov2-mini"], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_export_that_fails_leaves_nothing(hub, own, tmp_path):
    write_card(own, "gone-test", f'{{repo: lab/gone, revision: "{REVISION}", file: model.safetensors}}')
    with pytest.raises(zoo.WeightsError, match="gone or private"):
        airgap.export(["mocov2-mini", "gone-test"], tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "mine"):
        with pytest.raises(ValueError, match=r"folder must be new or empty \(got '.*'\)\. Name another one"):
            airgap.export(["mocov2-mini"], folder)
    with pytest.raises(
        OSError, match=r"folder .* must be writable \(got: Not a directory\)\. Free space there, or name"
    ):
        airgap.export(["mocov2-mini"], tmp_path / "out" / "mine" / "below")
    assert inside(tmp_path) == {"out/mine": b"mine"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"names must be a list of at least one name \(got \[\]\)\. Try"),
        ("mocov2-mini", r"names must be a list of at least one name \(got 'mocov2-mini'\)\. Try"),
        (["lab/small"], r"name must be of the registry \(got the repo 'lab/small'\)\. Save its README.md as a card"),
        (["mocov2-mimi"], r"name must be a known checkpoint .*Nearest: mocov2-mini"),
        (["mocov2-mini@2"], r"depth must be a number in \(0, 1\] \(got '2'\)\. Try mocov2-mini@0\.75"),
    ],
)
def test_names_that_cannot_be_exported(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        airgap.export(names, tmp_path / "out")


def test_what_was_never_asked_of_the_hub_is_not_exported(hub, own, tmp_path, monkeypatch):
    publish(hub, own)
    huggingface_hub.hf_hub_download("lab/small-test", "model.safetensors", revision=REVISION)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(zoo.WeightsError, match=r"small-test must have been loaded once with a network .*unset HF_HUB"):
        airgap.export(["small-test"], tmp_path / "out")


def test_an_import_twice_is_harmless_and_heals(exported, hub, go):
    there = go(hub)
    done = airgap.import_(exported)
    first = inside(there)
    assert done.names == ("small-test@0.25",)
    assert done.size == sum(map(len, first.values()))
    (spoilt,) = there.glob("assets/sslzoo/*/*/*/header.*")
    spoilt.write_bytes(b"flipped")
    assert airgap.import_(exported) == done
    assert inside(there) == first


def test_a_folder_that_changes_meanwhile_is_refused(exported, hub, go, monkeypatch):
    there = go(hub)
    monkeypatch.setattr(airgap, "_agree", lambda *given: piece(exported, "header").write_bytes(b"changed"))
    with pytest.raises(zoo.WeightsError, match=r"header\.\w+ must stay as it is during an import \(it changed\)"):
        airgap.import_(exported)
    assert not [path for path in inside(there) if "header" in path]


def test_what_was_fetched_before_is_not_replaced(exported, hub, own, tmp_path):
    card = zoo.card("small-test")
    store = store_of(card)
    (header,) = store.folder.glob("header.*")
    store.quarantine(["header"])
    before = inside(store.folder)
    assert airgap.import_(exported).size, "in quarantine or not, these are the same bytes"
    header.unlink()
    for path in store.folder.glob("quarantine/*"):
        path.unlink()
    store.put("header", b"other")
    with pytest.raises(
        zoo.WeightsError, match=r"must hold no other bytes as header than .*\. Delete there what you do"
    ):
        airgap.import_(exported)
    store.quarantine(["header"])
    with pytest.raises(zoo.WeightsError, match="must hold no other bytes as header"):
        airgap.import_(exported)
    assert before.keys() - inside(store.folder).keys() == {f"quarantine/{header.name}"}


def test_a_whole_file_of_the_hub_client_is_not_replaced(hub, own, tmp_path, go):
    publish(hub, own)
    folder = airgap.export(["small-test"], tmp_path / "out", whole=True)
    go(hub)
    place = hubs.place() / "models--lab--small-test" / "snapshots" / REVISION / "model.safetensors"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"other")
    with pytest.raises(zoo.WeightsError, match=r"must hold no other bytes as model than hub/lab/small-test/\w+/model"):
        airgap.import_(folder)
    assert place.read_bytes() == b"other"
    place.unlink()
    airgap.import_(folder)
    airgap.import_(folder)
    assert zoo.load("small-test").report.file == str(place)


def test_a_card_that_the_registry_lacks_is_copied_and_counts_once_the_advice_is_taken(exported, hub, go, monkeypatch):
    there = go(hub)
    monkeypatch.delenv("ZOO_CARDS")
    done = airgap.import_(exported)
    assert done.strangers == done.names == ("small-test@0.25",)
    place = re.fullmatch(r"Set ZOO_CARDS=(\S+)\.", done.next_step)[1]
    assert place.startswith(str(there))
    with pytest.raises(zoo.CardError, match="small-test"):
        zoo.load("small-test@0.25")
    shutil.rmtree(exported)  # the sender's folder is not needed, nor looked into, any more
    monkeypatch.setenv("ZOO_CARDS", place)
    assert zoo.load("small-test@0.25").report.fetched == 0
    assert set(zoo.names()) == {*(path.stem for path in (ROOT / "cards").glob("[!R]*.md")), "small-test"}


def test_nothing_is_left_to_say_where_the_registry_has_the_card(exported, hub, go):
    go(hub)
    assert airgap.import_(exported).next_step is None
    assert zoo.load("small-test@0.25").report.fetched == 0


@pytest.mark.parametrize("place", ["cards/evil-test.md", "cards/mocov2-chest.md", "pieces/more", "readme.txt"])
def test_what_the_manifest_does_not_list_is_refused(exported, hub, go, place):
    there = go(hub)
    (exported / place).write_text((exported / "cards" / "small-test.md").read_text())
    with pytest.raises(
        zoo.WeightsError, match=rf"{place} must be listed in the manifest \(got no line for it\)\. Delete"
    ):
        airgap.import_(exported)
    assert inside(there) == {}
    (exported / place).unlink()  # the advice
    (exported / "cards" / ".DS_Store").write_bytes(b"a desktop's own")
    assert airgap.import_(exported).names == ("small-test@0.25",)


@pytest.mark.parametrize("name", ["mocov2-chest", "other-test"])
def test_a_manifest_lists_no_card_of_another_name(exported, name):
    text = (exported / "cards" / "small-test.md").read_text()
    (exported / "cards" / f"{name}.md").write_text(text)
    line = {"path": f"cards/{name}.md", "size": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    rewrite(exported, lambda found: found["entries"][0]["files"].append(line))
    with pytest.raises(zoo.WeightsError, match=rf"small-test must list no other card than its own \(got cards/{name}"):
        airgap.import_(exported)


def test_a_card_of_the_package_s_name_is_not_copied(exported, hub, go):
    """Its sender's terms and digests would be the ones that count."""
    there = go(hub)
    text = (exported / "cards" / "small-test.md").read_text()
    (exported / "cards" / "small-test.md").rename(exported / "cards" / "flair-fundus.md")

    def rename(found):
        found["entries"][0]["name"] = "flair-fundus"
        listed(found, "small-test.md")["path"] = "cards/flair-fundus.md"

    rewrite(exported, rename)
    done = airgap.import_(exported)
    assert (done.strangers, text.count("apache")) == (("flair-fundus@0.25",), 2)
    assert done.next_step.startswith("Install the ")
    assert not [path for path in inside(there) if path.endswith(".md")]


def test_a_card_that_the_registry_has_otherwise_is_reported(exported, hub, own, go):
    go(hub)
    write_card(own, "small-test", f'{{repo: lab/small-test, revision: "{"b" * 40}", file: model.safetensors}}')
    assert airgap.import_(exported).strangers == ("small-test@0.25",)


def test_an_embedded_encoder_of_another_version_is_reported(tmp_path):
    folder = airgap.export(["mocov2-mini"], tmp_path / "out")
    rewrite(folder, lambda found: found["entries"][0].update(sha256="0" * 64) or found.update(sslzoo="9.9"))
    assert airgap.import_(folder).next_step == "Install the clone of sslzoo 9.9, which has it."
    rewrite(folder, lambda found: found.update(sslzoo=None))
    assert airgap.import_(folder).next_step == "Install the sslzoo that exported, which has it."


def test_a_broken_card_in_the_folder_stops_the_import(exported, hub, go):
    there = go(hub)
    text = (exported / "cards" / "small-test.md").read_text().replace("family:", "familly:")
    (exported / "cards" / "small-test.md").write_text(text)
    line = {"size": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    rewrite(exported, lambda found: listed(found, "small-test.md").update(line))
    with pytest.raises(zoo.CardError, match=r"cards/small-test\.md must follow the card format: familly"):
        airgap.import_(exported)
    assert inside(there) == {}


def test_digests_that_a_card_pins_are_still_compared_at_the_load(hub, own, tmp_path, go):
    publish(hub, own, pinned=True)
    folder = airgap.export(["small-test@0.25"], tmp_path / "out")
    path = next(path for path in folder.glob("pieces/*/*/*/*") if path.name[0].isdigit() and path.stat().st_size > 99)
    data = bytes(path.stat().st_size)
    digest = hashlib.sha256(data).hexdigest()
    path.unlink()
    path.with_suffix(f".{digest}").write_bytes(data)

    def change(found):
        line = listed(found, path.name)
        line.update(path=f"{line['path'].rpartition('.')[0]}.{digest}", sha256=digest)

    rewrite(folder, change)
    go(hub)
    airgap.import_(folder)
    with pytest.raises(zoo.WeightsError):
        zoo.load("small-test@0.25")
    assert list(store_of(zoo.card("small-test")).folder.glob(f"quarantine/*.{digest}"))


def test_a_piece_that_changes_while_it_is_copied_is_refused(tmp_path):
    piece = tmp_path / f"0-4.{hashlib.sha256(b'once').hexdigest()}"
    piece.write_bytes(b"then")
    with pytest.raises(zoo.WeightsError, match=r"must have sha256 \w+ \(got \w+\)\. Delete it and export again"):
        airgap._copy(tmp_path / "out", ("cards/x.md", piece, piece.suffix[1:]))
