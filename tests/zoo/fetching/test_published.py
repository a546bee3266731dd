"""Cards that repos on the Hub carry."""

import pytest

import zoo
from zoo.fetching import published


def test_a_repo_with_a_card_loads_by_its_own_name(hub, tiny):
    data = tiny.with_name("tiny-test.safetensors").read_bytes()
    first = hub.serve("lab/tiny", "c" * 40, {"tiny-test.safetensors": data})
    pinned = tiny.read_text().replace("repo: null", f'repo: lab/tiny, revision: "{first}"')
    hub.serve("lab/tiny", "d" * 40, {"tiny-test.safetensors": data, "README.md": pinned.encode()})
    encoder = zoo.load("lab/tiny@0.5")
    assert (encoder.name, encoder.report.revision) == ("lab/tiny@0.5", "c" * 40)
    assert encoder.num_features == zoo.load("lab/tiny", 0.5, revision="d" * 40).num_features
    with pytest.raises(zoo.CardError, match=r"lab/tiny must have a card \(got no README.md\)"):
        zoo.load("lab/tiny", revision="c" * 40)


def test_a_repo_without_a_card_loads_with_one_given(hub, tiny):
    data = tiny.with_name("tiny-test.safetensors").read_bytes()
    hub.serve("lab/plain", "e" * 40, {"tiny-test.safetensors": data, "README.md": b"---\ntags: [timm]\n---\n# plain"})
    with pytest.raises(zoo.CardError, match=r"holds a `zoo:` block.*Or pass card=PATH"):
        zoo.load("lab/plain")
    report = zoo.load("lab/plain", 1.0, card=tiny).report
    assert (report.revision, report.verified) == ("e" * 40, "first-use"), "main, at this moment"


def test_a_published_card_names_the_repo_of_its_weights(hub, tiny):
    hub.serve("lab/loose", "c" * 40, {"README.md": tiny.read_bytes()})
    with pytest.raises(zoo.CardError, match=r"card lab/loose/README.md must name the repo of its weights \(got None\)"):
        zoo.load("lab/loose")


def test_all_cards_of_the_hub_and_why_others_are_none(hub, tiny):
    text = tiny.read_text().replace("---\nzoo:", "---\ntags: [sslzoo]\nzoo:", 1).replace("repo: null", "repo: lab/tiny")
    hub.serve("lab/tiny", "c" * 40, {"README.md": text.encode()})
    hub.serve("other/tiny", "c" * 40, {"README.md": text.replace("lab/tiny", "other/tiny").encode()})
    hub.serve("lab/broken", "c" * 40, {"README.md": b"---\ntags: [sslzoo]\n---\n"})
    hub.serve("lab/plain", "c" * 40, {"README.md": b"---\ntags: [timm]\n---\n"})
    found, unread = published.cards_of()
    assert [card.name for card in found] == ["lab/tiny", "other/tiny"]
    assert [card.weights.repo for card in found] == ["lab/tiny", "other/tiny"]
    assert list(unread) == ["lab/broken"]
    assert "must start with YAML front matter" in unread["lab/broken"]
    assert [card.name for card in published.cards_of("other")[0]] == ["other/tiny"]
    assert published.cards_of("nobody") == ([], {})


def test_a_card_is_read_at_the_commit_asked_for(hub, tiny):
    text = tiny.read_text().replace("repo: null", "repo: lab/tiny")
    hub.serve("lab/tiny", "c" * 40, {"README.md": text.replace("domain: test", "domain: old").encode()})
    hub.serve("lab/tiny", "d" * 40, {"README.md": text.encode()})
    assert published.card_of("lab/tiny").domain == "test"
    assert published.card_of("lab/tiny", "c" * 40).domain == "old"
    with pytest.raises(zoo.WeightsError, match="gone or private"):
        published.card_of("lab/nowhere")
