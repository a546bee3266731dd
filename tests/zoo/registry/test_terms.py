import re
import warnings

import pytest

from tests.conftest import TINY as BARE
from zoo.registry import cards, terms

TERMS = "terms: {card: apache-2.0, upstream: null}"
TINY = re.sub("terms: .*", TERMS, BARE)


@pytest.fixture
def card(tmp_path):
    """Makes a card from what it says about its terms."""

    def make(here, upstream, *, name="own-card", gated="false", evidence="{}", source="{paper: null, url: null}"):
        stated = f"terms: {{card: {here}, upstream: {upstream}, gated: {gated}}}\n  evidence: {evidence}"
        text = TINY.replace(TERMS, stated).replace("source: {paper: null, url: null}", f"source: {source}")
        (tmp_path / f"{name}.md").write_text(text)
        return cards.read(tmp_path / f"{name}.md")

    return make


@pytest.fixture(autouse=True)
def no_memory(monkeypatch):
    monkeypatch.setattr(terms, "_warned", set())
    monkeypatch.delenv("ZOO_LICENSE_POLICY", raising=False)


@pytest.mark.parametrize(
    ("kind", "licences"),
    [
        ("permissive", "apache-2.0 Apache-2.0 MIT bsd-2-clause bsd-3-clause cc0-1.0 cc-by-4.0 unlicense isc"),
        ("copyleft", "gpl-3.0 GPL-2.0-only gpl-3.0-or-later agpl-3.0 lgpl lgpl-2.1 lgpl-3.0 cc-by-sa-4.0 mpl-2.0"),
        ("non-commercial", "cc-by-nc-4.0 CC-BY-NC-SA-4.0 cc-by-nc-nd-4.0 lunit-non-commercial owkin-non-commercial"),
        ("non-commercial", "cncrl CNCRL-1.0 fair-noncommercial-research-license"),
        ("unknown", "other openrail creativeml-openrail-m cc cc-by-nd-4.0 llama3 mitten apache-2.0-ish 2.0"),
    ],
)
def test_the_kind_of_a_licence(kind, licences):
    assert {licence: terms.kind(licence) for licence in licences.split()} == dict.fromkeys(licences.split(), kind)


@pytest.mark.parametrize("licence", [None, "", " "])
def test_no_licence_is_unknown(licence):
    assert terms.kind(licence) == "unknown"


def test_a_rider_binds_and_blanks_do_not_count():
    assert terms.kind("GPL-3.0; the README adds: non-commercial academic purposes") == "non-commercial"
    assert terms.kind(" mit ") == "permissive"


LICENCES = {"mit": 0, "gpl-3.0": 1, "cc-by-nc-4.0": 2, "null": 3}


@pytest.mark.parametrize("here", LICENCES)
@pytest.mark.parametrize("upstream", LICENCES)
def test_the_stricter_side_binds(card, here, upstream):
    binds = terms.binding(card(here, upstream))
    sides = {"card": LICENCES[here], "upstream": LICENCES[upstream]}
    assert terms.KINDS.index(binds.kind) == max(sides.values())
    assert [side.source for side in binds.sides] == [s for s, rank in sides.items() if rank == max(sides.values())]
    assert terms.commercial(card(here, upstream)) == (max(sides.values()) < 2)
    assert terms.commercial(card(here, upstream, gated="true")) == (max(sides.values()) < 2)


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        ("{}", "permissive"),
        ("{mean: unknown}", "permissive"),
        ("{license: seen, upstream: seen}", "permissive"),
        ("{license: seen, upstream: computed}", "permissive"),
        ("{license: seen, upstream: inferred}", "unknown"),
        ("{license: seen, upstream: unknown}", "unknown"),
        ("{license: inferred, upstream: seen}", "unknown"),
        ("{license: unknown}", "unknown"),
    ],
)
def test_a_licence_nobody_read_is_not_known(card, evidence, kind):
    assert terms.binding(card("mit", "apache-2.0", evidence=evidence)).kind == kind


def test_a_binding_says_who_and_why(card):
    assert str(terms.binding(card("mit", "cc-by-nc-4.0"))) == "non-commercial: cc-by-nc-4.0 (upstream)"
    assert str(terms.binding(card("null", "null"))) == "unknown: none stated (card), none stated (upstream)"
    doubtful = card("mit", "mit", evidence="{upstream: inferred}")
    assert str(terms.binding(doubtful)) == "unknown: mit (upstream, inferred)"


def test_the_gate_warns_once_for_each_name_at_the_callers_line(card):
    def load(which):
        terms.check(which)

    strict = card("mit", "cc-by-nc-4.0", source='{paper: null, url: "https://example.org/own"}')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(strict)
        load(strict)
        load(card("gpl-3.0", "mit", name="other-card"))
        load(card("mit", "mit", name="free-card"))
    assert [w.category for w in caught] == [terms.LicenceWarning] * 2
    assert {w.filename for w in caught} == {__file__}
    assert str(caught[0].message) == (
        "own-card has terms that bind its use (non-commercial: cc-by-nc-4.0 (upstream)). "
        "Read them at https://example.org/own. ZOO_LICENSE_POLICY=allow silences this."
    )
    assert str(caught[1].message).startswith("other-card has terms that bind its use (copyleft: gpl-3.0 (card)). Read")
    assert "other-card.md" in str(caught[1].message)


def test_a_warning_made_an_error_is_raised_at_every_load(card):
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(terms.LicenceWarning):
                terms.check(card("null", "null"))


def test_the_gate_refuses(card, monkeypatch):
    monkeypatch.setenv("ZOO_LICENSE_POLICY", "refuse")
    strict = card("cc-by-nc-4.0", "null", source='{paper: null, url: "https://example.org/own"}')
    for _ in range(2):
        with pytest.raises(PermissionError) as caught:
            terms.check(strict)
    assert type(caught.value) is terms.LicenceError
    assert str(caught.value) == (
        "licence of own-card must be permissive (got unknown: none stated (upstream)). "
        "Read its terms at https://example.org/own, then set ZOO_LICENSE_POLICY=allow."
    )
    terms.check(card("mit", "apache-2.0"))
    with pytest.raises(terms.LicenceError, match=r"own-card\.md, then"):
        terms.check(card("gpl-3.0", "mit"))


def test_the_gate_lets_all_pass_in_silence(card, monkeypatch):
    monkeypatch.setenv("ZOO_LICENSE_POLICY", "allow")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        terms.check(card("null", "cc-by-nc-4.0"))


def test_a_wrong_policy_is_named_even_where_it_would_not_matter(card, monkeypatch):
    monkeypatch.setenv("ZOO_LICENSE_POLICY", "refused")
    with pytest.raises(ValueError) as caught:
        terms.check(card("mit", "mit"))
    assert str(caught.value) == (
        "ZOO_LICENSE_POLICY must be allow, warn or refuse (got 'refused'). Correct or unset it."
    )


def test_the_strictest_of_many(card):
    kinds = [card("mit", "mit"), card("gpl-3.0", "mit"), card("mit", "cc-by-nc-4.0"), card("mit", "null")]
    assert [terms.strictest(kinds[:n]) for n in (1, 2, 3, 4)] == list(terms.KINDS)
    assert terms.strictest(kinds[::-1]) == "unknown"
    with pytest.raises(ValueError, match=r"cards must hold at least one card \(got none\)\. Pass zoo\.card"):
        terms.strictest([])


def test_the_attribution_byte_for_byte(card, tmp_path):
    first = card("mit", "cc-by-nc-4.0", gated="true", evidence="{license: inferred, upstream: seen}", name="first-own")
    path = tmp_path / "second-own.md"
    text = TINY.replace(TERMS, "terms: {card: gpl-3.0, upstream: gpl-3.0}")
    text = text.replace("repo: null, file: tiny-test", f'repo: "lab/net", revision: "{"ab" * 20}", file: tiny-test')
    text = text.replace("{paper: null, url: null}", '{paper: "arXiv:1", url: "https://example.org/net"}')
    path.write_text(text.replace("method: none", 'method: "moco\\n# not a heading"'))
    second = cards.read(path)
    expected = """\
# Terms and attribution

Terms of this model: **unknown**. The terms of at least one encoder are not known, or of no known kind: until someone has read them, nothing says that this model may be used or passed on.

A fused or fine-tuned model carries the terms of every encoder it was made from: all those below apply. The encoders
may have been truncated and fine-tuned since they were published. This text repeats what the encoders' cards state;
it is no legal advice.

## first-own

* Method: none
* Paper: none stated
* Source: none stated
* Weights: tiny-test.safetensors, sha256 not known
* Licences: mit (card, inferred), cc-by-nc-4.0 (upstream)
* Binding: unknown (card)
* Gated: yes, its terms are accepted on its page

## second-own

* Method: moco # not a heading
* Paper: arXiv:1
* Source: https://example.org/net
* Weights: lab/net at abababababababababababababababababababab
* Licences: gpl-3.0 (card), gpl-3.0 (upstream)
* Binding: copyleft (card and upstream)
* Gated: no
"""  # noqa: E501
    assert terms.attribution([first, second, first]) == expected


@pytest.mark.parametrize(
    ("here", "upstream", "said"),
    [
        ("mit", "apache-2.0", "**permissive**. The licences of all its encoders permit commercial use"),
        ("mit", "gpl-3.0", "**copyleft**. Commercial use is permitted; who passes this model on"),
        ("mit", "cc-by-nc-4.0", "**non-commercial**. At least one encoder is licensed for non-commercial use only"),
    ],
)
def test_the_attribution_says_what_the_terms_mean(card, here, upstream, said):
    assert f"Terms of this model: {said}" in terms.attribution([card("mit", "mit"), card(here, upstream)])


def test_no_attribution_without_encoders():
    with pytest.raises(ValueError, match="cards must hold at least one card"):
        terms.attribution([])


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("repo: null, file: null", "no repository stated"),
        (f"repo: null, file: a.safetensors, sha256: '{'0' * 64}'", f"a.safetensors, sha256 {'0' * 64}"),
        ("repo: o/n, prefix: abcdef0, file: a", "o/n at abcdef0 (the rest of the commit is not known)"),
        ("repo: o/n, file: a", "o/n at a commit that is not known"),
    ],
)
def test_where_the_weights_come_from(tmp_path, weights, said):
    path = tmp_path / "own-card.md"
    path.write_text(TINY.replace("repo: null, file: tiny-test.safetensors", weights))
    assert terms.origin(cards.read(path)) == said


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_what_the_registry_says_of_a_repo_binds_whatever_another_card_says(tmp_path, monkeypatch, change):
    strict = next(n for n in cards.names() if (c := cards.find(n)).weights.repo and not terms.commercial(c))
    known = cards.find(strict)
    place = f'weights: {{repo: "{change(known.weights.repo)}", revision: "{"c" * 40}", file: other.safetensors}}'
    text = re.sub("weights: .*", place, TINY).replace("upstream: null", "upstream: mit")
    own = cards.parse(text, "lab/free", tmp_path / "lab" / "free.md")
    assert terms.binding(own).kind == terms.binding(known).kind
    assert {side.source for side in terms.binding(own).sides} == {"registry"}
    assert not terms.commercial(own)
    assert f"* Binding: {terms.binding(known).kind} (registry" in terms.attribution([own])
    monkeypatch.setenv("ZOO_LICENSE_POLICY", "refuse")
    with pytest.raises(terms.LicenceError, match=r"\(registry"):
        terms.check(own)


def test_the_same_bytes_under_another_name_are_bound_too_and_stricter_own_terms_stay(tmp_path):
    known = cards.find("mocov2-mini")
    text = re.sub(
        "weights: .*", f'weights: {{repo: null, file: x.safetensors, sha256: "{known.weights.sha256}"}}', TINY
    )
    own = cards.parse(text, "own-test", tmp_path / "own-test.md")
    assert {side.source for side in terms.binding(own).sides} == {"upstream"}, "unknown is stricter than the registry's"
    assert terms._registered(own) == [known]
    free = cards.parse(TINY.replace("upstream: null", "upstream: mit"), "own-test", tmp_path / "own-test.md")
    assert terms.binding(free).kind == "permissive"


def test_a_warning_and_an_error_show_what_a_card_hides(card):
    strict = card("mit", "cc-by-nc-4.0", name="hidden-card", source='{paper: null, url: "https://x\\e[2J\\u202e"}')
    with pytest.warns(terms.LicenceWarning) as caught:
        terms.check(strict, stacklevel=1)
    assert "https://x\\x1b[2J\\u202e" in str(caught[0].message)
