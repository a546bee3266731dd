import re

import pytest

import zoo
from tests.conftest import TINY as BARE
from zoo.registry import search, terms

TINY = re.sub("terms: .*", "terms: {card: apache-2.0, upstream: null}", BARE)
CARDS = {
    "own-nine": {"family: contrastive": "family: hybrid", "domain: test": "domain: owls"},
    "own-one": {"upstream: null": "upstream: mit", "domain: test": "domain: owls", "method: none": "method: Zebra-2"},
    "own-two": {"upstream: null": "upstream: cc-by-nc-4.0", "architecture: resnet18": "architecture: owlnet"},
}


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """Three cards of one's own, beside the package's."""
    for name, changes in CARDS.items():
        text = TINY.replace("# tiny-test", f"# {name}\nSeen: Stork and HERON images.")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / f"{name}.md").write_text(text)
    monkeypatch.setenv("ZOO_CARDS", str(tmp_path))


def names(**wanted):
    return [card.name for card in search.search(**wanted)]


def test_without_a_wish_all_cards_sorted_by_name():
    assert names() == zoo.names() == sorted(names())
    assert set(CARDS) < set(names())


def test_fields_match_exactly_and_together():
    assert names(domain="owls") == ["own-nine", "own-one"]
    assert names(domain="owls", family="hybrid") == ["own-nine"]
    assert names(architecture="owlnet") == ["own-two"]
    assert names(architecture="owlnet", domain="owls") == []
    assert {card.family for card in search.search(family="contrastive")} == {"contrastive"}


def test_commercial_splits_the_cards_in_two():
    assert names(domain="owls", commercial=True) == ["own-one"]
    assert names(domain="owls", commercial=False) == ["own-nine"]
    assert sorted(names(commercial=True) + names(commercial=False)) == zoo.names()
    assert all(terms.commercial(card) for card in search.search(commercial=True))


def test_text_finds_all_words_in_name_method_and_body():
    assert names(text="heron stork") == sorted(CARDS)
    assert names(text="heron ZEBRA") == ["own-one"]
    assert names(text="wn-TW") == ["own-two"]
    assert names(text="heron dodo") == []
    assert names(text="  ") == names()


@pytest.mark.parametrize(
    ("field", "value", "near"),
    [("family", "hybird", "hybrid"), ("domain", "owl", "owls"), ("architecture", "owl-net", "owlnet")],
)
def test_an_unknown_value_offers_the_nearest(field, value, near):
    with pytest.raises(ValueError, match=rf"{field} must be one that a card has \(got '{value}'\)\. Nearest: {near}"):
        names(**{field: value})


def test_where_none_is_near_all_are_offered():
    with pytest.raises(ValueError, match=r"\(got '0'\)\. Nearest: contrastive, .*hybrid"):
        names(family="0")


@pytest.mark.parametrize("value", ["no", 2])
def test_commercial_is_yes_no_or_nothing(value):
    with pytest.raises(TypeError, match=rf"commercial must be True, False or None \(got {value!r}\)\. Leave it out"):
        names(commercial=value)


def test_a_card_that_is_not_valid_is_left_out_with_a_warning(own, tmp_path):
    (tmp_path / "bad-test.md").write_text(TINY.replace("domain: test", "domain: 2001-99-99"))
    with pytest.warns(UserWarning, match=r"bad-test left out: card .*bad-test\.md must start with valid YAML"):
        found = names()
    assert found == [name for name in zoo.names() if name != "bad-test"]
