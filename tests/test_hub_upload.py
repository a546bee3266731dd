"""`zoo-upload` against the loopback Hub: what arrives, what goes on after a failure, and what is refused."""

import functools
import itertools
import signal
import subprocess
import sys
import threading
import time

import pytest
import timm
import torch
import yaml
from huggingface_hub import HfApi
from safetensors.torch import load_file, save_file

import hub_upload
import zoo
from tests.conftest import ROOT, TINY
from tests.hub.answers import page, refusal
from tests.marks import slow_but
from tests.zoo.called import call as called
from zoo.fetching import digests, opened
from zoo.fetching.wire import asking
from zoo.networks import cutting
from zoo.registry import cards
from zoo.upkeep import golden

call = functools.partial(called, hub_upload.app)
REPO = "tester/net"
FRONT = """---
license: apache-2.0   # the Hub's keys
language:
- en
zoo:
  architecture: {architecture}
  kwargs: {kwargs}
  method: none
  family: contrastive
  domain: test-images
  pool: {pool}
  depth: {{optimal: 0.75, evidence: prior}}
  input: {{channels: 3, size: {size}, range: [-1.0, 1.0], mean: [0.2, 0.0, -0.2], std: [0.5, 0.5, 0.5], resize: crop, crop_pct: 0.875}}
  weights:
    repo: null
    file: null
    layout: {layout}
  terms: {{card: apache-2.0, upstream: apache-2.0}}
  source: {{paper: null, url: null}}
---
# A network
"""  # noqa: E501 - a card's line


@pytest.fixture
def login(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "token")
    return hub


@pytest.fixture
def ready(login, tiny):
    """The Hub, a card and its weights."""
    return login, tiny, tiny.with_name("tiny-test.safetensors")


def counted(requests):
    """Of what changes a repo: (uploads of weights, commits)."""
    return sum(method == "PUT" for method, _ in requests), sum("/commit/" in path for _, path in requests)


@pytest.mark.parametrize(
    ("architecture", "kwargs", "pool", "size", "layout", "prefix", "block"),
    [
        pytest.param("resnet50", "{}", "avg", 64, "moco", "module.encoder_q.", 3, marks=pytest.mark.slow),
        pytest.param("vit_small_patch16_224", "{img_size: 64}", "cls", 64, "timm", "", 8, marks=pytest.mark.slow),
        pytest.param("vit_tiny_patch16_224", "{img_size: 64}", "avg", 64, "timm", "", 8, marks=pytest.mark.slow),
        ("resnet10t", "{}", "avg", 64, "timm", "", 3),
    ],
    ids=["resnet50", "vit-cls", "vit-avg", "resnet10"],
)
def test_a_checkpoint_goes_round(login, tmp_path, architecture, kwargs, pool, size, layout, prefix, block):
    """Pickle -> convert -> check -> upload -> the encoder that `zoo` loads is the network that timm loads."""
    card, output = tmp_path / "net-test.md", tmp_path / "net.safetensors"
    card.write_text(FRONT.format(architecture=architecture, kwargs=kwargs, pool=pool, size=size, layout=layout))
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=3, **yaml.safe_load(kwargs))
    torch.save({"state_dict": {prefix + key: value for key, value in network.state_dict().items()}}, tmp_path / "x.pth")
    assert f"Converted: {output}" in call("convert", tmp_path / "x.pth", output, "--card", card)
    assert "net-test is fit to be published" in call("check", card, output)
    call("upload", card, output, REPO)

    x = torch.randn(2, 3, size, size)
    plain = timm.create_model(f"hf-hub:{REPO}", pretrained=True, num_classes=0).eval()
    whole, cut = zoo.load(REPO, depth=1.0), zoo.load(REPO, depth=0.75)
    tokens = {"return_prefix_tokens": True} if "vit" in architecture else {}
    with torch.no_grad():
        tap = plain.forward_intermediates(x, indices=[block], intermediates_only=True, **tokens)[0]
        tap, prefix = tap if tokens else (tap, None)
        pooled = prefix[:, 0] if pool == "cls" else tap.mean((2, 3))
        torch.testing.assert_close(whole(x), plain(x), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(cut(x), pooled, rtol=1e-5, atol=1e-6)
        assert torch.equal(cut.pyramid(x)[-1], tap)
    assert (whole.report.verified, whole.report.revision) == ("card", whole.card.weights.revision)
    pixels = timm.data.resolve_model_data_config(plain)
    assert (pixels["mean"], pixels["std"]) == (pytest.approx((0.6, 0.5, 0.4)), pytest.approx((0.25, 0.25, 0.25)))
    assert (pixels["input_size"], pixels["crop_mode"], pixels["crop_pct"]) == ((3, size, size), "center", 0.875)


def test_what_a_repo_holds(ready):
    hub, card, weights = ready
    said = call("upload", card, weights, REPO, "--collection", "Our encoders")
    files = hub.files(REPO)
    assert set(files) == {
        ".gitattributes",
        "model.safetensors",
        "digests.json",
        "config.json",
        "ATTRIBUTION.md",
        "README.md",
    }
    record = cards.parse(files["README.md"].decode(), REPO, card)
    listed, place = digests.parse(files["digests.json"]), record.weights
    assert said.endswith(f"Published {REPO} at {place.revision}")
    assert hub.files(REPO, place.revision).keys() == files.keys() - {"README.md"}
    assert (place.repo, place.file, place.layout) == (REPO, "model.safetensors", "timm")
    assert (place.sha256, place.size) == (digests.sha256(files["model.safetensors"]), weights.stat().st_size)
    assert place.digests == digests.sha256(files["digests.json"])
    assert listed.golden == {f"{depth:g}": golden.values(zoo.load(REPO, depth)) for depth in golden.DEPTHS}
    assert "apache-2.0 (upstream)" in files["ATTRIBUTION.md"].decode()
    assert f"sha256 {place.sha256}" in files["ATTRIBUTION.md"].decode()
    assert HfApi().model_info(REPO).card_data.tags == ["sslzoo", "contrastive", "test"]
    shelf = HfApi().get_collection(next(iter(hub.collections)))
    assert (shelf.title, [item.item_id for item in shelf.items]) == ("Our encoders", [REPO])


def test_a_second_run_sends_nothing_and_a_change_only_itself(ready):
    hub, card, weights = ready
    arguments = ("upload", card, weights, REPO, "--collection", "Shelf")
    call(*arguments)
    pinned = zoo.load(REPO).report.revision
    hub.forget()
    assert f"at {pinned}" in call(*arguments)
    assert counted(hub.requests) == (0, 0)
    card.write_text(card.read_text() + "One more line.\n")
    assert f"at {pinned}" in call(*arguments)
    assert counted(hub.requests) == (0, 1)
    assert hub.files(REPO)["README.md"].endswith(b"One more line.\n")
    save_file({key: value + 1 for key, value in load_file(weights).items()}, weights)
    assert f"at {pinned}" not in call(*arguments)
    assert counted(hub.requests) == (1, 3)
    assert zoo.load(REPO).report.sha256 == digests.sha256_file(weights)


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "answer lost"])
def test_a_run_after_any_failure_goes_on(ready, monkeypatch, lost):
    """Each request that is not a mere look fails once: without any effect, or after it had its effect."""
    hub, card, weights = ready
    parcel, whole = hub_upload.pack(card, weights, REPO), hub.answer
    for place in itertools.count():
        asked = itertools.count()

        def answer(request, place=place, asked=asked):
            if request.method in ("GET", "HEAD") or next(asked) != place:
                return whole(request)
            if lost:
                whole(request)
            return refusal(400, "Out of order").answer

        hub.reset()
        with monkeypatch.context() as patch:
            patch.setattr(hub, "answer", answer)
            try:
                hub_upload.send(HfApi(), parcel, collection="Shelf")
                break  # there are no more requests to break
            except Exception as error:
                assert "Out of order" in f"{error} {error.__cause__}"  # noqa: PT017 - any of the client's own
        broken = next(path for path in reversed(hub.requests) if path[0] not in ("GET", "HEAD"))
        revision = hub_upload.send(HfApi(), parcel, collection="Shelf")
        assert cards.parse(hub.files(REPO)["README.md"].decode(), REPO, card).weights.revision == revision
        assert digests.sha256(hub.files(REPO, revision)["model.safetensors"]) == parcel.digests.file
        assert len(hub.repos[REPO].commits) == 3  # the Hub's own, weights, card
        uploads, commits = (0, 0) if lost else counted([broken])  # what had no effect was tried twice
        assert counted(hub.requests) == (1 + uploads, 2 + commits)
        assert [len(shelf["items"]) for shelf in hub.collections.values()] == [1]
    assert place > 10


def test_a_dry_run_asks_for_and_sends_nothing(ready):
    hub, card, weights = ready
    said = call("upload", card, weights, REPO, "--dry-run", "--private", "--collection", "Shelf")
    assert hub.requests == []
    for part in (
        "tester/net (private)",
        f"model.safetensors: {weights.stat().st_size} bytes",
        "digests.json",
        "'Shelf'",
    ):
        assert part in said


def test_a_file_that_changes_after_its_check_is_not_published(ready):
    hub, card, weights = ready
    parcel = hub_upload.pack(card, weights, REPO)
    save_file({key: value + 1 for key, value in load_file(weights).items()}, weights)
    with pytest.raises(zoo.WeightsError, match=f"{REPO} must hold what was checked"):
        hub_upload.send(HfApi(), parcel)
    assert "README.md" not in hub.files(REPO)


def test_private_stays_private(ready):
    hub, card, weights = ready
    call("upload", card, weights, REPO, "--private")
    assert hub.private == {REPO}
    call("upload", card, weights, REPO)
    assert hub.private == {REPO}
    hub.private.clear()
    assert f"{REPO} must be private (got a public repo)" in call("upload", card, weights, REPO, "--private", code=1)


@pytest.mark.parametrize("part", [f"/api/models/{REPO}/commit/main", "/lfs/"])
def test_what_the_hub_refuses_is_told(ready, monkeypatch, part):
    hub, card, weights = ready
    whole, refused = hub.answer, refusal(400, "Full").answer
    monkeypatch.setattr(hub, "answer", lambda request: refused if request.path.startswith(part) else whole(request))
    said = call("upload", card, weights, REPO, code=1)
    assert f"{REPO} must take what is sent (got: Full). Run the same command again: it goes on." in said
    monkeypatch.delenv("HF_TOKEN")
    assert "Run hf auth login with a token that may write." in call("upload", card, weights, REPO, code=1)


def test_a_repo_that_timm_pushed_loads_with_a_card(login, tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("resnet18", num_classes=0, in_chans=1, channels=[8, 8, 16, 16]).eval()
    timm.models.push_to_hf_hub(network, REPO)
    card = tmp_path / "own-test.md"
    card.write_text(TINY.replace("tiny-test.safetensors", "model.safetensors"))
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(zoo.load(REPO, depth=1.0, card=card)(x), network(x))
        tap = network.forward_intermediates(x, indices=[3], intermediates_only=True)[0]
        assert torch.equal(zoo.load(REPO, depth=0.75, card=card).pyramid(x)[-1], tap)


def change(card, old, new):
    assert old in card.read_text()
    card.write_text(card.read_text().replace(old, new))


def test_check_refuses_what_is_not_fit(ready):
    _, card, weights = ready
    good = load_file(weights)
    assert "golden feature at depth 0.5: " in call("check", card, weights)
    weights.with_suffix(".digests.json").write_bytes(
        digests.dump(digests.Digests(file="0" * 64, size=1, header="0" * 64, tensors={}))
    )
    assert "must be the file that tiny-test.digests.json lists" in call("check", card, weights, code=1)
    listed = opened.digest(weights).model_copy(update={"golden": {"0.5": [1.0, -1.0]}})
    weights.with_suffix(".digests.json").write_bytes(digests.dump(listed))
    assert "must give its golden features (got cosines {'0.5': -1.0})" in call("check", card, weights, code=1)
    weights.with_suffix(".digests.json").unlink()
    save_file(good | {"fc.weight": torch.zeros(1)}, weights)
    said = call("check", card, weights, code=1)
    assert f"must have exactly timm's names (1 differ: fc.weight). Run zoo-upload convert {weights} OUTPUT" in said
    save_file({key: torch.zeros_like(value) for key, value in good.items()}, weights)
    assert "features must tell two images apart (got equal ones)" in call("check", card, weights, code=1)
    save_file({key: value * 1e30 if "conv" in key else value for key, value in good.items()}, weights)
    assert "features must be finite (got NaN or infinity)" in call("check", card, weights, code=1)
    weights.write_bytes(b"<html>")
    assert "must be a whole safetensors file: it is an HTML page" in call("check", card, weights, code=1)
    weights.unlink()
    assert "weights must be an existing file" in call("check", card, weights, code=1)
    change(card, "mean: [0.5]", "mean: null")
    assert "must state mean (got null). Edit its front matter." in call("check", card, weights, code=1)


def test_a_card_that_does_not_fit_is_refused_before_anything_is_sent(ready):
    hub, card, weights = ready
    assert "repo must be owner/name (got 'nowhere')" in call("upload", card, weights, "nowhere", code=1)
    change(card, "pool: avg", "pool: cls")
    assert "pool must be avg for resnet18" in call("upload", card, weights, REPO, code=1)
    assert hub.requests == []


def test_convert_says_what_it_needs(ready, tmp_path):
    _, card, weights = ready
    assert "output must be given (got none)" in call("convert", weights, code=1)
    assert "card or architecture must be given (got neither)" in call(
        "convert", weights, tmp_path / "o.safetensors", code=1
    )
    both = ("--card", card, "--architecture", "resnet18")
    assert "must be given (got both)" in call("convert", weights, tmp_path / "o.safetensors", *both, code=1)
    assert "must be a .safetensors file" in call("convert", weights, tmp_path / "o.pth", "--card", card, code=1)
    assert "name must be a known checkpoint" in call("convert", "unknown-name", code=1)
    assert "gone or private" in call("convert", "lab/unknown", code=1)
    assert "zoo.load takes it as it is" in call("convert", card, code=1)


def test_convert_by_name_and_by_architecture(login, tmp_path, monkeypatch):
    network = cutting.build("resnet18", {}, device="cpu")
    torch.save(network.state_dict(), tmp_path / "x.pth")
    login.serve("lab/x", "a" * 40, {"x.pth": (tmp_path / "x.pth").read_bytes()})
    monkeypatch.setenv("ZOO_CARDS", str(tmp_path))
    card = FRONT.format(architecture="resnet18", kwargs="{}", pool="avg", size=32, layout="timm")
    (tmp_path / "x-test.md").write_text(card.replace("repo: null\n    file: null", "repo: lab/x\n    file: x.pth"))
    with pytest.raises(zoo.WeightsError, match="Run zoo-upload convert x-test"):
        zoo.load("x-test", revision="a" * 40)
    said = call("convert", "x-test", code=1)
    assert "revision of x-test must be pinned (got None). Run zoo-upload convert x-test --revision" in said
    call("convert", "x-test", "--revision", "a" * 40)
    assert zoo.load("x-test", revision="a" * 40).report.verified == "conversion"
    output = tmp_path / "x.safetensors"
    call("convert", tmp_path / "x.pth", output, "--architecture", "resnet18", "--layout", "timm")
    assert load_file(output).keys() == network.state_dict().keys()
    listed = digests.parse(output.with_suffix(".digests.json").read_bytes())
    assert (listed.file, listed.source) == (digests.sha256_file(output), digests.sha256_file(tmp_path / "x.pth"))


# What runs in the background of a script is begun with SIGINT ignored, and so is all that it begins.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
UPLOAD = HEED + "import sys, hub_upload; hub_upload.app(sys.argv[1:])"


SLOW = [pytest.param(part, marks=pytest.mark.slow) for part in ("/commit/", "/repos/create")]


@pytest.mark.parametrize("part", ["/lfs/", *SLOW])
def test_ctrl_c_ends_an_upload_at_once(ready, monkeypatch, part):
    hub, card, weights = ready
    whole, reached = hub.answer, threading.Event()

    def answer(request):
        if part in request.path and request.method in ("PUT", "POST"):
            reached.set()
            hub.woken.wait(30)
        return whole(request)

    monkeypatch.setattr(hub, "answer", answer)
    command = [sys.executable, "-c", UPLOAD, "upload", str(card), str(weights), REPO]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert reached.wait(60)
    time.sleep(0.2)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=20)
    assert time.monotonic() - began < 3
    assert child.returncode == 130
    assert "is broken off. Run the same command again: it goes on." in " ".join(said.split())


ODD = [b"<html>Sign in</html>", b"{}", b"[]", b"null", b"[" * 100_000]


@pytest.mark.parametrize("body", slow_but(ODD, b"{}", ODD[-1]))
@pytest.mark.parametrize("part", ["/api/repos/create", f"/api/models/{REPO}", f"/api/models/{REPO}/commit/main"])
def test_an_odd_answer_to_an_upload_is_told(ready, monkeypatch, part, body):
    hub, card, weights = ready
    whole, odd = hub.answer, page(body, "application/json")
    monkeypatch.setattr(hub, "answer", lambda request: odd if request.path == part else whole(request))
    said = call("upload", card, weights, REPO, code=1)
    assert "Run the same command again: it goes on." in said
    assert "must take what is sent (got: " in said


@pytest.mark.slow
def test_an_upload_has_an_end(ready, monkeypatch):
    hub, card, weights = ready
    monkeypatch.setattr(hub_upload, "_CALLS", 0)
    monkeypatch.setattr(asking, "PATIENCE", 1.0)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    whole = hub.answer

    def answer(request):
        hub.woken.wait(5 if "/commit/" in request.path else 0)
        return whole(request)

    monkeypatch.setattr(hub, "answer", answer)
    said = call("upload", card, weights, REPO, code=1)
    assert "must take what is sent (got: it was not done in" in said


def test_a_password_in_the_address_is_not_told_by_an_upload(ready, monkeypatch):
    hub, card, weights = ready
    address = hub.endpoint.replace("http://", "http://me:password@")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    refused = page(b"", "text/plain", status=507)
    monkeypatch.setattr(hub, "answer", lambda request: refused)
    api = HfApi(endpoint=address)
    with pytest.raises(ConnectionError) as caught, hub_upload._sending(REPO):
        hub_upload.send(api, hub_upload.pack(card, weights, REPO))
    assert "password" not in str(caught.value)
    assert caught.value.__cause__ is None
