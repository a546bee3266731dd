"""`zoo verify`: bytes and golden features of a card, and flipped bits that no load has met."""

import pytest

import zoo
from tests.zoo.fetching.served import flip
from zoo.fetching import digests, opened
from zoo.fetching import hub as hubs
from zoo.fetching.hub import WeightsError
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights
from zoo.upkeep import golden
from zoo.upkeep.verification import verify


@pytest.fixture
def served(hub, tiny, tmp_path, monkeypatch):
    """`tiny-test` on the Hub with its digests and golden features pinned in the card."""
    data = tiny.with_name("tiny-test.safetensors").read_bytes()
    hub.serve("lab/tiny", "c" * 40, {"tiny-test.safetensors": data})
    values = {f"{depth:g}": golden.values(zoo.load("tiny", depth, card=tiny)) for depth in golden.DEPTHS}
    listed = opened.digest(tiny.with_name("tiny-test.safetensors")).model_copy(update={"golden": values})
    return pin(tiny, listed, monkeypatch)


def pin(card, listed, monkeypatch):
    (card.parent / "digests").mkdir(exist_ok=True)
    (card.parent / "digests" / "tiny-test.json").write_bytes(digests.dump(listed))
    monkeypatch.setenv("ZOO_CARDS", str(card.parent))
    text = card.read_text()
    if "repo: null" in text:
        own = f'repo: lab/tiny, revision: "{"c" * 40}", digests: "{digests.sha256(digests.dump(listed))}"'
        card.write_text(text.replace("repo: null", own))
    return listed


@pytest.mark.usefixtures("served")
def test_verify_compares_bytes_and_golden_features(hub):
    verdict = verify("tiny-test")
    assert (verdict.name, verdict.verified, verdict.mended) == ("tiny-test", "card", ())
    assert verdict.tensors[0] < verdict.tensors[1]
    assert list(verdict.cosines) == ["0.5"], "the depth of the card is 0.75"
    assert verdict.cosines["0.5"] > 0.99999
    whole = verify("tiny-test", whole=True)
    assert whole.tensors[0] == whole.tensors[1] == verdict.tensors[1]
    assert list(whole.cosines) == ["0.5", "1"]


@pytest.mark.usefixtures("served")
def test_verify_whole_catches_a_flip_that_no_load_has_met(hub):
    zoo.load("tiny-test", 1.0)
    card = zoo.card("tiny-test")
    span = open_weights(card).header.spans["layer4.1.bn2.bias"]
    flip(next(store_of(card).folder.glob(f"{opened.key(span)}.*")), 3)
    assert zoo.load("tiny-test", 0.5)
    assert verify("tiny-test", whole=True).mended == (opened.key(span),)
    path = hubs.Remote(card.weights.repo, card.weights.revision, card.weights.file).cached
    flip(path, 8 * span.start)
    assert zoo.load("tiny-test", 0.5)
    assert verify("tiny-test", whole=True).mended == ("tiny-test.safetensors",)
    assert zoo.load("tiny-test", 1.0)


def test_other_features_are_refused(served, tiny, monkeypatch):
    far = {depth: [-value for value in values] for depth, values in served.golden.items()}
    changed = served.model_copy(update={"golden": far})
    tiny.write_text(
        tiny.read_text().replace(digests.sha256(digests.dump(served)), digests.sha256(digests.dump(changed)))
    )
    pin(tiny, changed, monkeypatch)
    with pytest.raises(WeightsError, match=r"tiny-test must give its golden features \(got cosines \{'0.5': -"):
        verify("tiny-test")


@pytest.mark.parametrize("name", ["mocov2-mini", "mae-mini"])
def test_the_embedded_pair_is_verified_with_its_golden_features(name):
    verdict = verify(name)
    assert verdict.verified == "card"
    assert verdict.tensors[0] == verdict.tensors[1] > 100
    assert min(verify(name, whole=True).cosines.values()) > 0.99999
