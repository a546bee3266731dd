"""Pickled checkpoints: converted where they are honest, refused and never run where they are not."""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save, save_file

import zoo
from tests.conftest import ROOT, TINY
from tests.hub.faults import Fault
from tests.zoo.upkeep.hostile import HOSTILE, saved
from zoo.fetching import digests, places
from zoo.fetching import hub as hubs
from zoo.fetching.pieces import Store
from zoo.networks import cutting
from zoo.registry import cards
from zoo.upkeep import conversion

REPO, REVISION, FILE = "lab/pickled", "b" * 40, "checkpoints/weights.pth"
ARCHITECTURE = {"architecture": "resnet18", "kwargs": {"in_chans": 1, "channels": [8, 8, 16, 16]}}


def network(seed=0):
    torch.manual_seed(seed)
    return cutting.build(ARCHITECTURE["architecture"], ARCHITECTURE["kwargs"], device="cpu").eval()


@pytest.fixture
def pickled(hub, tmp_path, monkeypatch):
    """A registry card, `moco-test`, whose file on the Hub is a MoCo checkpoint; returns the card."""
    own, other = network(0).state_dict(), network(1).state_dict()
    nest = {f"module.encoder_q.{key}": value for key, value in own.items()}
    nest |= {f"module.encoder_k.{key}": value for key, value in other.items()}
    nest |= {"module.encoder_q.fc.0.weight": torch.zeros(16, 16), "module.queue": torch.zeros(4, 4)}
    whole = {"epoch": 800, "args": argparse.Namespace(lr=0.03), "state_dict": nest, "optimizer": {"state": {}}}
    hub.serve(REPO, REVISION, {FILE: saved(tmp_path / "served.pth", whole).read_bytes()})
    place = f'{{repo: {REPO}, revision: "{REVISION}", file: {FILE}, layout: moco, allow: [argparse.Namespace]}}'
    (tmp_path / "cards").mkdir()
    card = tmp_path / "cards" / "moco-test.md"
    card.write_text(TINY.replace("{repo: null, file: tiny-test.safetensors}", place))
    monkeypatch.setenv("ZOO_CARDS", str(card.parent))
    return zoo.card("moco-test")


def features(encoder):
    with torch.no_grad():
        return encoder(torch.linspace(-1, 1, 1024).reshape(1, 1, 32, 32))


def test_a_pickled_card_loads_once_it_is_converted(hub, pickled, tmp_path):
    with pytest.raises(zoo.WeightsError, match=r"opens no pickle. Run zoo-upload convert moco-test\.$"):
        zoo.load("moco-test")
    assert hub.requests == []  # nothing is fetched in vain
    path = conversion.convert_card(pickled)
    assert path.is_relative_to(hubs.cache() / "converted" / digests.sha256_file(tmp_path / "served.pth"))
    hub.forget()
    for depth in (0.5, 1.0):
        encoder = zoo.load("moco-test", depth)
        assert (encoder.report.verified, encoder.report.fetched) == ("conversion", 0)
    with torch.no_grad():
        assert torch.equal(features(encoder), network(0)(torch.linspace(-1, 1, 1024).reshape(1, 1, 32, 32)))
    before = path.stat().st_mtime_ns
    assert conversion.convert_card(pickled) == path
    assert path.stat().st_mtime_ns == before
    assert hub.requests == []
    assert not list(path.parent.glob("scratch-*"))


def test_an_own_card_is_named_by_its_path(hub, pickled, monkeypatch):
    monkeypatch.delenv("ZOO_CARDS")
    with pytest.raises(zoo.WeightsError, match=f"Run zoo-upload convert {pickled.path}"):
        zoo.load("own", card=pickled.path)


def test_a_flipped_bit_in_the_converted_file_is_caught_and_mended(pickled, convert_once):
    path = convert_once(pickled)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(zoo.WeightsError, match=r"must hold what was converted .* Run zoo-upload convert moco-test"):
        zoo.load("moco-test", 1.0)
    assert conversion.convert_card(pickled).read_bytes() == good
    zoo.load("moco-test", 1.0)


def test_a_wrong_download_is_fetched_once_more_then_refused(hub, pickled):
    hub.faults.append(Fault("wrong"))
    conversion.convert_card(pickled)
    assert [kind for kind, _ in hub.injected] == ["wrong"]
    other = pickled.weights.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(zoo.WeightsError, match=f"must have sha256 {'0' * 64} .*(fetched once more|the Hub has)"):
        conversion.convert_card(pickled.model_copy(update={"weights": other}))


def test_two_cards_of_one_file_do_not_mix(pickled, convert_once):
    convert_once(pickled)
    text = pickled.path.read_text().replace("layout: moco", "layout: timm")
    other = pickled.path.with_name("other-test.md")
    other.write_text(text)
    with pytest.raises(zoo.WeightsError, match="convert other-test"):
        zoo.load("other-test")


def test_only_a_pickle_on_the_hub_is_converted_by_name(tiny):
    with pytest.raises(
        ValueError, match=r"must name a pickled file \(got tiny-test.safetensors\)\. zoo\.load takes it"
    ):
        conversion.convert_card(cards.read(tiny))
    tiny.write_text(tiny.read_text().replace("tiny-test.safetensors", "tiny-test.pt"))
    with pytest.raises(ValueError, match=r"must name a pickled file on the Hub \(got 'tiny-test.pt' in None"):
        conversion.convert_card(cards.read(tiny))


DIE = """
import os, zoo
from zoo.upkeep import conversion
conversion.save = lambda *a, **k: os._exit(9)
conversion.convert_card(zoo.card("moco-test"))
"""


@pytest.mark.slow
def test_a_killed_conversion_leaves_nothing_and_two_at_once_agree(pickled, tmp_path):
    place = places.converted(digests.sha256_file(tmp_path / "served.pth"), pickled)
    caches = {"HF_HUB_CACHE": constants.HF_HUB_CACHE, "HF_ASSETS_CACHE": constants.HF_ASSETS_CACHE}
    with subprocess.Popen([sys.executable, "-c", DIE], env=os.environ | caches, cwd=ROOT) as dying:
        while not list(place.parent.glob("scratch-*")) and dying.poll() is None:
            time.sleep(0.02)
        with ThreadPoolExecutor(2) as pool:  # both wait for the lock that the dying process holds
            assert set(pool.map(conversion.convert_card, [pickled, pickled])) == {place}
    assert dying.returncode == 9
    assert zoo.load("moco-test").report.verified == "conversion"
    assert {path.name.split(".")[0] for path in place.parent.iterdir()} == {"lock", "model", "digests"}


@pytest.mark.slow
def test_a_conversion_that_stops_anywhere_is_taken_up(pickled, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    def put(self, key, data):
        return (stop if key == stage else whole)(self, key, data)

    whole = Store.put
    for stage in ("write", "digests", "source"):
        with monkeypatch.context() as patch:
            patch.setattr(*(conversion, "write", stop) if stage == "write" else (Store, "put", put))
            with pytest.raises(KeyboardInterrupt):
                conversion.convert_card(pickled)
        with pytest.raises(zoo.WeightsError, match="Run zoo-upload convert moco-test"):
            zoo.load("moco-test")
    conversion.convert_card(pickled)
    zoo.load("moco-test")


def test_the_layout_is_found_and_heads_are_left_out(tmp_path):
    own = network(3).state_dict()
    counted = {key: value for key, value in own.items() if "num_batches_tracked" not in key}  # as old files are
    shared = torch.zeros(8)
    source = saved(tmp_path / "old.pth", {"model": counted | {"fc.weight": shared, "fc.bias": shared[:4]}})
    made = conversion.convert(source, tmp_path / "out.safetensors", **ARCHITECTURE)
    found = load_file(tmp_path / "out.safetensors")
    assert found.keys() == own.keys()
    assert all(torch.equal(found[key], own[key]) for key in own)
    assert made.source == digests.sha256_file(source)
    assert made.file == digests.sha256_file(tmp_path / "out.safetensors")
    assert made.tensors.keys() == own.keys()


def test_other_safetensors_are_renamed_too(tmp_path):
    """No pickle, so nothing has to be opened apart."""
    own = network(3).state_dict()
    save_file({f"backbone.{key}": value for key, value in own.items()}, tmp_path / "in.safetensors")
    conversion.convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors", **ARCHITECTURE)
    assert load_file(tmp_path / "out.safetensors").keys() == own.keys()


def spoilt(key, change):
    own = network(3).state_dict()
    return own | {key: change(own[key])}


@pytest.mark.parametrize(
    ("tensors", "layout", "message"),
    [
        ({"conv1.weight": torch.zeros(8, 1, 7, 7)}, None, r"names must be the network's under one layout .*'timm'"),
        ({"conv1.weight": torch.zeros(8, 1, 7, 7)}, "timm", r"must hold exactly .*Missing key\(s\).*bn1.weight"),
        (spoilt("conv1.weight", lambda old: old[1:]), None, r"must hold exactly .*size mismatch for conv1.weight"),
        (spoilt("bn1.bias", lambda old: old / 0), None, r"finite numbers \(got NaN or infinity in bn1.bias"),
        (b"<html>", None, "must be a pickled checkpoint or safetensors: it is an HTML page"),
        (b"plain text", None, "must be a pickled checkpoint or safetensors: its header claims"),
        (None, None, "weights must be an existing file"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, tensors, layout, message):
    source = tmp_path / "in.safetensors"
    if tensors is not None:
        source.write_bytes(tensors if isinstance(tensors, bytes) else save(tensors))
    with pytest.raises(zoo.WeightsError, match=message):
        conversion.convert(source, tmp_path / "out.safetensors", layout=layout, **ARCHITECTURE)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("kind", ["code", "module", "truncated"])
def test_hostile_files_write_nothing_outside_the_cache(hub, pickled, tmp_path, kind):
    HOSTILE[kind][0](tmp_path / "x.pth")
    (tmp_path / "x.pth").replace(tmp_path / "served.pth")
    hub.serve(REPO, REVISION, {FILE: (tmp_path / "served.pth").read_bytes()})
    before = {path for path in tmp_path.rglob("*") if "assets" not in path.parts and "hub-cache" not in path.parts}
    with pytest.raises(zoo.WeightsError, match=HOSTILE[kind][1]):
        conversion.convert_card(pickled)
    after = {path for path in tmp_path.rglob("*") if "assets" not in path.parts and "hub-cache" not in path.parts}
    assert after == before
    assert not list(hubs.cache().rglob("*.safetensors"))
    with pytest.raises(zoo.WeightsError, match="Run zoo-upload convert"):
        zoo.load("moco-test")


def test_the_opening_process_sees_no_token_and_cannot_hang_or_crash_us(tmp_path, monkeypatch):
    """Python is replaced by programs that tell what they were given, die and sleep."""
    monkeypatch.setenv("HF_TOKEN", "secret")
    source, fake = saved(tmp_path / "x.pth", {"a": torch.zeros(1)}), tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(fake))
    fake.write_text(f"#!/bin/sh\nenv > {tmp_path}/env\npwd >> {tmp_path}/env\nkill -9 $$\n")
    fake.chmod(0o755)
    with pytest.raises(zoo.WeightsError, match=r"must be a checkpoint that torch can open \(got exit code -9"):
        conversion.convert(source, tmp_path / "out", **ARCHITECTURE)
    told = (tmp_path / "env").read_text()
    assert "secret" not in told
    assert "HF_" not in told
    assert f"{tmp_path}/scratch-" in told
    monkeypatch.setattr(conversion, "_PATIENCE", 0.2)
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(zoo.WeightsError, match=r"must open within 0.2 s \(got no end\)"):
        conversion.convert(source, tmp_path / "out", **ARCHITECTURE)
