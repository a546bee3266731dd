"""Every byte a load uses is hashed at that load; a flipped bit elsewhere is caught by `zoo verify --whole`."""

import random
import shutil
from pathlib import Path

import huggingface_hub
import pytest

import zoo
from tests import small
from tests.hub.faults import Fault
from tests.test_fetching import read, right
from zoo.fetching import digests, opened
from zoo.fetching.hub import WeightsError
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights
from zoo.upkeep import golden
from zoo.upkeep.verification import verify


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def flip_a_piece(card, names, draw):
    """One bit of the header or of a tensor called in `names`, as the cache holds it."""
    spans = opened.headers.parse(store_of(card).get(["header"])["header"]).spans
    keys = {"header", *(opened.key(spans[name]) for name in names)}
    paths = [path for path in store_of(card).folder.iterdir() if path.stem in keys and path.stat().st_size]
    path = draw.choices(paths, [path.stat().st_size for path in paths])[0]
    flip(path, draw.randrange(8 * path.stat().st_size))


@pytest.mark.parametrize("pinned", [True, False])
def test_200_flipped_bits_of_the_cache_are_caught_at_the_load(hub, tmp_path, pinned, monkeypatch):
    card, data = small.publish(hub, tmp_path, pinned=pinned, count=4, size=400)
    names = ["layer1.weight", "layer2.weight", "half", "count"]
    read(card)
    draw = random.Random(1)
    for _ in range(100):
        flip_a_piece(card, names, draw)
        assert right(read(card, names), data), "fetched once more"
        assert store_of(card).spoilt()
        flip_a_piece(card, names, draw)
        with monkeypatch.context() as cut_off:
            cut_off.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
            with pytest.raises(WeightsError, match="cannot be fetched"):
                read(card, names)
        assert right(read(card, names), data)


@pytest.mark.parametrize("known", ["card", "hub", "whole file"])
def test_200_flipped_bits_of_a_whole_file_are_caught_at_the_load(hub, tmp_path, known):
    card, data = small.publish(hub, tmp_path, pinned=known == "card", beside=known == "hub", count=4, size=400)
    read(card, whole=True)
    names = ["layer1.weight", "half", "count"]
    spans = open_weights(card).header.spans
    used = [(0, opened.headers.stop(data[:8]))] + [(spans[name].start, spans[name].stop) for name in names]
    draw = random.Random(2)
    for _ in range(200):
        path = zoo.fetching.hub.Remote(small.REPO, small.REVISION, small.FILE).cached
        start, stop = draw.choices(used, [stop - start for start, stop in used])[0]
        flip(path, draw.randrange(8 * start, 8 * stop))
        assert path.read_bytes() != data
        file = open_weights(card)
        assert right(file.read(names), data), "put aside and fetched once more"
        assert (file.verified, path.read_bytes()) == (known, data)


def test_a_small_file_kept_in_git_is_checked_by_gits_own_hash(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.hub.loopback.LFS", ())
    card, data = small.publish(hub, tmp_path, pinned=False, count=2, size=100)
    assert right(read(card), data), "by ranges, as any"
    assert right(read(card, whole=True), data)
    assert open_weights(card).verified == "whole file"
    path = zoo.fetching.hub.Remote(small.REPO, small.REVISION, small.FILE).cached
    assert opened.digest(path).file == digests.sha256(data)
    store_of(card).quarantine(["whole"])
    flip(path, 3)
    assert right(read(card), data), "put aside and fetched once more"
    hub.serve(small.REPO, small.REVISION, {small.FILE: data[:-1] + b"x"})
    store_of(card).quarantine(["whole"])
    flip(path, 3)
    with pytest.raises(WeightsError, match=r"must have git sha1 [0-9a-f]{40} \(got"):
        read(card)


def test_a_flip_elsewhere_waits_for_the_load_that_needs_it(hub, tmp_path):
    card, data = small.publish(hub, tmp_path)
    read(card)
    span = open_weights(card).header.spans["layer3.weight"]
    flip(next(store_of(card).folder.glob(f"{opened.key(span)}.*")), 7)
    assert right(read(card, ["layer1.weight"]), data)
    assert not store_of(card).spoilt()
    assert right(read(card, ["layer3.weight"]), data)
    assert store_of(card).spoilt() == {opened.key(span)}


def test_what_a_first_use_recorded_holds_from_then_on(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    assert right(read(card, ["layer1.weight"]), data)
    other, _ = small.publish(hub, tmp_path, pinned=False, seed=1)
    for path in store_of(card).folder.glob("*-*.*"):
        flip(path, 0)
    with pytest.raises(WeightsError, match="must be the file that its header is of"):
        read(other, ["layer1.weight"])
    hub.serve(small.REPO, small.REVISION, {small.FILE: data})
    assert right(read(other, ["layer1.weight"]), data)


def test_a_digest_file_is_itself_pinned(hub, tmp_path):
    card, _ = small.publish(hub, tmp_path)
    listed = tmp_path / "digests" / "small-test.json"
    listed.write_bytes(listed.read_bytes() + b" ")
    with pytest.raises(WeightsError, match=r"small-test.json must have the sha256 that the card names"):
        read(card)


def test_digests_beside_the_weights(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False, beside=True)
    assert open_weights(card).verified == "hub"
    assert right(read(card), data)
    hub.forget()
    flip(next(store_of(card).folder.glob("digests.*")), 5)
    assert right(read(card), data), "the digests are hashed too, and fetched once more"
    other, _ = small.publish(hub, tmp_path, pinned=True, beside=True, revision="b" * 40)
    assert open_weights(other).verified == "card", "the card names their sha256"
    hub.serve(small.REPO, "c" * 40, {small.FILE: data, "digests.json": b'{"header": 1}'})
    broken = other.model_copy(update={"weights": card.weights.model_copy(update={"revision": "c" * 40})})
    assert open_weights(broken).verified == "first-use", "another tool's file of that name"
    pinned = other.model_copy(update={"weights": other.weights.model_copy(update={"revision": "c" * 40})})
    with pytest.raises(WeightsError, match=r"digests.json must have the sha256 that the card names"):
        open_weights(pinned)


def test_digests_damaged_on_the_way_are_fetched_anew(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False, beside=True)
    path = Path(huggingface_hub.hf_hub_download(small.REPO, "digests.json", revision=small.REVISION))
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    with pytest.raises(
        WeightsError, match=r"lab/small/digests.json must be the published file \(got other bytes\)\. Load"
    ):
        open_weights(card)
    assert right(read(card), data)


def test_pinned_digests_that_are_nowhere_are_no_first_use(hub, tmp_path):
    card, data = small.publish(hub, tmp_path)
    (tmp_path / "digests" / "small-test.json").unlink()
    with pytest.raises(WeightsError, match=r"lab/small/digests.json must have the sha256 that the card names"):
        open_weights(card)
    beside = tmp_path / "model.safetensors"
    beside.write_bytes(data)
    local = card.model_copy(update={"weights": card.weights.model_copy(update={"repo": None, "revision": None})})
    with pytest.raises(WeightsError, match=r"small-test.json must be there: the card pins it"):
        open_weights(local)
    small.publish(hub, tmp_path)
    assert right(open_weights(local).read(["half"]), data)
    flip(beside, 8 * 900)
    with pytest.raises(WeightsError, match=r"model.safetensors must "):
        read(local)


def test_a_file_that_the_card_s_own_sha256_denies_is_refused_at_the_first_byte(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    denied = card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(WeightsError, match=rf"must have sha256 {'0' * 64} \(the Hub has {digests.sha256(data)}\)"):
        open_weights(denied)


def test_a_file_that_changes_behind_its_header_is_refused(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    read(card, ["half"])
    _, other = small.publish(hub, tmp_path, pinned=False, seed=1)
    assert len(other) == len(data)
    with pytest.raises(WeightsError, match="must be the file that its header is of"):
        read(card, ["layer1.weight"])
    with pytest.raises(WeightsError, match="Load once with whole=True"):
        read(card, ["layer2.weight"])
    assert right(read(card, whole=True), other)
    shutil.rmtree(tmp_path / "hub-cache")
    assert right(read(card), other), "nothing of the old one is left in use"


def test_a_wrong_first_use_recovers_once_the_whole_file_was_right(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    file = open_weights(card)
    hub.faults.append(Fault("wrong"))
    assert not right(file.read(["layer1.weight"]), data)
    assert right(read(card, ["layer1.weight"], whole=True), data)
    shutil.rmtree(tmp_path / "hub-cache")
    flip(next(store_of(card).folder.glob("whole.*")), 9)
    again = open_weights(card)
    assert (again.verified, right(again.read(["layer1.weight"]), data)) == ("first-use", True), (
        "the disproved digest is gone"
    )


def test_a_tensor_that_the_digests_do_not_list_is_refused(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    own = tmp_path / "own.safetensors"
    own.write_bytes(data)
    listed = opened.digest(own)
    fewer = listed.model_copy(update={"tensors": {k: v for k, v in listed.tensors.items() if k != "half"}})
    hub.serve(small.REPO, small.REVISION, {small.FILE: data, "digests.json": digests.dump(fewer)})
    assert right(read(card, ["count"]), data)
    with pytest.raises(WeightsError, match="the Hub sent others for half"):
        read(card, ["half"])


# zoo verify


@pytest.fixture
def served(hub, tiny, tmp_path, monkeypatch):
    """`tiny-test` on the Hub with its digests and golden features pinned in the card."""
    data = tiny.with_name("tiny-test.safetensors").read_bytes()
    hub.serve("lab/tiny", "c" * 40, {"tiny-test.safetensors": data})
    values = {f"{depth:g}": golden.values(zoo.load("tiny", depth, card=tiny)) for depth in golden.DEPTHS}
    listed = opened.digest(tiny.with_name("tiny-test.safetensors")).model_copy(update={"golden": values})
    return pin(tiny, listed, monkeypatch)


def pin(card, listed, monkeypatch):
    (card.parent / "digests").mkdir(exist_ok=True)
    (card.parent / "digests" / "tiny-test.json").write_bytes(digests.dump(listed))
    monkeypatch.setenv("ZOO_CARDS", str(card.parent))
    text = card.read_text()
    if "repo: null" in text:
        own = f'repo: lab/tiny, revision: "{"c" * 40}", digests: "{digests.sha256(digests.dump(listed))}"'
        card.write_text(text.replace("repo: null", own))
    return listed


@pytest.mark.usefixtures("served")
def test_verify_compares_bytes_and_golden_features(hub):
    verdict = verify("tiny-test")
    assert (verdict.name, verdict.verified, verdict.mended) == ("tiny-test", "card", ())
    assert verdict.tensors[0] < verdict.tensors[1]
    assert list(verdict.cosines) == ["0.5"], "the depth of the card is 0.75"
    assert verdict.cosines["0.5"] > 0.99999
    whole = verify("tiny-test", whole=True)
    assert whole.tensors[0] == whole.tensors[1] == verdict.tensors[1]
    assert list(whole.cosines) == ["0.5", "1"]


@pytest.mark.usefixtures("served")
def test_verify_whole_catches_a_flip_that_no_load_has_met(hub):
    zoo.load("tiny-test", 1.0)
    card = zoo.card("tiny-test")
    span = open_weights(card).header.spans["layer4.1.bn2.bias"]
    flip(next(store_of(card).folder.glob(f"{opened.key(span)}.*")), 3)
    assert zoo.load("tiny-test", 0.5)
    assert verify("tiny-test", whole=True).mended == (opened.key(span),)
    path = zoo.fetching.hub.Remote(card.weights.repo, card.weights.revision, card.weights.file).cached
    flip(path, 8 * span.start)
    assert zoo.load("tiny-test", 0.5)
    assert verify("tiny-test", whole=True).mended == ("tiny-test.safetensors",)
    assert zoo.load("tiny-test", 1.0)


def test_other_features_are_refused(served, tiny, monkeypatch):
    far = {depth: [-value for value in values] for depth, values in served.golden.items()}
    changed = served.model_copy(update={"golden": far})
    tiny.write_text(
        tiny.read_text().replace(digests.sha256(digests.dump(served)), digests.sha256(digests.dump(changed)))
    )
    pin(tiny, changed, monkeypatch)
    with pytest.raises(WeightsError, match=r"tiny-test must give its golden features \(got cosines \{'0.5': -"):
        verify("tiny-test")


@pytest.mark.parametrize("name", ["mocov2-mini", "mae-mini"])
def test_the_embedded_pair_is_verified_with_its_golden_features(name):
    verdict = verify(name)
    assert verdict.verified == "card"
    assert verdict.tensors[0] == verdict.tensors[1] > 100
    assert min(verify(name, whole=True).cosines.values()) > 0.99999


def test_the_fixed_input_and_the_cosine():
    card = zoo.card("mocov2-chest")
    x = golden.fixed_input(card)
    assert x.shape == (1, 3, 224, 224)
    assert (x.abs().max() <= 1) & (x.std() > 0.3)
    assert golden.cosine([1.0, 0.0], [0.0, 1.0]) == 0
    assert golden.cosine([3.0, 4.0], [6.0, 8.0]) == pytest.approx(1)
    assert golden.cosine([1.0], [1.0, 2.0]) == -1
    assert golden.cosine([0.0], [0.0]) == 1
    assert golden.cosine([0.0], [1.0]) == 0
