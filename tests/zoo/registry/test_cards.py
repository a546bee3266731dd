import os
import re
import time

import pytest
import yaml

import zoo
from tests.conftest import ROOT, TINY
from tests.zoo.registry.hostile import BAD
from zoo.networks import cutting
from zoo.networks.encoder import Encoder
from zoo.registry import cards

MINI = {"mae-mini", "mocov2-mini"}
PUBLISHED = {
    *("bt-histology", "biomedclip", "byol-natural", "deblur-ultrasound", "dino-histology", "dino-natural"),
    *("dinov2-chest", "dinov2-chest-224", "dinov2-hematology", "dinov2-natural", "evax-chest", "flair-fundus"),
    *("ibot-histology", "mae-chest", "mae-chest-vitb", "mae-chest-vits", "mae-ct", "mae-endoscopy", "mae-natural"),
    *("mae-ultrasound", "mocov2-chest", "mocov2-histology", "mocov2-natural", "simclr-histology"),
    *("supervised-natural", "supervised-natural-densenet121", "supervised-natural-vgg19", "supervised-radimagenet"),
    "swav-histology",
}
FACTS = {
    *("architecture", "layout", "method", "data", "pool", "size", "range", "mean", "std", "interpolation", "resize"),
    *("kwargs", "family", "domain", "revision", "file", "bytes", "sha256", "license", "upstream", "gated", "paper"),
}
OTHERS = [name for name in zoo.names() if name not in MINI]
LICENCES = {
    *(
        "apache-2.0",
        "mit",
        "bsd-3-clause",
        "cc-by-nc-4.0",
        "gpl-3.0",
        "lunit-non-commercial",
        "gpl-3.0-non-commercial",
        "owkin-non-commercial",
    ),
    None,
}
CHECKED = {
    "transformers-dinov2": "transformers",
    "transformers-vit": "transformers",
    "transformers-mae": "transformers",
    "open-clip": "open_clip",
}


def front(card):
    return yaml.safe_load(card.path.read_text().split("---\n", 2)[1])


def prose(card):
    """The body without its line breaks."""
    return " ".join(card.body.split())


def encoder(card, depth):
    """On the meta device: shapes and code, no numbers."""
    return Encoder(cutting.cut(cutting.build(card.architecture, card.kwargs), depth), card, depth)


@pytest.mark.parametrize("name", zoo.names())
def test_every_card_is_complete(name):
    card = zoo.card(name)
    assert card.name == name
    assert card.body.strip().startswith(f"# {name}\n")
    assert len(card.body) > 400
    assert "Not for diagnosis" in prose(card)
    for numbers in (card.input.mean, card.input.std):
        assert numbers is None or len(numbers) == card.input.channels
    if name in MINI:
        assert card.weights.sha256
        assert cards.weights_file(card).stat().st_size <= 25e6
    else:
        assert len(card.body.splitlines()) <= 50
        assert ("**Not yet verified online.**" in card.body) == (card.weights.digests is None)
        assert ("**Verified online** at commit" in card.body) == (card.weights.digests is not None)
        assert re.search(r"```python\nencoder = zoo\.load\(", card.body)


def test_the_published_checkpoints_are_there():
    assert set(zoo.names()) == PUBLISHED | MINI
    assert len(PUBLISHED) == 29


@pytest.mark.parametrize("name", OTHERS)
def test_every_fact_has_its_evidence_and_an_unknown_one_is_null(name):
    card = zoo.card(name)
    assert set(card.evidence) == FACTS
    facts = {"license": card.terms.card, "upstream": card.terms.upstream, "paper": card.source.paper}
    facts["bytes"] = card.weights.size
    assert card.source.seen
    for place in (card, card.weights, card.input):  # the size meant is the input's
        facts |= {key: getattr(place, key) for key in FACTS if hasattr(place, key)}
    assert set(facts) == FACTS - {"data", "gated"}
    unknown = {key for key, mark in card.evidence.items() if mark == "unknown"}
    assert {key for key, value in facts.items() if value is None} == unknown - {"data"}
    if card.weights.digests is None:
        assert ("Unknown: " in prose(card)) == bool(unknown - {"bytes", "sha256"})


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_card_leaves_open_is_asked_for_in_its_call(name):
    card = zoo.card(name)
    call = re.search(r"zoo\.load\((.*)\)  #", card.body)[1]
    weights, body = card.weights, prose(card)
    assert ("mean=[...], std=[...]" in call) == (card.input.mean is None) == (card.input.std is None)
    assert ('revision="<40 hex>"' in call) == (weights.repo is not None and weights.revision is None)
    assert ("weights=PATH" in call) == (weights.file is None)
    assert not (weights.revision and weights.prefix)
    assert weights.prefix is None or weights.prefix in body
    assert "sha256" in body
    if weights.file is None or not weights.file.endswith(".safetensors"):
        assert f"`zoo-upload convert {name if weights.file else f'FILE PATH --card {name}'}`" in body
    assert all(f"`{allowed}`" in body for allowed in weights.allow)


@pytest.mark.parametrize("name", OTHERS)
def test_every_card_builds_to_the_shape_it_promises_and_its_pool_fits(name):
    card = zoo.card(name)
    found = re.search(rf'zoo\.load\("{name}", depth=([\d.]+).*\)  # \(N, (\d+)\), stride (\d+)', card.body)
    assert float(found[1]) == card.depth.optimal
    assert "num_classes" not in card.kwargs
    built = encoder(card, card.depth.optimal)
    assert (built.num_features, built.strides[-1]) == (int(found[2]), int(found[3]))
    assert len((built if card.depth.optimal == 1 else encoder(card, 1.0)).channels) == 4


@pytest.mark.parametrize("name", OTHERS)
def test_a_card_says_how_far_its_layout_was_tried(name):
    card = zoo.card(name)
    lines = [line for line in card.body.splitlines() if line.startswith("layout")]
    layout = card.weights.layout
    if layout == "timm":
        assert lines == []
    elif layout in CHECKED:
        assert lines == [f"layout checked against {CHECKED[layout]} with random weights"]
    else:
        assert lines == ["layout: run on the published file" if card.weights.digests else "layout: read, not run"]


@pytest.mark.parametrize("name", OTHERS)
def test_the_hub_s_keys_say_what_the_zoo_block_says(name):
    card, keys = zoo.card(name), front(zoo.card(name))
    assert card.terms.card in LICENCES
    assert card.terms.upstream in LICENCES
    if card.terms.card is None:
        assert keys["license"] == "unknown"
    else:
        assert keys.get("license_name", keys["license"]) == card.terms.card
    assert ("license_name" in keys) == (keys["license"] == "other")
    assert keys["library_name"] == "timm"
    assert keys["pipeline_tag"] == "image-feature-extraction"
    assert keys["tags"] == list(dict.fromkeys(["sslzoo", card.domain, card.family, card.method]))


@pytest.mark.parametrize("name", OTHERS)
def test_where_two_licences_differ_the_card_says_which_binds(name):
    card = zoo.card(name)
    here, upstream = card.terms.card, card.terms.upstream
    terms = " ".join(card.body.partition("## Terms\n")[2].partition("\n## ")[0].split())
    if here != upstream:
        assert here in terms
        assert {"cc-by-nc-4.0": "CC-BY-NC 4.0", None: "unknown"}.get(upstream, upstream) in terms
        assert "binds" in terms
    if here is None or "inferred" in (card.evidence["license"], card.evidence["upstream"]):
        assert terms
    if any("nc" in (side or "") or "non-commercial" in (side or "") for side in (here, upstream)):
        assert "non-commercial" in terms
        assert "for non-commercial work only" in prose(card)


@pytest.mark.parametrize("name", OTHERS)
def test_the_default_depth_is_the_prior_or_the_whole_network(name):
    card = zoo.card(name)
    if card.family in ("contrastive", "restorative"):
        assert (card.depth.optimal, card.depth.evidence) == (0.75, "prior")
        assert "is a prior from arXiv:2307.10915, not measured on this checkpoint" in prose(card)
    else:
        assert (card.depth.optimal, card.depth.evidence) == (1.0, "default")
        assert "No depth was measured" in prose(card)


def test_names_are_the_cards_of_the_checkout():
    assert zoo.names() == sorted(path.stem for path in (ROOT / "cards").glob("[!R]*.md"))


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(
        zoo.CardError, match=r"name must be a known checkpoint \(got 'mocov2-ches'\)\. Nearest: mocov2-chest"
    ):
        zoo.load("mocov2-ches")
    with pytest.raises(ValueError, match="Nearest: "):
        zoo.card("zzzz")


def test_own_cards_are_found_in_zoo_cards(tiny, monkeypatch):
    monkeypatch.setenv("ZOO_CARDS", str(tiny.parent))
    assert "tiny-test" in zoo.names()
    assert zoo.load("tiny-test@0.5").name == "tiny-test@0.5"


def test_a_wrong_zoo_cards_is_named(monkeypatch):
    monkeypatch.setenv("ZOO_CARDS", "/no/such/folder")
    with pytest.raises(zoo.CardError, match="ZOO_CARDS must name existing folders"):
        zoo.names()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  family: contrastive", "  familly: contrastive", "familly: Extra inputs are not permitted"),
        ("  family: contrastive\n", "", "family: Field required"),
        ("family: contrastive", "family: other", "family: Input should be"),
        ("optimal: 0.75", "optimal: 1.5", "depth.optimal: Input should be less than or equal to 1"),
        ("optimal: 0.75", "optimal: '0.75'", "depth.optimal: Input should be a valid number"),
        ("repo: null", "repo: o/n, revision: abc", "weights.revision: String should match pattern"),
        ("zoo:", "other:", "must start with YAML front matter that holds a `zoo:` block"),
        ("---\nzoo:", "zoo:", "must start with YAML front matter"),
        ("  domain: test", "  domain: [", "must start with valid YAML"),
        ("  domain: test", "  domain: !!python/object/apply:os.getcwd []", "must start with valid YAML"),
        ("  domain: test", "  name: other", "multiple values for keyword argument 'name'"),
        ("  domain: test", "  domain: &a test\n  method2: *a", "must write out each value (got a YAML alias)"),
        ("  domain: test", "  domain: test\n  domain: other", "must give each key once (got 'domain' twice)"),
        ("  domain: test", "  domain: test\n  'domain': test", "must give each key once (got 'domain' twice)"),
        ("optimal: 0.75", "optimal: 0.75, optimal: 1.0", "must give each key once (got 'optimal' twice)"),
        ("---\nzoo:", "---\nlicense: mit\nlicense: gpl-3.0\nzoo:", "must give each key once (got 'license' twice)"),
        ("---\nzoo:", "---\nzoo: {domain: other}\nzoo:", "must give each key once (got 'zoo' twice)"),
        ("---\nzoo:", "---\n'': 1\n'': 2\nzoo:", "must give each key once (got '' twice)"),
    ],
)
def test_a_wrong_card_says_where(tiny, old, new, message):
    text = tiny.read_text()
    assert old in text
    tiny.write_text(text.replace(old, new, 1))
    with pytest.raises(zoo.CardError) as caught:
        cards.read(tiny)
    assert message in str(caught.value)
    assert str(tiny) in str(caught.value)


def test_a_missing_card_is_named():
    with pytest.raises(zoo.CardError, match=r"card must be a readable file \(got 'nowhere.md'"):
        zoo.load("own", card="nowhere.md")


def test_a_readme_in_a_folder_of_cards_is_no_card(tiny, monkeypatch):
    for name in ("README.md", "readme.md", "Notes.md"):
        (tiny.parent / name).write_text("# not a card\n")
    monkeypatch.setenv("ZOO_CARDS", str(tiny.parent))
    assert set(zoo.names()) - {path.stem for path in (ROOT / "cards").glob("*.md")} == {"tiny-test"}
    assert cards.unnamed() == [tiny.parent / "Notes.md"]
    assert [card.name for card in zoo.search(domain="test")] == ["tiny-test"]
    with pytest.raises(zoo.CardError, match="name must be a known checkpoint"):
        zoo.card("README")


@pytest.mark.parametrize("kind", BAD)
def test_whatever_a_hostile_card_provokes_is_a_card_error_soon(tiny, kind):
    old, new = BAD[kind]
    assert old in tiny.read_text()
    tiny.write_text(tiny.read_text().replace(old, new, 1))
    started = time.monotonic()
    with pytest.raises(zoo.CardError, match="tiny-test") as caught:
        cards.read(tiny)
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("kind", ["folder", "endless", "long", "bytes"])
def test_a_card_that_is_no_text_of_a_sane_length_is_refused(tmp_path, kind):
    path = tmp_path / "own-test.md"
    makers = {
        "folder": path.mkdir,
        "endless": lambda: os.mkfifo(path),
        "long": lambda: path.write_text(TINY + "x" * 600_000),
        "bytes": lambda: path.write_bytes(b"---\n\xff\n"),
    }
    makers[kind]()
    with pytest.raises(zoo.CardError, match=r"own-test\.md"):
        cards.read(path)


def test_a_bad_card_takes_no_other_along(tiny, monkeypatch):
    for number, (old, new) in enumerate(BAD.values()):
        (tiny.parent / f"bad-{number}.md").write_text(TINY.replace(old, new, 1))
    monkeypatch.setenv("ZOO_CARDS", str(tiny.parent))
    found, unread = cards.read_all()
    assert set(unread) == {f"bad-{number}" for number in range(len(BAD))}
    assert {card.name for card in found} == PUBLISHED | MINI | {"tiny-test"}
    assert set(zoo.names()) == {card.name for card in found} | set(unread)
    assert zoo.load("tiny-test").name == "tiny-test@0.75"


def test_a_name_of_two_cards_is_refused_and_both_are_named(tiny, monkeypatch, tmp_path):
    own = tiny.rename(tiny.with_name("mocov2-mini.md"))
    monkeypatch.setenv("ZOO_CARDS", str(tiny.parent))
    with pytest.raises(zoo.CardError, match=r"name must belong to one card .*cards/mocov2-mini\.md and of .*Rename"):
        zoo.load("mocov2-mini")
    assert zoo.load("own", card=own.rename(tiny)).card.domain == "test"  # the advice
    assert cards.read_all()[1] == {}
    other = tmp_path / "other"
    other.mkdir()
    (other / "tiny-test.md").write_text(tiny.read_text().replace("domain: test", "domain: elsewhere"))
    monkeypatch.setenv("ZOO_CARDS", os.pathsep.join([str(tiny.parent), str(other)]))
    with pytest.raises(zoo.CardError, match="name must belong to one card"):
        zoo.card("tiny-test")
    assert list(cards.read_all()[1]) == [str(other / "tiny-test.md")]
    (other / "tiny-test.md").write_text(tiny.read_text())  # the same card twice is one
    assert zoo.card("tiny-test").domain == "test"
