"""The command `zoo`: each of its commands, and mistakes in one sentence."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import zoo
import zoo.cli
from tests.conftest import TINY
from tests.hub import store
from tests.zoo.called import RUN, call
from tests.zoo.registry.hostile import BAD
from zoo.registry import terms


def test_list_show_and_load(tmp_path):
    out = tmp_path / "out.json"
    call(zoo.cli.app, "list", "--json", out)
    assert [row["name"] for row in json.loads(out.read_text())] == zoo.names()
    assert "mocov2-mini" in call(zoo.cli.app, "show", "mocov2-mini", "--json", out)
    assert json.loads(out.read_text())["family"] == "contrastive"
    printed = call(zoo.cli.app, "load", "mocov2-mini", "--depth", 0.75, "--json", out)
    assert json.loads(out.read_text())["sha256"] in printed
    assert json.loads(out.read_text())["features"] == 128


def test_mistakes_are_one_sentence():
    said = call(zoo.cli.app, "load", "mocov2-mimi", code=1)
    assert said.startswith("name must be a known checkpoint (got 'mocov2-mimi'). Nearest: mocov2-mini, mocov2-chest,")
    assert "depth must be in (0, 1]" in call(zoo.cli.app, "load", "mocov2-mini", "--depth", 2, code=1)


def test_pretrain_names_a_bad_recipe(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    assert "must hold exactly" in call(zoo.cli.app, "pretrain", tmp_path / "recipe.yaml", code=1)


@pytest.mark.slow
def test_the_commands_are_installed():
    for module in ("zoo.cli", "hub_upload"):
        code = f"import sys; from {module} import app; sys.argv = ['x', '--help']; app()"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_list_by_family_and_by_what_the_terms_allow(tmp_path):
    out = tmp_path / "out.json"
    call(zoo.cli.app, "list", "--family", "restorative", "--commercial", "--json", out)
    found = json.loads(out.read_text())
    assert "mae-mini" in [row["name"] for row in found]
    assert {row["family"] for row in found} == {"restorative"}
    assert all(terms.commercial(zoo.card(row["name"])) for row in found)
    assert "family must be one that a card has" in call(zoo.cli.app, "list", "--family", "restorativ", code=1)
    assert "--author must come with --hub" in call(zoo.cli.app, "list", "--author", "lab", code=1)
    call(zoo.cli.app, "list", "--architecture", "resnet18", "--text", "colin27", "--json", out)
    assert [row["name"] for row in json.loads(out.read_text())] == ["mae-mini", "mocov2-mini"]


def test_a_narrow_window_shows_whole_names():
    printed = RUN.invoke(zoo.cli.app, ["list"], env={"COLUMNS": "80"}).output
    assert set(zoo.names()) <= set(printed.split())
    assert max(map(len, printed.splitlines())) <= 80


def test_list_what_others_published(hub, tiny, tmp_path):
    out = tmp_path / "out.json"
    text = tiny.read_text().replace("---\nzoo:", "---\ntags: [sslzoo]\nzoo:", 1).replace("repo: null", "repo: lab/tiny")
    hub.serve("lab/tiny", "c" * 40, {"README.md": text.encode()})
    hub.serve("lab/broken", "c" * 40, {"README.md": b"---\ntags: [sslzoo]\n---\n"})
    hub.serve("other/plain", "c" * 40, {"README.md": b"---\ntags: [timm]\n---\n"})
    said = call(zoo.cli.app, "list", "--hub", "--json", out)
    assert [row["name"] for row in json.loads(out.read_text())] == ["lab/tiny"]
    assert "lab/broken left out: card lab/broken/README.md must start with YAML front matter" in said
    call(zoo.cli.app, "list", "--hub", "--author", "other", "--json", out)
    assert json.loads(out.read_text()) == []


def test_verify(tmp_path):
    out = tmp_path / "out.json"
    call(zoo.cli.app, "verify", "mocov2-mini", "--whole", "--json", out)
    (outcome,) = json.loads(out.read_text())
    assert outcome["state"] == "verified"
    assert outcome["detail"].startswith("126 of 126 tensors against card; golden features: 1.000000 at 0.5, 1.0")
    assert "names must be given, or --all" in call(zoo.cli.app, "verify", code=1)
    assert "must be given together" in call(zoo.cli.app, "verify", "mocov2-mini", "--online", code=1)


def test_verify_tells_a_script_when_something_is_wrong(hub, tmp_path):
    out = tmp_path / "out.json"
    call(zoo.cli.app, "verify", "mocov2-mini", "mocov2-chest", "--json", out, code=1)
    assert [row["state"] for row in json.loads(out.read_text())] == ["verified", "failed"]


def test_verify_all_online_and_record(hub, tiny, tmp_path):
    place, out = tmp_path / "cards", tmp_path / "out.json"
    place.mkdir()
    hub.serve("lab/tiny", "c" * 40, {"tiny-test.safetensors": tiny.with_name("tiny-test.safetensors").read_bytes()})
    text = tiny.read_text().replace("  source:", "  evidence: {revision: unknown}\n  source:")
    (place / "tiny-test.md").write_text(text.replace("repo: null", "repo: lab/tiny"))
    command = ("verify", "--all", "--online", "--record", place, "--json", out)
    call(zoo.cli.app, *command)
    assert json.loads(out.read_text())[0]["state"] == "proposed"
    call(zoo.cli.app, *command, "--accept")
    assert json.loads(out.read_text())[0]["state"] == "recorded"
    assert zoo.load("tiny", card=place / "tiny-test.md").report.verified == "card"


def test_browse_writes_a_page(tmp_path):
    call(zoo.cli.app, "browse", tmp_path / "zoo.html")
    page = (tmp_path / "zoo.html").read_text()
    assert all(name in page for name in zoo.names())


def test_export_import_and_cache(hub, tiny, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    data = tiny.with_name("tiny-test.safetensors").read_bytes()
    hub.serve("lab/tiny", "c" * 40, {"tiny-test.safetensors": data})
    tiny.write_text(tiny.read_text().replace("repo: null", f'repo: lab/tiny, revision: "{"c" * 40}"'))
    monkeypatch.setenv("ZOO_CARDS", str(tiny.parent))
    call(zoo.cli.app, "export", "tiny-test@0.5", tmp_path / "carried")
    assert (tmp_path / "carried" / "ATTRIBUTION.md").read_text().startswith("# Terms and attribution")
    call(zoo.cli.app, "cache", "list", "--json", out)
    assert [(row["repo"], row["cards"]) for row in json.loads(out.read_text())] == [("lab/tiny", ["tiny-test"])]
    call(zoo.cli.app, "cache", "prune", "--repo", "lab/tiny", "--json", out)
    assert json.loads(out.read_text())["freed"] > 10_000
    hub.reset()
    assert "loads without a network" in call(zoo.cli.app, "import", tmp_path / "carried")
    assert zoo.load("tiny-test", 0.5).report.fetched == 0
    assert hub.requests == []
    assert "must be" in call(zoo.cli.app, "export", "tiny-test@0.5", tmp_path / "carried", code=1)


def test_doctor(hub, tmp_path):
    out = tmp_path / "out.json"
    RUN.invoke(zoo.cli.app, ["doctor", "--json", str(out)])
    found = json.loads(out.read_text())
    assert {check["state"] for check in found} <= {"ok", "warn", "bad"}
    assert all(check["next_step"] for check in found if check["state"] != "ok")


HIDDEN = '"a\\e[2J\\u202e[red]b[/red][/x]"'  # as YAML writes it
SHOWN = "a\\x1b[2J\\u202e[red]b[/red][/x]"


def obeyed(text):
    return [letter for letter in text if letter != "\n" and not letter.isprintable()]


@pytest.fixture
def crowd(hub, tiny, monkeypatch):
    """Among the cards of one's own, and on the Hub, many that are hostile and one whose text hides something."""
    monkeypatch.setattr(store, "front_matter", lambda text: {"tags": ["sslzoo"]})  # the Hub's own reader is not tried
    for number, (old, new) in enumerate(BAD.values()):
        text = TINY.replace(old, new, 1).replace("---\nzoo:", "---\ntags: [sslzoo]\nzoo:", 1)
        (tiny.parent / f"bad-{number}.md").write_text(text)
        hub.serve(f"lab/bad-{number}", "c" * 40, {"README.md": text.replace("repo: null", "repo: lab/x").encode()})
    text = tiny.read_text().replace("domain: test", f"domain: {HIDDEN}").replace("# tiny-test", "# a\x1b[2J\u202e")
    text = text.replace("card: apache-2.0", f"card: {HIDDEN}").replace("url: null", f"url: {HIDDEN}")
    (tiny.parent / "hidden-test.md").write_text(text)
    (tiny.parent / "hidden-test.md").with_name("tiny-test.md").write_text(TINY)
    published = text.replace("---\nzoo:", "---\ntags: [sslzoo]\nzoo:", 1).replace("repo: null", "repo: lab/hidden")
    hub.serve("lab/hidden", "c" * 40, {"README.md": published.encode()})
    monkeypatch.setenv("ZOO_CARDS", str(tiny.parent))
    monkeypatch.setenv("COLUMNS", "300")
    return tiny.parent


@pytest.mark.parametrize(
    "command", [("list",), ("list", "--hub"), ("browse", "page.html"), ("cache", "list"), ("doctor",)], ids=" ".join
)
def test_bad_cards_are_named_and_take_no_other_along(crowd, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = RUN.invoke(zoo.cli.app, [*command, "--json", "out.json"])
    assert result.exit_code in ((0, 1) if command == ("doctor",) else (0,)), result.output
    assert not obeyed(result.output)
    told = " ".join(result.output.split())
    for number in range(len(BAD)):
        assert f"bad-{number}" in told
    if command[0] == "list":
        kept = {row["name"] for row in json.loads((tmp_path / "out.json").read_text())}
        hub = {"lab/hidden"}
        assert kept == (hub if "--hub" in command else {n for n in zoo.names() if not n.startswith("bad-")})
        assert SHOWN in told
    if command[0] == "browse":
        assert "hidden-test" in (tmp_path / "page.html").read_text()


def test_a_card_is_shown_without_being_obeyed(crowd):
    for command in (("show", "hidden-test"), ("load", "hidden-test"), ("show", "[/x]\x1b"), ("import", "\x1b[2J")):
        assert not obeyed(RUN.invoke(zoo.cli.app, list(command)).output), command
    assert SHOWN in call(zoo.cli.app, "show", "hidden-test")


def test_bad_cards_do_not_keep_the_cache_from_being_pruned(crowd):
    call(zoo.cli.app, "cache", "prune", "--quarantine")
    assert "card" in call(zoo.cli.app, "cache", "prune", "--unknown", code=1), "what they pin is not known"


def test_the_version_is_told():
    assert call(zoo.cli.app, "--version") == f"sslzoo {version('sslzoo')}"
