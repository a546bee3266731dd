import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

import zoo
from tests.conftest import TINY as BARE
from zoo.registry import cards
from zoo.registry import page as page_

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=2000",
    "--dump-dom",
]

TERMS = "terms: {card: apache-2.0, upstream: null}"
TINY = re.sub("terms: .*", TERMS, BARE)
FREE = (TERMS, "terms: {card: mit, upstream: apache-2.0}")
OWN = {
    "red-owl": [FREE],
    "red-fox": [FREE, ("family: contrastive", "family: restorative"), ("method: none", "method: masked")],
    "blue-owl": [
        ("repo: null, file: tiny-test", f'repo: "lab/net", revision: "{"ab" * 20}", file: tiny-test'),
        (
            TERMS,
            "terms: {card: apache-2.0, upstream: cc-by-nc-4.0, gated: true}\n  evidence: {mean: seen, size: inferred}",
        ),
        ("mean: [0.5], std: [0.25]", "mean: null, std: null"),
        ("paper: null, url: null", 'paper: "arXiv:2210.12843", url: "https://example.org/net?a=1&b=2"'),
    ],
    "blue-fox": [("architecture: resnet18", "architecture: vgg16"), ("file: tiny-test.safetensors", "file: null")],
}
BODY = """# {name}

Seen by {name} & others: **snow**.

## Results

| labels | AUC |
|---|--:|
| 60 | 0.9 |
"""


@pytest.fixture
def own(tmp_path):
    """Makes a card of one's own from changes of the tiny one."""

    def make(name, changes=(), body=BODY):
        text = TINY.replace("# tiny-test\n", body.replace("{name}", name))
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / f"{name}.md").write_text(text)
        return cards.read(tmp_path / f"{name}.md")

    return make


@pytest.fixture
def four(own):
    return [own(name, changes) for name, changes in sorted(OWN.items())]


class Elements(HTMLParser):
    """Every element of a page as (tag, attributes, text up to the next tag)."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), []))

    def handle_data(self, data):
        if self.found:
            self.found[-1][2].append(data)


def elements(page, *tags):
    return [(tag, attrs, "".join(text).strip()) for tag, attrs, text in Elements(page).found if not tags or tag in tags]


def section(page, name):
    """The text of one card, and its HTML."""
    html = re.search(rf'<article id="{name}".*?</article>', page, flags=re.DOTALL)[0]
    return " ".join("".join("".join(text) for _, _, text in Elements(html).found).split()), html


@pytest.fixture
def browser(tmp_path):
    """Opens a page at a hash in headless Chromium; returns the document after its script ran."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")

    def dom(page, where="", inject=None):
        if inject:  # the policy would stop the test's own script
            page = re.sub(r"<meta http-equiv.*?>", "", page).replace("</body>", f"<script>{inject}</script></body>")
        (tmp_path / "page.html").write_text(page)
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"file://{tmp_path}/page.html{where}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "</html>" in done.stdout, done.stderr
        return done.stdout

    return dom


def shown(dom):
    return [attrs["id"] for _, attrs, _ in elements(dom, "article") if "hidden" not in attrs]


def by_id(dom, wanted):
    return next((attrs, text) for _, attrs, text in elements(dom) if attrs.get("id") == wanted)


def test_each_card_says_what_is_known_of_it(four):
    page = page_.page(four)
    text, html = section(page, "blue-owl")
    assert "contrastive · test · resnet18 · none" in text
    assert "0.75 (prior)" in text
    assert "32, range 0 to 1, bicubic, squash mean and std unknown: pass mean=, std=" in text
    assert "apache-2.0 (card), cc-by-nc-4.0 (upstream)" in text
    assert "Upstream binds: non-commercial · gated: accept the terms on its page" in text
    assert f"lab/net at {'ab' * 20}" in text
    assert "not yet verified online" in text
    assert "mean seen size inferred" in text
    assert 'href="https://arxiv.org/abs/2210.12843"' in html
    assert 'href="https://example.org/net?a=1&amp;b=2"' in html
    assert "<code>zoo.load(&#34;blue-owl&#34;, mean=[...], std=[...])</code>" in html
    attrs = elements(html, "article")[0][1]
    assert attrs | {"data-family": "contrastive", "data-architecture": "resnet18", "data-domain": "test"} == attrs
    assert attrs["data-licence"] == "non-commercial"


def test_a_card_without_file_evidence_or_source(four):
    text, _ = section(page_.page(four), "blue-fox")
    assert 'zoo.load("blue-fox", weights="PATH")' in text
    assert "no file can be fetched: pass weights=PATH" in text
    assert "The card states its facts without saying how they are known." in text
    assert "no paper stated" in text
    assert "mean 0.5 · std 0.25" in text
    assert "Upstream binds: unknown" in text


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (f"repo: null, file: a, sha256: '{'0' * 64}'", "checked at every load"),
        (f"repo: o/n, file: a, digests: '{'0' * 64}'", "checked at every load"),
        (f"repo: o/n, file: a, sha256: '{'0' * 64}'", "not yet verified online"),
        ("repo: null, file: a", "no digest known"),
    ],
)
def test_whether_the_file_was_verified(own, weights, said):
    card = own("red-owl", [("repo: null, file: tiny-test.safetensors", weights)])
    assert f"{said} Source" in section(page_.page([card]), "red-owl")[0]


@pytest.mark.parametrize(
    ("weights", "asked"),
    [
        ("repo: null, file: a", ""),
        ("repo: o/n, file: a, prefix: abcdef0", ', revision="40 hex digits"'),
        ("repo: o/n, file: null, prefix: abcdef0", ', weights="PATH"'),
        (f"repo: o/n, file: a, revision: {'a' * 40}", ""),
    ],
)
def test_the_call_asks_for_what_the_card_does_not_know(own, weights, asked):
    card = own("red-owl", [("repo: null, file: tiny-test.safetensors", weights)])
    assert f'zoo.load("red-owl"{asked})Copy' in section(page_.page([card]), "red-owl")[0]


def test_the_text_of_a_card_is_rendered_below_its_heading(four):
    text, html = section(page_.page(four), "red-owl")
    assert "Seen by red-owl &amp; others: <strong>snow</strong>." in html
    assert [tag for tag, _, _ in elements(html) if re.fullmatch("h[1-6]", tag)] == ["h2", "h3"]
    assert "<td>60</td>" in html
    assert 'tabindex="0" role="region" aria-label="Table"><table>' in html
    assert text.count("red-owl") == 4  # heading, call, summary and text: the body's own title is left out


@pytest.mark.parametrize("heading", ["# Later", "####### no", "###### deep"])
def test_no_heading_of_a_card_leaves_its_place(own, heading):
    _, html = section(page_.page([own("red-owl", body=f"Text.\n\n{heading}\n")]), "red-owl")
    assert [tag for tag, _, _ in elements(html) if re.fullmatch("h[1-6]", tag)][1:] in (["h3"], [], ["h6"])


def test_the_counts(four):
    page = page_.page(four)
    assert "4 checkpoints, each" in page
    assert "permit commercial use of 2." in page
    assert '<option value="contrastive">contrastive (3)</option>' in page
    assert '<option value="non-commercial">non-commercial (1)</option>' in page
    assert "1 checkpoint, each" in page_.page(four[:1])
    assert "0 checkpoints, each" in page_.page([])
    assert 'id="none">' in page_.page([])


def test_the_registrys_page_holds_every_card_and_is_reproducible():
    known = [zoo.card(name) for name in zoo.names()]
    page = page_.page(known)
    assert page == page_.page(known)
    assert shown(page) == zoo.names()
    identifiers = [attrs["id"] for _, attrs, _ in elements(page) if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))


def test_nothing_comes_from_outside(four):
    page = page_.page(four)
    assert not elements(page, "link", "img", "iframe", "object", "embed", "base", "video", "audio")
    assert not [attrs for _, attrs, _ in elements(page) if "src" in attrs or "srcset" in attrs]
    assert not re.search(r"url\(|@import", page)
    policy = next(attrs["content"] for _, attrs, _ in elements(page, "meta") if "http-equiv" in attrs)
    script = re.search("<script>(.*)</script>", page, flags=re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';")


HOSTILE = """# bad-card
<script>document.title = "taken"</script> <img src="x" onerror="document.title = 'taken'">
</div></article><script>document.title = "taken"</script>

<svg onload="document.title = 'taken'"></svg>

[click](javascript:document.title='taken') ![track](https://example.org/pixel.png) [fine](https://example.org)
"""


@pytest.fixture
def hostile(own):
    tag = """'"><script>document.title = "taken"</script>'"""
    changes = [("method: none", f"method: {tag}"), ("domain: test", f"domain: {tag}")]
    sources = ("paper: null, url: null", 'paper: "javascript:alert(1)", url: " javascript:alert(2)"')
    return page_.page([own("bad-card", [*changes, sources], HOSTILE), own("red-owl")])


def test_a_hostile_card_brings_no_markup(hostile):
    assert len(elements(hostile, "script")) == 1
    assert not elements(hostile, "img", "svg")
    assert [attrs["id"] for _, attrs, _ in elements(hostile, "article")] == ["bad-card", "red-owl"]
    assert not [name for _, attrs, _ in elements(hostile) for name in attrs if name.startswith("on")]
    links = [attrs["href"] for _, attrs, _ in elements(hostile, "a")]
    assert [link for link in links if not link.startswith("#")] == [
        "https://example.org/pixel.png",
        "https://example.org",
    ]


def test_a_hostile_card_runs_nothing(hostile, browser):
    dom = browser(hostile, "#text=taken")
    assert elements(dom, "title")[0][2] == "sslzoo: the encoders"
    assert shown(dom) == ["bad-card"]  # while the page's own script ran


def test_without_a_script_everything_is_readable(four, browser):
    dom = browser(re.sub("<script>.*?</script>", "", page_.page(four), flags=re.DOTALL), "#family=restorative")
    assert shown(dom) == sorted(OWN)
    assert "hidden" in elements(dom, "form")[0][1]
    assert all("hidden" in attrs for _, attrs, _ in elements(dom, "button") if attrs["type"] == "button")


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("", ["blue-fox", "blue-owl", "red-fox", "red-owl"]),
        ("#family=restorative", ["red-fox"]),
        ("#family=contrastive&licence=permissive", ["red-owl"]),
        ("#architecture=vgg16", ["blue-fox"]),
        ("#text=OWL+sno", ["blue-owl", "red-owl"]),
        ("#text=masked", ["red-fox"]),
        ("#text=safetensors", []),  # words of the page that are not the card's name, method or text
        ("#red-owl", ["blue-fox", "blue-owl", "red-fox", "red-owl"]),
    ],
)
def test_the_address_filters(four, browser, where, names):
    dom = browser(page_.page(four), where)
    assert shown(dom) == names
    assert by_id(dom, "count")[1] == f"{len(names)} of 4 encoders shown."
    assert ("hidden" in by_id(dom, "none")[0]) == bool(names)
    assert "hidden" not in elements(dom, "form")[0][1]


def test_the_browser_finds_the_words_that_search_finds(four, browser, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CARDS", str(tmp_path))
    from zoo.registry import search

    dom = browser(page_.page(search.search()), "#text=snow+blue")
    assert shown(dom) == [card.name for card in search.search(text="snow blue")] == ["blue-fox", "blue-owl"]


def test_a_value_that_no_card_has_is_named_and_ignored(four, browser):
    dom = browser(page_.page(four), "#family=owls&text=red")
    assert shown(dom) == ["red-fox", "red-owl"]
    assert by_id(dom, "count")[1] == "2 of 4 encoders shown. Not known here, so ignored: family=owls."


DRIVE = """
const said = [];
const set = (id, value) => {
  const field = document.getElementById(id);
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  said.push([location.hash, document.querySelectorAll("article:not([hidden])").length]);
};
set("family", "contrastive");
set("text", "red owl");
document.querySelector(".skip").click();
said.push([location.hash, document.activeElement.id]);
document.querySelector("button[type=reset]").click();
setTimeout(() => {
  said.push([location.hash, document.querySelectorAll("article:not([hidden])").length]);
  location.hash = "#licence=unknown";
}, 50);
setTimeout(() => {
  said.push([document.getElementById("licence").value, document.querySelectorAll("article:not([hidden])").length]);
  Object.defineProperty(navigator, "clipboard", { value: undefined });  // as where the page may not write to it
  document.querySelector("#blue-fox .copy").click();
}, 200);
setTimeout(() => {
  said.push([getSelection().toString(), document.getElementById("said").textContent.split(/[ :]/)[0]]);
  dispatchEvent(new Event("beforeprint"));
  said.push(document.querySelectorAll("details:not([open])").length);
  dispatchEvent(new Event("afterprint"));
  said.push(document.querySelectorAll("details[open]").length);
  document.body.dataset.said = JSON.stringify(said);
}, 600);
"""


def test_controls_write_the_address_and_copy_the_call(four, browser):
    said = json.loads(elements(browser(page_.page(four), inject=DRIVE), "body")[0][1]["data-said"])
    assert said[:5] == [
        ["#family=contrastive", 3],
        ["#text=red+owl&family=contrastive", 1],
        ["#text=red+owl&family=contrastive", "encoders"],
        ["", 4],
        ["unknown", 1],
    ]
    assert said[5:] == [['zoo.load("blue-fox", weights="PATH")', "Selected"], 0, 0]


WALK = """
for (const part of document.querySelectorAll("details")) part.open = true;
const found = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")];
document.body.dataset.walk = JSON.stringify(found.map((control) => {
  control.focus();
  control.dataset.focused = "";
  const label = control.labels?.[0]?.textContent || control.ariaLabel || control.textContent;
  return {
    tag: control.localName, label: label.trim(), index: control.tabIndex, reached: document.activeElement === control,
    outline: parseFloat(getComputedStyle(control).outlineWidth), style: getComputedStyle(control).outlineStyle,
  };
}));
"""


def test_every_control_is_reached_labelled_and_visibly_focused_by_keyboard(four, browser):
    # A headless window gains the focus when it pleases, and without it no element matches :focus-visible.
    page = page_.page(four).replace(":focus-visible", "[data-focused]")
    walk = json.loads(elements(browser(page, inject=WALK), "body")[0][1]["data-walk"])
    assert all(step["reached"] and step["label"] for step in walk), walk
    stops = [step for step in walk if step["tag"] != "main"]  # only the skip link goes there
    assert {step["index"] for step in stops} == {0}, "the order of the page, no other"
    assert all(step["outline"] >= 2 and step["style"] == "solid" for step in stops)
    labels = [step["label"] for step in stops]
    assert labels[0] == "Skip to the encoders"
    controls = ["Text", "Family", "Domain", "Architecture", "Licence", "Clear filters"]
    start = labels.index("Text")
    assert labels[start : start + 6] == controls
    first = ["blue-fox", "Copy the line that loads blue-fox", "How its facts are known", "About blue-fox", "Table"]
    assert labels[start + 6 : start + 11] == first


def luminance(colour):
    colour = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_every_text_colour_stands_out_in_every_theme(theme):
    """WCAG 2.2 AA: 4.5 to 1 for text."""
    colours = dict(
        re.findall(r"--([a-z-]+): (#\w+);", re.findall(r":root \{(.*?)\}", page_.page([]), re.DOTALL)[theme])
    )
    texts = ("ink", "quiet", "link", "permissive", "copyleft", "non-commercial", "unknown")
    for place in ("page", "sheet", "well"):
        for text in texts:
            light, dark = sorted((luminance(colours[place]), luminance(colours[text])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (place, text)
