"""`zoo.load` through the real `huggingface_hub` client against the loopback Hub."""

import itertools
import subprocess
import sys
import time

import huggingface_hub
import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import load, save

import zoo
from tests.conftest import ROOT
from tests.hub.faults import Fault
from zoo.fetching import header as header_
from zoo.fetching import hub as hubs
from zoo.networks import depth as depth_
from zoo.registry import cards


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return timm.create_model("densenet121", num_classes=0).eval()


@pytest.fixture
def chest(hub, network):
    """The Hub serves a DenseNet-121 file of the published layout under the card's repo and revision."""
    card = zoo.card("mocov2-chest")
    data = save(network.state_dict())
    hub.serve(card.weights.repo, card.weights.revision, {"model.safetensors": data})
    return hub, network, data


def test_mocov2_chest_loads_from_the_loopback_hub(chest):
    hub, network, data = chest
    encoder = zoo.load("mocov2-chest", depth=0.75)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = encoder(x)
        expected = network.features.transition3.norm(network.features[:8](x)).mean((2, 3))
    assert features.shape == (2, 1024)
    assert torch.equal(features, expected)
    report = encoder.report
    assert (report.verified, report.depth, report.depth_evidence) == ("first-use", 0.75, "argument")
    assert (report.fetched, report.missing, report.unexpected) == (hub.sent, (), ())
    assert report.fetched < 0.73 * len(data)
    assert report.revision == zoo.card("mocov2-chest").weights.revision
    later = ("features.denseblock4", "features.transition3.conv", "features.norm5")
    assert report.matched == sum(not key.startswith(later) for key in network.state_dict())
    assert zoo.load("mocov2-chest", depth=0.75).report.fetched == 0


def exact(data, sources):
    """The bytes of the header and of exactly these tensors."""
    header = header_.parse(data[: header_.stop(data[:8])])
    return len(header.raw) + sum(header.spans[name].stop - header.spans[name].start for name in sources)


WIRE = {"resnet50": "ResNet-50", "densenet121": "DenseNet-121"}
WIRE |= {"vit_base_patch16_224": "ViT-B", "swin_base_patch4_window7_224": "Swin-B"}


@pytest.mark.parametrize("architecture", WIRE)
def test_bytes_on_the_wire(hub, tmp_path, architecture):
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=0)
    state = network.state_dict()
    data = save(state)
    text = (ROOT / "cards" / "supervised-natural.md").read_text()
    path = tmp_path / "wire-test.md"
    path.write_text(text.replace("architecture: resnet50", f"architecture: {architecture}").replace("inferred", "seen"))
    card = cards.read(path)
    hub.serve(card.weights.repo, card.weights.revision, {"model.safetensors": data})

    half, three = (zoo.load("wire", d, card=path) for d in (0.5, 0.75))
    total, sources = hub.sent, zoo.networks.cutting.cut(network, 0.75).sources
    assert total <= 1.02 * exact(data, sources.values())
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"{100 * exact(data, sources.values()) / len(data):.0f} % of a {WIRE[architecture]}'s" in readme
    assert half.report.fetched + three.report.fetched == total
    spans = sorted((start, stop) for _, start, stop in hub.ranges)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans)), "no byte twice"
    stored = load(data)
    for key, value in three.state_dict().items():
        assert value.equal(stored[sources[key]]), key


def test_a_cached_load_needs_no_hub_and_hashes_every_byte(chest, monkeypatch):
    hub, _, _ = chest
    folder = zoo.load("mocov2-chest").report.file
    hub.reset()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert zoo.load("mocov2-chest").report.verified == "first-use"
    assert hub.requests == []
    flip(next(path for path in cards.Path(folder).glob("*-*.*") if path.stat().st_size > 1000))
    with pytest.raises(zoo.WeightsError, match=r"mocov2-chest@0.75: .* cannot be fetched.*unset HF_HUB_OFFLINE"):
        zoo.load("mocov2-chest")


def test_a_whole_file_in_the_cache_loads_offline(chest, monkeypatch):
    hub, _, _ = chest
    card = zoo.card("mocov2-chest")
    path = huggingface_hub.hf_hub_download(card.weights.repo, "model.safetensors", revision=card.weights.revision)
    hub.reset()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    report = zoo.load("mocov2-chest").report
    assert (report.verified, report.fetched, hub.requests) == ("whole file", 0, [])
    later = header_.read(cards.Path(path)).spans["features.denseblock4.denselayer1.conv1.weight"]
    flip(cards.Path(path), later.start)
    assert zoo.load("mocov2-chest").report.verified == "whole file", "not a byte that this depth needs"
    with pytest.raises(zoo.WeightsError, match="unset HF_HUB_OFFLINE"):
        zoo.load("mocov2-chest", 1.0)


def test_offline_without_a_cached_file_says_what_to_do(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(zoo.WeightsError, match=r"cannot be fetched.*unset HF_HUB_OFFLINE"):
        zoo.load("mocov2-chest")


def test_embedded_names_ask_for_nothing(hub):
    zoo.load("mocov2-mini")
    assert hub.requests == []


def test_gone_and_gated_repos(hub):
    card = zoo.card("mae-chest")
    with pytest.raises(zoo.WeightsError, match="gone or private"):
        zoo.load("mae-chest")
    hub.serve(card.weights.repo, "1" * 40, {"model.safetensors": b""})
    with pytest.raises(zoo.WeightsError, match="The revision is gone"):
        zoo.load("mae-chest")
    hub.gated.add(card.weights.repo)
    with pytest.raises(zoo.WeightsError, match="Accept its terms"):
        zoo.load("mae-chest")


@pytest.mark.parametrize("kind", ["cut", "wrong", "whole"])
def test_faults_on_the_way_to_an_encoder(chest, kind, monkeypatch):
    monkeypatch.setattr(hubs, "_WAIT", 0.01)
    hub, network, _ = chest
    hub.faults += [Fault("cut", after=0.3)] * 3 if kind == "cut" else [Fault(kind)]
    if kind == "wrong":
        monkeypatch.setenv("ZOO_VERIFY", "strict")
    encoder = zoo.load("mocov2-chest", 0.5)
    assert hub.injected
    state = network.state_dict()
    sources = zoo.networks.cutting.cut(timm.create_model("densenet121", num_classes=0), 0.5).sources
    assert all(value.equal(state[sources[key]]) for key, value in encoder.state_dict().items())


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


def test_zoo_hub_imports_no_torch():
    code = "import sys; sys.modules['zoo'] = type(sys)('zoo'); sys.modules['zoo'].__path__ = ['zoo']; "
    code += "import zoo.fetching.hub; "
    done = subprocess.run([sys.executable, "-c", code + "print('torch' in sys.modules)"], cwd=ROOT, capture_output=True)
    assert done.stdout.strip() == b"False", done.stderr


def test_depth_one_needs_every_tensor(chest):
    hub, _, data = chest
    zoo.load("mocov2-chest", 1.0)
    assert hub.sent == len(data)
    assert depth_.blocks_kept(1.0, (1, 1, 1, 1)) == 4


def flip(path, place=-1):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


LOADER = """
import sys, torch, zoo
card, depth = sys.argv[1], float(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
encoder = zoo.load("own", depth, card=card)
print(encoder.report.digest, float(encoder(torch.ones(1, 1, 32, 32)).sum()))
"""


def loader(card, depth=1.0):
    command = [sys.executable, "-c", LOADER, str(card), str(depth)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture
def remote_tiny(hub, tiny):
    data = tiny.with_name("tiny-test.safetensors").read_bytes()
    hub.serve("lab/tiny", "c" * 40, {"tiny-test.safetensors": data})
    tiny.write_text(tiny.read_text().replace("repo: null", f'repo: lab/tiny, revision: "{"c" * 40}"'))
    return hub, tiny, data


@pytest.mark.slow
def test_eight_processes_load_the_same_encoder_at_once(remote_tiny):
    hub, card, data = remote_tiny
    loaders = [loader(card) for _ in range(8)]
    for process in loaders:
        assert process.stdout.readline() == "ready\n"
    answers = {process.communicate("\n")[0] for process in loaders}
    assert len(answers) == 1
    report = zoo.load("own", 1.0, card=card).report
    assert answers.pop().startswith(report.digest)
    assert (hub.sent, report.fetched) == (len(data), 0)


@pytest.mark.slow
def test_a_long_fetch_shows_how_far_it_is(remote_tiny, monkeypatch):
    hub, card, _ = remote_tiny
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS")
    hub.faults = lambda asked: time.sleep(1.5) if asked.on == "blob" else None
    command = [sys.executable, "-c", LOADER, str(card), "1.0"]
    done = subprocess.run(command, input="\n", capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert "lab/tiny/tiny-test.safetensors" in done.stderr
    assert "%|" in done.stderr


@pytest.mark.slow
def test_a_killed_load_goes_on(remote_tiny):
    hub, card, data = remote_tiny
    hub.faults = lambda asked: time.sleep(0.05) if asked.on == "blob" else None
    for pause in (0.05, 0.15, 0.25, 0.4):
        process = loader(card)
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(pause)
        process.kill()
        process.wait()
    hub.faults = []
    encoder, state = zoo.load("own", 1.0, card=card), load(data)
    assert all(value.equal(state[key.removeprefix("trunk.")]) for key, value in encoder.state_dict().items())


def test_a_published_card_names_the_repo_of_its_weights(hub, tiny):
    hub.serve("lab/loose", "c" * 40, {"README.md": tiny.read_bytes()})
    with pytest.raises(zoo.CardError, match=r"card lab/loose/README.md must name the repo of its weights \(got None\)"):
        zoo.load("lab/loose")
