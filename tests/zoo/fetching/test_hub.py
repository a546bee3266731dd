"""What a Hub, or the way to it, does wrong: survived where it passes, named where it stays; also by `zoo.load`."""

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
from tests import small
from tests.conftest import ROOT
from tests.hub.faults import Fault
from tests.marks import slow_but
from tests.zoo.fetching.served import SOME, read, right
from zoo.fetching import header as header_
from zoo.fetching import hub as hubs
from zoo.fetching import opened
from zoo.fetching.hub import WeightsError
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights
from zoo.networks import cutting
from zoo.networks import depth as depth_
from zoo.registry import cards


def test_an_answer_of_another_commit_is_a_wrong_revision(hub, tmp_path):
    small.publish(hub, tmp_path)
    with pytest.raises(WeightsError, match=r"lab/small answers with the wrong revision \(a{40}\)"):
        _ = hubs.Remote(small.REPO, "main", small.FILE).size


def test_a_hub_that_asks_for_too_much_patience_is_not_waited_for(hub, tmp_path):
    card, _ = small.publish(hub, tmp_path)
    hub.faults.append(Fault("status", status=429, retry_after=86400))
    with pytest.raises(WeightsError, match=r"cannot be fetched \(AstrayError: status 429.*\). Load again later"):
        read(card)


def test_no_token_reaches_another_host(hub, tmp_path, monkeypatch):
    card, data = small.publish(hub, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("hf_secret")
    hub.private.add(small.REPO)
    hub.faults.append(Fault("elsewhere"))
    assert right(read(card), data)
    assert hub.injected
    assert hub.leaks == []


TRANSIENT = [
    Fault("cut", after=100),
    Fault("cut", after=0),
    Fault("cut", after=0.9, times=3),
    Fault("stall", seconds=0.1),
    Fault("stall", seconds=2),
    Fault("status", status=429, retry_after=0),
    Fault("status", status=500, times=2),
    Fault("status", status=503),
    Fault("short", after=50),
    Fault("shifted", shift=-1),
    Fault("shifted", shift=4),
    Fault("html"),
    Fault("whole"),
    Fault("whole", times=99),
    Fault("elsewhere"),
    Fault("expired"),
    Fault("status", status=429, retry_after=0, on="resolve"),
    Fault("cut", on="resolve"),
]


def said(fault):
    return f"{fault.place}-{fault.kind}-{fault.after}-{fault.times}"


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("fault", TRANSIENT, ids=said)
def test_a_fault_that_passes_ends_in_the_right_bytes(hub, tmp_path, fault, pinned):
    card, data = small.publish(hub, tmp_path, pinned=pinned, count=4)
    if fault.place == "resolve":
        hub.faults.append(fault)  # the address is asked for with the header
    file = open_weights(card)
    if fault.place == "blob":
        hub.faults.append(fault)
    assert right(file.read(SOME[:3]), data)
    assert hub.injected
    assert not list(store_of(card).folder.glob("*.part"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("html", times=99), "an HTML page came"),
        (Fault("html", on="resolve", times=99), "does not answer as a Hub does"),
        (Fault("gone", times=99), "The revision is gone"),
        (Fault("gated", times=99), "Accept its terms"),
        (Fault("status", status=500, times=99), "500"),
        (Fault("cut", after=0, times=99), "cannot be fetched .* Load again"),
        (Fault("shifted", times=99), "another range came"),
    ],
    ids=lambda value: said(value) if isinstance(value, Fault) else "",
)
def test_a_fault_that_stays_is_named(hub, tmp_path, fault, message):
    card, data = small.publish(hub, tmp_path)
    hub.faults.append(fault)
    with pytest.raises(WeightsError, match=message):
        read(card)
    hub.faults = []
    assert right(read(card), data)


def test_200_random_faults_and_none_slips_through(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "_RUN", 1000)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    served = 0
    for turn in range(1000):
        card, data = small.publish(hub, tmp_path, seed=turn, revision=f"{turn:040x}", count=6, size=600)
        hub.chaos(seed=turn, rate=0.4)
        try:
            found = read(card)
        except WeightsError:
            found = {}
        hub.calm()
        assert right(found, data), f"seed {turn}: {hub.injected}"
        assert right(read(card), data), f"seed {turn}: the cache is wrong"
        served += bool(found)
        if len(hub.injected) >= 200:
            break
    assert len(hub.injected) >= 200
    assert served > turn / 3, "most faults are survived, not only refused"


@pytest.mark.parametrize("token", ["hf_secret\x0bb", "hf_sécret"])
def test_a_token_that_cannot_be_sent_is_not_shown(hub, tmp_path, monkeypatch, token):
    card, _ = small.publish(hub, tmp_path)
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(WeightsError) as caught:
        read(card)
    assert "cret" not in str(caught.value)


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


@pytest.mark.parametrize("architecture", slow_but(WIRE, "resnet50", "densenet121"))
def test_bytes_on_the_wire(hub, tmp_path, monkeypatch, architecture):
    monkeypatch.setenv("ZOO_LICENSE_POLICY", "allow")
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
    total, sources = hub.sent, cutting.cut(network, 0.75).sources
    assert total <= 1.02 * exact(data, sources.values())
    readme = " ".join((ROOT / "zoo" / "fetching" / "README.md").read_text().split())
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
    hub, network, _ = chest
    hub.faults += [Fault("cut", after=0.3)] * 3 if kind == "cut" else [Fault(kind)]
    if kind == "wrong":
        monkeypatch.setenv("ZOO_VERIFY", "strict")
    encoder = zoo.load("mocov2-chest", 0.5)
    assert hub.injected
    state = network.state_dict()
    sources = cutting.cut(timm.create_model("densenet121", num_classes=0), 0.5).sources
    assert all(value.equal(state[sources[key]]) for key, value in encoder.state_dict().items())


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


def test_git_names_known_bytes_by_their_known_hash():
    assert hubs.git_sha1(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
    assert hubs.git_sha1(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
