"""Which digests the bytes of a card's file are held against."""

from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest

from tests import small
from tests.hub.faults import Fault
from tests.zoo.fetching.served import SOME, flip, read, right
from zoo.fetching import digests
from zoo.fetching.hub import WeightsError
from zoo.fetching.places import store_of
from zoo.fetching.weights import open_weights


def test_strict_verification_lets_no_wrong_byte_through(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_VERIFY", "strict")
    card, data = small.publish(hub, tmp_path, pinned=False)
    hub.faults.append(Fault("wrong"))
    assert right(read(card, SOME), data), "fetched once more"
    other, _ = small.publish(hub, tmp_path, pinned=False, revision="b" * 40, seed=1)
    hub.faults = lambda asked: Fault("wrong") if asked.on == "blob" else None
    with pytest.raises(WeightsError, match=r"must have sha256 [0-9a-f]{64} .*flipped bits"):
        read(other, SOME)
    monkeypatch.setenv("ZOO_VERIFY", "maybe")
    with pytest.raises(ValueError, match="ZOO_VERIFY must be strict or unset"):
        open_weights(card)


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


@pytest.mark.parametrize("pinned", [True, False])
def test_a_file_beside_its_card_has_the_size_that_the_card_states(pinned, hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=pinned)
    (tmp_path / "model.safetensors").write_bytes(data)
    own = {"repo": None, "revision": None, "size": len(data)}
    local = card.model_copy(update={"weights": card.weights.model_copy(update=own)})
    assert right(open_weights(local).read(["half"]), data)
    wrong = local.model_copy(update={"weights": local.weights.model_copy(update={"size": len(data) + 1})})
    with pytest.raises(
        WeightsError, match=rf"must have {len(data) + 1} bytes, as its card says \(got {len(data)}\)\. Copy it anew"
    ):
        open_weights(wrong)


def test_a_file_that_the_card_s_own_sha256_denies_is_refused_at_the_first_byte(hub, tmp_path):
    card, data = small.publish(hub, tmp_path, pinned=False)
    denied = card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(WeightsError, match=rf"must have sha256 {'0' * 64} \(the Hub has {digests.sha256(data)}\)"):
        open_weights(denied)
