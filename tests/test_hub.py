"""The real `huggingface_hub` client against the loopback Hub."""

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save

import zoo
from zoo import hub as hubs


@pytest.fixture
def chest(hub):
    """The Hub serves a DenseNet-121 file of the published layout under the card's repo and revision."""
    card = zoo.card("mocov2-chest")
    torch.manual_seed(0)
    network = timm.create_model("densenet121", num_classes=0).eval()
    data = save(network.state_dict())
    hub.serve(card.weights.repo, card.weights.revision, {"model.safetensors": data})
    return hub, network, len(data)


def test_mocov2_chest_loads_from_the_loopback_hub(chest):
    _, network, size = chest
    encoder = zoo.load("mocov2-chest", depth=0.75)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = encoder(x)
        expected = network.features.transition3.norm(network.features[:8](x)).mean((2, 3))
    assert features.shape == (2, 1024)
    assert torch.equal(features, expected)
    report = encoder.report
    assert (report.verified, report.depth, report.depth_evidence) == ("hub", 0.75, "argument")
    assert (report.fetched, report.missing, report.unexpected) == (size, (), ())
    later = ("features.denseblock4", "features.transition3.conv", "features.norm5")
    assert report.matched == sum(not key.startswith(later) for key in network.state_dict())
    assert zoo.load("mocov2-chest", depth=0.75).report.fetched == 0


def test_a_cached_file_loads_offline_and_is_still_verified(chest, monkeypatch):
    hub, _, _ = chest
    path = zoo.load("mocov2-chest").report.file
    hub.reset()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert zoo.load("mocov2-chest").report.verified == "hub"
    assert hub.requests == []
    _flip(path)
    with pytest.raises(
        zoo.WeightsError, match=r"mocov2-chest@0.75: .*must have sha256 .*not the published ones\. Delete it"
    ):
        zoo.load("mocov2-chest")


def test_offline_without_a_cached_file_says_what_to_do(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(zoo.WeightsError, match=r"cannot be fetched.*unset HF_HUB_OFFLINE"):
        zoo.load("mocov2-chest")


def test_embedded_names_ask_for_nothing(hub):
    zoo.load("mocov2-mini")
    assert hub.requests == []


def test_gone_and_gated_repos(hub):
    card = zoo.card("mae-chest")
    with pytest.raises(zoo.WeightsError, match="gone or private"):
        zoo.load("mae-chest")
    hub.serve(card.weights.repo, "1" * 40, {"model.safetensors": b""})
    with pytest.raises(zoo.WeightsError, match="gone or private"):
        zoo.load("mae-chest")
    hub.gated.add(card.weights.repo)
    with pytest.raises(zoo.WeightsError, match="Accept its terms"):
        zoo.load("mae-chest")


def test_an_unpinned_card_is_not_fetched(hub, tiny):
    tiny.write_text(tiny.read_text().replace("repo: null", "repo: o/n"))
    with pytest.raises(zoo.WeightsError, match="revision must be pinned"):
        zoo.load("own", card=tiny)
    assert hub.requests == []


@pytest.mark.usefixtures("chest")
def test_the_listed_digest_is_asked_for_where_the_cache_does_not_hold_it(tmp_path):
    plain = tmp_path / "model.safetensors"  # a cache without symbolic links
    plain.write_bytes(b"")
    assert hubs._listed_sha256(zoo.card("mocov2-chest"), plain) == hubs.sha256(
        type(plain)(zoo.load("mocov2-chest").report.file)
    )


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"<!doctype html><title>Sign in</title>", "it is an HTML page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a git-lfs pointer"),
        (b"\x80\x02}q\x00.", "it is a pickled checkpoint"),
        (b"", "it is truncated at 0 bytes"),
        (b"\x20\x00\x00\x00\x00\x00\x00\x00{}", "it is truncated at 10 bytes"),
    ],
)
def test_the_cause_of_a_bad_file_is_named(tiny, content, cause):
    tiny.with_name("tiny-test.safetensors").write_bytes(content)
    with pytest.raises(zoo.WeightsError, match=f"tiny-test.safetensors must be a whole safetensors file: {cause}"):
        zoo.load("own", card=tiny)
    wanted = tiny.read_text().replace(
        "file: tiny-test.safetensors", f"file: tiny-test.safetensors, sha256: '{'0' * 64}'"
    )
    tiny.write_text(wanted)
    with pytest.raises(zoo.WeightsError, match=f"must have sha256 {'0' * 64} .*{cause}"):
        zoo.load("own", card=tiny)


def _flip(path):
    with open(path, "r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)[0]
        stream.seek(-1, 2)
        stream.write(bytes([last ^ 1]))
