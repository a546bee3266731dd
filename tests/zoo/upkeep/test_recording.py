"""The maintainer's command, for the first machine that reaches the Hub; here against the loopback Hub."""

import argparse
import io
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save
from typer.testing import CliRunner

import zoo
import zoo.cli
from tests.zoo.networks import layout_keys
from tests.zoo.registry import test_cards
from zoo.fetching import digests
from zoo.networks import cutting
from zoo.registry import cards
from zoo.upkeep.recording import record
from zoo.upkeep.verification import verify

SHORT, HEAD = "abcdef0" + "1" * 33, "d" * 40


def numbers(shapes):
    """Small random numbers under the names and shapes of a published file."""
    draw = torch.Generator().manual_seed(0)
    made = {name: torch.randn(shape, generator=draw) / 50 for name, shape in shapes.items()}
    made |= {name: torch.ones(shape) for name, shape in shapes.items() if name.endswith("running_var")}
    return made | {name: torch.tensor(0) for name in shapes if name.endswith("num_batches_tracked")}


@pytest.fixture
def folder(hub, tiny, tmp_path):
    """Cards of one small network on the Hub: pinned, with a short commit, with none, gone, and without a file."""
    place = tmp_path / "cards"
    place.mkdir()
    data = tiny.with_name("tiny-test.safetensors").read_bytes()
    hub.serve("lab/tiny", SHORT, {"tiny-test.safetensors": data})
    hub.serve("lab/tiny", HEAD, {"tiny-test.safetensors": data})
    unverified = "# tiny-test\n\n**Not yet verified online.** Nothing was\nopened.\n\n## Use\n"
    text = tiny.read_text().replace("# tiny-test\n", unverified)
    text = text.replace("  source:", "  evidence: {layout: inferred, revision: unknown, mean: seen}\n  source:")
    entries = {
        "pinned-test": f'repo: lab/tiny, revision: "{SHORT}"',
        "short-test": 'repo: lab/tiny, prefix: "abcdef0"',
        "open-test": "repo: lab/tiny",
        "wrong-test": 'repo: lab/tiny, prefix: "9999999"',
        "gone-test": f'repo: lab/gone, revision: "{SHORT}"',
    }
    for name, entry in entries.items():
        (place / f"{name}.md").write_text(text.replace("repo: null", entry).replace("# tiny-test", f"# {name}"))
    (place / "elsewhere-test.md").write_text(text.replace("file: tiny-test.safetensors", "file: null"))
    return place


def test_what_is_learnt_is_written_and_what_is_not_is_said(folder, monkeypatch):
    before = {path.name: path.read_text() for path in folder.glob("*.md")}
    outcomes = {outcome.name: outcome for outcome in record(folder)}
    assert {name: outcome.state for name, outcome in outcomes.items()} == {
        "pinned-test": "recorded",
        "short-test": "recorded",
        "open-test": "proposed",
        "wrong-test": "failed",
        "gone-test": "failed",
        "elsewhere-test": "skipped",
    }
    assert outcomes["open-test"].detail == f"revision {HEAD}; run again with --accept to pin it"
    assert "revision must start with 9999999 (got 0 such commits of" in outcomes["wrong-test"].detail
    assert "gone or private" in outcomes["gone-test"].detail
    for name in ("open-test", "wrong-test", "gone-test", "elsewhere-test"):
        assert (folder / f"{name}.md").read_text() == before[f"{name}.md"], "a card that failed is left as it was"
        assert not (folder / "digests" / f"{name}.json").exists()

    card = cards.read(folder / "short-test.md")
    assert (card.weights.revision, card.weights.prefix) == (SHORT, None)
    listed = digests.parse((folder / "digests" / "short-test.json").read_bytes())
    assert (card.weights.sha256, card.weights.size) == (listed.file, listed.size)
    assert list(listed.golden) == ["0.5", "1"]
    computed = dict.fromkeys(("layout", "architecture", "kwargs", "bytes", "sha256"), "computed")
    assert card.evidence == {"revision": "seen", "mean": "seen", "file": "seen"} | computed
    assert f"**Verified online** at commit {SHORT}: the file has" in card.body
    assert "Not yet verified" not in card.body
    assert card.body.endswith("What was known before that: Nothing was\nopened.\n\n## Use\n")
    monkeypatch.setenv("ZOO_CARDS", str(folder))
    assert zoo.load("short-test", 0.5).report.verified == "card"
    assert verify("short-test", whole=True).cosines["1"] > 0.99999


def test_a_commit_is_pinned_with_accept_only(folder):
    assert record(folder, ["open-test"], accept=True)[0].state == "recorded"
    assert cards.read(folder / "open-test.md").weights.revision == HEAD


def test_recorded_twice_nothing_changes(folder):
    record(folder, ["pinned-test"])
    first = (folder / "pinned-test.md").read_bytes(), (folder / "digests" / "pinned-test.json").read_bytes()
    assert record(folder, ["pinned-test"])[0].state == "recorded"
    assert first == ((folder / "pinned-test.md").read_bytes(), (folder / "digests" / "pinned-test.json").read_bytes())


def test_recorded_digests_are_not_overwritten_by_others(folder, hub, tiny):
    record(folder, ["pinned-test"])
    before = (folder / "pinned-test.md").read_bytes()
    state = load_file(tiny.with_name("tiny-test.safetensors"))
    shutil.rmtree(folder.parent / "assets")
    shutil.rmtree(folder.parent / "hub-cache")
    hub.serve("lab/tiny", SHORT, {"tiny-test.safetensors": save({k: v + 1 for k, v in state.items()})})
    outcome = record(folder, ["pinned-test"])[0]
    assert outcome.state == "failed"
    assert "must have sha256" in outcome.detail
    assert (folder / "pinned-test.md").read_bytes() == before


def test_features_that_changed_since_they_were_recorded_are_not_written_over(folder):
    record(folder, ["pinned-test"])
    listed, path = folder / "digests" / "pinned-test.json", folder / "pinned-test.md"
    kept = digests.parse(listed.read_bytes())
    other = digests.dump(kept.model_copy(update={"golden": {"0.5": [-v for v in kept.golden["0.5"]]}}))
    listed.write_bytes(other)
    path.write_text(path.read_text().replace(digests.sha256(digests.dump(kept)), digests.sha256(other)))
    outcome = record(folder, ["pinned-test"])[0]
    assert "features must be the golden ones recorded before (got cosines {'0.5': -" in outcome.detail
    assert listed.read_bytes() == other


def test_features_that_are_no_numbers_are_not_recorded(folder, hub, tiny):
    state = load_file(tiny.with_name("tiny-test.safetensors"))
    state["bn1.running_var"] -= 10
    hub.serve("lab/tiny", SHORT, {"tiny-test.safetensors": save(state)})
    outcome = record(folder, ["pinned-test"])[0]
    assert outcome.detail.startswith("features must be finite")
    assert not (folder / "digests").exists()


def test_an_unknown_card_is_named(folder):
    with pytest.raises(ValueError, match=r"cards must be in .* \(got nowhere\)"):
        record(folder, ["nowhere"])


PUBLISHED = {
    "dinov2-chest": layout_keys.transformers("dinov2"),
    "dinov2-chest-224": layout_keys.transformers("dinov2", grid=16),
    "mae-natural": layout_keys.transformers("mae", patch=16, grid=14),
    "mae-ct": layout_keys.transformers("mae", patch=32, grid=7),
    "evax-chest": layout_keys.eva_x(384),
    "mae-endoscopy": layout_keys.mae(),
    "flair-fundus": layout_keys.flair(),
    "biomedclip": layout_keys.biomedclip(),
}


def published(card):
    """A file with the names, shapes and format that this card's repo is said to hold."""
    network = cutting.build(card.architecture, card.kwargs)
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    state = numbers(PUBLISHED.get(card.name, own))
    if card.weights.file.endswith(".safetensors"):
        return save(state)
    nest = {"evax-chest": "module", "mae-endoscopy": "model"}.get(card.name)
    written = io.BytesIO()
    extra = {"args": argparse.Namespace(epochs=1)} if card.weights.allow else {}
    torch.save({nest: state, **extra} if nest else state, written)
    return written.getvalue()


@pytest.mark.slow
def test_every_card_is_recorded_by_the_one_command(hub, tmp_path, monkeypatch):
    """All cards served at once, each from a file of its own names, shapes and format; then the cards' own tests."""
    place, out = tmp_path / "cards", tmp_path / "out.json"
    place.mkdir()
    fetched = [name for name in zoo.names() if name not in test_cards.MINI]
    for name in fetched:
        card = zoo.card(name)
        # What is served here is not what was published: its sha256 cannot be the published one.
        text = card.path.read_text().replace(f'sha256: "{card.weights.sha256}"', "sha256: null")
        (place / f"{name}.md").write_text(text.replace(f"size: {card.weights.size},", "size: null,"))
        if card.weights.repo:
            revision = card.weights.revision or (card.weights.prefix or "").ljust(40, "0")
            hub.serve(card.weights.repo, revision, {card.weights.file: published(card)})

    command = ["verify", "--all", "--online", "--record", str(place), "--accept", "--json", str(out)]
    result = CliRunner().invoke(zoo.cli.app, command)
    states = {row["name"]: (row["state"], row["detail"]) for row in json.loads(out.read_text())}
    assert {name: state for name, state in states.items() if state[0] != "recorded"} == {
        "supervised-radimagenet": (
            "skipped",
            f"no file can be fetched ({zoo.card('supervised-radimagenet').source.url})",
        )
    }, result.output
    assert result.exit_code == 0

    monkeypatch.setattr(cards, "folder", lambda: place)
    for name in states:
        listed = place / "digests" / f"{name}.json"
        assert name == "supervised-radimagenet" or set(json.loads(listed.read_text())["golden"]) == {"0.5", "1"}
        test_cards.test_every_card_is_complete(name)
        test_cards.test_every_fact_has_its_evidence_and_an_unknown_one_is_null(name)
        test_cards.test_what_a_card_leaves_open_is_asked_for_in_its_call(name)
        test_cards.test_a_card_says_how_far_its_layout_was_tried(name)
