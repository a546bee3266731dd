"""From a name to an encoder: by the card, strictly, from a file of one's own or from the Hub."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.zoo.networks import layout_keys


@pytest.fixture
def file(tiny):
    return tiny.with_name("tiny-test.safetensors")


def rewrite(file, change):
    state = load_file(file)
    change(state)
    save_file(state, file)


def test_own_card_and_own_weights(tiny, file, tmp_path):
    elsewhere = tmp_path / "elsewhere.safetensors"
    file.rename(elsewhere)
    encoder = zoo.load("own", 1.0, card=tiny, weights=elsewhere)
    assert encoder.report.verified == "own file"
    assert encoder.report.file == str(elsewhere)
    assert torch.equal(encoder.trunk.conv1.weight, load_file(elsewhere)["conv1.weight"])


def test_the_card_decides_where_no_depth_is_given(tiny):
    assert zoo.load("own", card=tiny).report.depth_evidence == "prior"
    assert zoo.load("own@0.5", card=tiny).depth == 0.5


def test_half_precision_is_read_into_float32(tiny, file):
    rewrite(file, lambda s: s.update({k: v.half() for k, v in s.items() if v.is_floating_point()}))
    encoder = zoo.load("own", card=tiny)
    assert encoder.report.dtype == "float16"
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_a_stored_classifier_is_left_out(tiny, file):
    rewrite(file, lambda s: s.update({"fc.weight": torch.zeros(10, 16), "fc.bias": torch.zeros(10)}))
    assert zoo.load("own", 1.0, card=tiny).report.matched == len(load_file(file)) - 2


@pytest.mark.parametrize("depth", [0.25, 1.0])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer4.1.bn2.bias"), r"missing: layer4\.1\.bn2\.bias; unexpected: none"),
        (lambda s: s.update(extra=torch.zeros(1)), r"missing: none; unexpected: extra"),
        (
            lambda s: s.update({"conv1.weight": torch.zeros(8, 3, 7, 7)}),
            r"conv1\.weight \[8, 3, 7, 7\] float, not \[64, 1, 7, 7\] float",
        ),
        (
            lambda s: s.update({"conv1.weight": torch.zeros(64, 1, 7, 7, dtype=torch.int32)}),
            r"conv1\.weight \[64, 1, 7, 7\] int32, not \[64, 1, 7, 7\] float",
        ),
        (
            lambda s: s.update({"bn1.num_batches_tracked": torch.tensor(1.0)}),
            r"bn1\.num_batches_tracked \[\] float, not",
        ),
        (
            lambda s: s["conv1.weight"][0, 0, 0].fill_(float("nan")),
            r"finite numbers \(NaN or infinity in conv1\.weight\)",
        ),
    ],
)
def test_loading_is_strict_at_every_depth(tiny, file, change, message, depth):
    rewrite(file, change)
    with pytest.raises(
        zoo.WeightsError, match=rf"tiny-test@{depth:g}: .*tiny-test\.safetensors must hold .*{message}.*\. \w+"
    ):
        zoo.load("own", depth, card=tiny)


def test_a_truncated_file_is_refused(tiny, file):
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(
        zoo.WeightsError, match=r"whole safetensors file: it is truncated at \d+ bytes, not \d+\. Fetch it again"
    ):
        zoo.load("own", card=tiny)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"<!doctype html><title>Sign in</title>", "must be a whole safetensors file: it is an HTML page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a git-lfs pointer"),
        (b"\x80\x02}q\x00.", r"must be safetensors \(got a pickled checkpoint\)\. Run zoo-upload convert"),
        (b"", "it is truncated at 0 bytes"),
        (b"\x20\x00\x00\x00\x00\x00\x00\x00{}", "it is truncated at 10 bytes"),
    ],
)
def test_the_cause_of_a_bad_file_is_named(tiny, file, content, cause):
    file.write_bytes(content)
    with pytest.raises(zoo.WeightsError, match=f"tiny-test.safetensors .*{cause}"):
        zoo.load("own", card=tiny)
    wanted = tiny.read_text().replace(f"file: {file.name}", f"file: {file.name}, sha256: '{'0' * 64}'")
    tiny.write_text(wanted)
    with pytest.raises(zoo.WeightsError, match=f"must have sha256 {'0' * 64} .*it is "):
        zoo.load("own", card=tiny)


def test_a_missing_file_is_named(tiny, file):
    file.unlink()
    with pytest.raises(zoo.WeightsError, match=r"weights must be an existing file \(got .*tiny-test.safetensors"):
        zoo.load("own", card=tiny)


@pytest.mark.parametrize(
    ("depth", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, ValueError), (float("nan"), ValueError), ("x", TypeError)],
)
def test_bad_depths(depth, error):
    with pytest.raises(error, match="depth must be"):
        zoo.load("mocov2-mini", depth)


@pytest.mark.parametrize("name", ["mocov2-mini@x", "mocov2-mini@", "mocov2-mini@2"])
def test_bad_depths_in_names(name):
    with pytest.raises(ValueError, match="depth must be"):
        zoo.load(name)


@pytest.mark.parametrize("depths", ["0.25+0.5", "quarters"])
def test_several_depths_are_for_fusion(depths):
    step = rf"Try mae-mini@0.75, or all of them in fusion.FusionClassifier\(\['mae-mini@{re.escape(depths)}'\]\)\."
    with pytest.raises(ValueError, match=rf"depth must be a number in \(0, 1\] \(got '{re.escape(depths)}'\)\. {step}"):
        zoo.load(f"mae-mini@{depths}")


def test_depth_given_twice_is_refused():
    with pytest.raises(ValueError, match="depth must be given once"):
        zoo.load("mocov2-mini@0.5", 0.5)


def test_untrained_is_a_control_with_the_same_shape():
    first, again, other = (zoo.untrained("mocov2-mini", 0.5, seed=seed) for seed in (0, 0, 1))
    trained = zoo.load("mocov2-mini", 0.5)
    assert first.num_features == trained.num_features
    assert first.report.verified == "untrained"
    assert first.report.sha256 is None
    assert first.name == "untrained-mocov2-mini@0.5#0"
    x = torch.randn(1, 1, 64, 64)
    assert torch.equal(first(x), again(x))
    assert not torch.equal(first(x), other(x))


@pytest.mark.parametrize("name", ["mocov2-mini", "mae-mini"])
def test_the_embedded_encoders(name):
    encoder = zoo.load(name, 1.0)
    assert encoder.report.dtype == "float16"
    assert encoder.report.verified == "card"
    assert [len(q["params"]) > 0 for q in encoder.quarters()] == [True] * 4
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_nothing_is_half_loaded(tiny, file, monkeypatch):
    made = []
    monkeypatch.setattr(zoo.loading, "Encoder", lambda *a: made.append(zoo.Encoder(*a)) or made[-1])
    rewrite(file, lambda s: s["conv1.weight"].fill_(float("inf")))
    with pytest.raises(zoo.WeightsError):
        zoo.load("own", card=tiny)
    assert all(p.is_meta for p in made[0].parameters())


def test_a_card_without_a_reachable_file_takes_a_file_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_LICENSE_POLICY", "allow")
    with pytest.raises(zoo.WeightsError, match=r"weights must be given: no file can be fetched .*Pass weights=PATH"):
        zoo.load("supervised-radimagenet", 0.25)
    shapes = layout_keys.radimagenet()
    state = {name: torch.rand(shape) if shape else torch.tensor(0) for name, shape in shapes.items()}
    save_file(state, tmp_path / "radimagenet.safetensors")
    encoder = zoo.load("supervised-radimagenet", 0.25, weights=tmp_path / "radimagenet.safetensors")
    assert encoder.report.verified == "own file"
    assert torch.equal(encoder.trunk.conv1.weight, state["backbone.0.weight"])


def test_a_first_use_that_does_not_fit_says_how_to_get_out_of_it(hub, tiny, file):
    card = tiny.read_text().replace("repo: null", f'repo: lab/tiny, revision: "{"c" * 40}"')
    tiny.write_text(card)
    rewrite(file, lambda s: s["conv1.weight"].fill_(float("nan")))
    hub.serve("lab/tiny", "c" * 40, {file.name: file.read_bytes()})
    with pytest.raises(
        zoo.WeightsError, match=r"finite numbers .*Nothing vouches for a first use: try once with whole="
    ):
        zoo.load("own", card=tiny)


def test_a_wrong_setting_is_named_for_every_card(tiny, monkeypatch):
    monkeypatch.setenv("ZOO_VERIFY", "strikt")
    with pytest.raises(ValueError, match="ZOO_VERIFY must be strict or unset"):
        zoo.load("own", card=tiny)


def test_embedded_names_ask_for_nothing(hub):
    zoo.load("mocov2-mini")
    assert hub.requests == []


def test_a_card_without_a_commit_names_the_argument_that_fills_it(hub, tiny):
    tiny.write_text(tiny.read_text().replace("repo: null", "repo: o/n"))
    with pytest.raises(zoo.WeightsError, match=r"revision must be pinned \(got None\). Pass .*revision="):
        zoo.load("own", card=tiny)
    assert hub.requests == []
    data = tiny.with_name("tiny-test.safetensors").read_bytes()
    hub.serve("o/n", "c" * 40, {"tiny-test.safetensors": data})
    encoder = zoo.load("own", card=tiny, revision="c" * 40)
    assert encoder.report.revision == "c" * 40
    with pytest.raises(ValueError, match="revision: String should match pattern"):
        zoo.load("own", card=tiny, revision="main")
    with pytest.raises(ValueError, match=r"revision must be left to the card, which states b42f.* Use an own card"):
        zoo.load("mocov2-chest", revision="c" * 40)


def test_mean_and_std_fill_what_the_card_does_not_know(tiny):
    tiny.write_text(tiny.read_text().replace("mean: [0.5], std: [0.25]", "mean: null, std: null"))
    image = torch.zeros(1, 32, 32, dtype=torch.uint8).numpy()
    with pytest.raises(ValueError, match=r"mean and std must be known .*mean=\[...\], std=\[...\]"):
        zoo.load("own", card=tiny).preprocess(image)
    assert zoo.load("own", card=tiny, mean=[0.5], std=[0.5]).preprocess(image).unique() == -1
    with pytest.raises(ValueError, match="mean and std must have 1 numbers, one per channel"):
        zoo.load("own", card=tiny, mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])


def test_interpolation_fills_what_the_card_does_not_know(tiny):
    tiny.write_text(tiny.read_text().replace("grey: luminance", "interpolation: null, grey: luminance"))
    image = torch.zeros(1, 40, 40, dtype=torch.uint8).numpy()
    with pytest.raises(ValueError, match=r"interpolation must be known .*interpolation='bilinear'"):
        zoo.load("own", card=tiny).preprocess(image)
    assert zoo.load("own", card=tiny, interpolation="nearest").preprocess(image).shape == (1, 1, 32, 32)
    with pytest.raises(ValueError, match="interpolation: Input should be 'nearest', 'bilinear' or 'bicubic'"):
        zoo.load("own", card=tiny, interpolation="lanczos")


@pytest.mark.parametrize("name", ["../x", "a/../b", "/etc/passwd", "a/b/c", "a\\b/c", "lab/..", ".hidden/x"])
def test_names_that_climb_are_refused(hub, name, tmp_path):
    with pytest.raises((zoo.CardError, zoo.WeightsError, ValueError)):
        zoo.load(name)
    assert not (tmp_path / "assets").exists()


CLIMBING = ["repo: ../../x", "repo: a/..", 'file: "../../x"', "file: /etc/passwd", 'file: "a/../b"']


@pytest.mark.parametrize("entry", CLIMBING)
def test_cards_that_climb_are_refused(hub, tiny, entry):
    key = entry.split(":")[0]
    old = "repo: null" if key == "repo" else "file: tiny-test.safetensors"
    tiny.write_text(tiny.read_text().replace(old, entry))
    with pytest.raises(zoo.CardError, match=f"weights.{key}: String should match pattern"):
        zoo.load("own", card=tiny)


def test_a_pickled_file_is_not_even_fetched(hub):
    with pytest.raises(zoo.WeightsError, match=r"load opens no pickle. Run zoo-upload convert evax-chest"):
        zoo.load("evax-chest")
    assert hub.requests == []
