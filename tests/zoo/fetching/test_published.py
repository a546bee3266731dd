"""Cards that repos on the Hub carry."""

import pytest

import zoo
from tests.hub.answers import told
from tests.hub.faults import Fault
from zoo.fetching import hub as hubs
from zoo.fetching import published
from zoo.fetching.wire import asking


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


def tagged(text):
    return text.replace("---\nzoo:", "---\ntags: [sslzoo]\nzoo:", 1).replace("repo: null", "repo: lab/good").encode()


ODD = {
    "date": lambda text: text.replace("domain: test", "domain: 2001-99-99"),
    "digits": lambda text: text.replace("size: 32", f"size: {'9' * 5000}"),
    "brackets": lambda text: text.replace("kwargs: {in_chans: 1, channels: [8, 8, 16, 16]}", f"kwargs: {'[' * 3000}"),
    "markup": lambda text: text.replace("domain: test", "domain: '[/x]'"),
    "latin": lambda text: text.replace("domain: test", "domain: \x00\x1b[2J"),
    "empty": lambda text: "---\ntags: [sslzoo]\n---\n",
    "tag": lambda text: text.replace("method: none", "method: !!python/object/apply:os.system [ls]"),
    "huge": lambda text: text + "x" * (2 << 20),
    "binary": lambda text: text.replace("domain: test", "domain: !!binary '='"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_bad_card_does_not_take_the_list_along(hub, tiny, monkeypatch, kind):
    good = tagged(tiny.read_text())
    hub.serve("lab/good", "c" * 40, {"README.md": good})
    odd = ODD[kind](good.decode()).encode()
    hub.serve("evil/card", "c" * 40, {"README.md": odd})
    listing = told([{"id": "evil/card"}, {"id": "lab/good"}])  # whatever the Hub makes of such a card
    whole = hub.answer
    monkeypatch.setattr(hub, "answer", lambda request: listing if request.path == "/api/models" else whole(request))
    found, unread = published.cards_of()
    assert "lab/good" in [card.name for card in found]
    assert {card.name for card in found} | set(unread) == {"lab/good", "evil/card"}


ODD_ENTRIES = [{"id": None}, {"id": 7}, {}, [], None, "lab/good", {"id": "../../x"}, {"id": "a/b/c"}, {"id": "x" * 999}]


@pytest.mark.parametrize("entry", ODD_ENTRIES, ids=repr)
def test_an_odd_entry_is_named_and_the_others_are_listed(hub, tiny, monkeypatch, entry):
    hub.serve("lab/good", "c" * 40, {"README.md": tagged(tiny.read_text())})
    whole, listing = hub.answer, told([entry, {"id": "lab/good"}])
    monkeypatch.setattr(hub, "answer", lambda request: listing if request.path == "/api/models" else whole(request))
    found, unread = published.cards_of()
    assert [card.name for card in found] == ["lab/good"]
    assert len(unread) == 1


@pytest.mark.parametrize(
    "kind", ["html", "status", "drip", "head", "endless", "unended", "bomb", "loop", "gone", "gated"]
)
def test_a_repo_that_cannot_be_fetched_is_named_and_the_others_are_listed(hub, tiny, monkeypatch, kind):
    for name, value in {"PATIENCE": 2.0, "QUIET": 1.0, "SLOW": (0.3, 8 << 10)}.items():
        monkeypatch.setattr(asking, name, value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    for repo in ("lab/good", "lab/also", "evil/card"):
        hub.serve(repo, "c" * 40, {"README.md": tagged(tiny.read_text())})
    fault = Fault(kind, seconds=0.05, on="resolve")
    hub.faults = lambda asked: fault if "/evil/card/" in asked.path else None
    found, unread = published.cards_of()
    assert [card.name for card in found if card.name != "evil/card"] == ["lab/also", "lab/good"]
    assert set(unread) <= {"evil/card"}
    assert len(found) + len(unread) == 3


@pytest.mark.parametrize(
    "body", ["<html>Sign in</html>", "", "{}", "null", "[" * 100_000, '{"error": "x"}', "[1, 2", "\ufeff[]", "7"]
)
@pytest.mark.parametrize("ask", [published.cards_of, lambda: hubs.commits("lab/x")])
def test_a_captive_portal_is_no_hub(elsewhere, body, ask):
    elsewhere(200, body)
    with pytest.raises(zoo.WeightsError, match=r"does not answer as a Hub does|is no list"):
        ask()


@pytest.mark.parametrize("entries", [[], [{}], [{"id": 1}], [{"id": "x"}], [None], [{"id": "A" * 40}], {"id": 1}])
def test_odd_commits_are_no_hubs(hub, monkeypatch, entries):
    monkeypatch.setattr(hub, "answer", lambda request: told(entries))
    with pytest.raises(zoo.WeightsError, match=r"does not answer as a Hub does|is no list"):
        hubs.commits("lab/x")


@pytest.mark.parametrize("link", ["{}/api/models?again", "http://evil.example/api/models", "http://[bad"])
def test_a_list_without_end_or_that_goes_on_elsewhere_is_left(hub, monkeypatch, link):
    link = f'<{link.format(hub.endpoint)}>; rel="next"'
    monkeypatch.setattr(hub, "answer", lambda request: told([{"id": "lab/x"}], headers={"Link": link}))
    with pytest.raises(zoo.WeightsError, match=r"without end|elsewhere|no address"):
        published.cards_of()
    assert len(hub.requests) <= 50
