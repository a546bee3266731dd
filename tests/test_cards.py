import pytest

import zoo
from tests.conftest import ROOT
from zoo import cards


@pytest.mark.parametrize("name", zoo.names())
def test_every_card_is_complete(name):
    card = zoo.card(name)
    assert card.name == name
    assert card.body.strip().startswith(f"# {name}")
    assert len(card.body) > 400
    assert len(card.input.mean) == len(card.input.std) == card.input.channels
    if card.weights.repo:
        assert card.weights.revision
        assert "not yet verified online" in card.body.lower()
    else:
        assert card.weights.sha256
        assert cards.weights_file(card).stat().st_size <= 25e6


def test_names_are_the_cards_of_the_checkout():
    assert zoo.names() == sorted(path.stem for path in (ROOT / "cards").glob("*.md"))


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
