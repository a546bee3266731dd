"""Order and variation of batches, by seed, epoch and image."""

import warnings
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image

from fusion.data.augmentation import augment
from fusion.data.samples import Samples
from fusion.tuning.batches import Collate, Doubts, Order, Shuffled, loader
from fusion.tuning.loop import Fit
from fusion.tuning.settings import Training
from fusion.tuning.strategies import plan
from tests.small_fits import COUNT, IMAGES, LABELS, TRAIN, fused, own, solve


def vary(pixels, seeds):
    return augment(pixels, "mr", seeds)


def shuffled(encoders, batch=8, seed=0, vary=vary, workers=0, examples=TRAIN):
    return Shuffled(examples, encoders, batch, seed, vary=vary, workers=workers)


def indices(batches, epoch):
    batches.set_epoch(epoch)
    return [batch["index"].tolist() for batch in batches.loader]


def test_the_order_depends_on_seed_and_epoch_only(encoder):
    batches = shuffled([encoder])
    first, second = indices(batches, 0), indices(batches, 1)
    torch.manual_seed(99)
    torch.rand(7)
    assert indices(batches, 0) == indices(shuffled([encoder]), 0) == first
    assert indices(shuffled([encoder], batch=4, vary=None), 1) == [row[i : i + 4] for row in second for i in (0, 4)]
    assert first != second
    assert indices(shuffled([encoder], seed=1), 0) not in (first, second)
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(COUNT))
    order = Order(COUNT, 5)
    order.epoch = 3
    assert list(order) == np.random.default_rng([5, 3]).permutation(COUNT).tolist()
    assert len(order) == COUNT


def test_a_last_batch_that_is_not_full_waits_and_a_large_one_is_all(encoder):
    assert [len(row) for row in indices(shuffled([encoder], batch=9), 0)] == [9, 9]
    assert [len(row) for row in indices(shuffled([encoder], batch=99), 0)] == [COUNT]


def test_the_global_random_state_is_not_drawn_from(encoder):
    before = torch.get_rng_state()
    indices(shuffled([encoder]), 0)
    assert torch.equal(before, torch.get_rng_state())


def test_an_augmentation_depends_on_image_seed_and_epoch_only(encoder):
    collate = Collate(TRAIN, [encoder], vary, 0)
    alone = torch.cat([collate([i])["images"][0] for i in range(8)])
    together = collate(list(range(8)))["images"][0]
    backwards = collate(list(range(8))[::-1])["images"][0].flip(0)
    assert torch.equal(alone, together)
    assert torch.equal(backwards, together)
    collate.epoch = 1
    assert not torch.equal(collate([0])["images"][0], together[:1])
    assert not torch.equal(Collate(TRAIN, [encoder], vary, 1)([0])["images"][0], together[:1])
    twins = Samples(np.stack([IMAGES[0]] * 2), LABELS[:2])
    first, second = Collate(twins, [encoder], vary, 0)([0, 1])["images"][0]
    assert not torch.equal(first, second)


def test_without_variation_a_batch_is_what_preprocess_gives(encoder):
    batch = Collate(TRAIN, [encoder], None, 0)([5, 2])
    assert torch.equal(batch["images"][0], encoder.preprocess(IMAGES[[5, 2]]))
    assert batch["target"].tolist() == LABELS[[5, 2]].tolist()
    assert batch["index"].tolist() == [5, 2]
    unchanged = Collate(TRAIN, [encoder], lambda pixels, seeds: pixels, 0)([5, 2])
    torch.testing.assert_close(unchanged["images"][0], batch["images"][0])


def test_an_augmentation_sees_pixels_from_0_to_1_whatever_the_card_says(encoder, tmp_path):
    text = encoder.card.path.read_text()
    (tmp_path / "wide.md").write_text(
        text.replace("mean: [0.5]", "range: [0, 255], mean: [99.0]").replace("0.25", "40.0")
    )
    (tmp_path / "wide.safetensors").write_bytes((tmp_path / "tiny.safetensors").read_bytes())
    (tmp_path / "wide.md").write_text((tmp_path / "wide.md").read_text().replace("tiny.saf", "wide.saf"))
    wide, seen = own(tmp_path, "wide"), []
    Collate(TRAIN, [encoder, wide], lambda pixels, seeds: seen.append(pixels) or pixels, 0)([0, 1, 2])
    torch.testing.assert_close(seen[0], seen[1], atol=1e-6, rtol=0)
    np.testing.assert_allclose(seen[0][:, 0], IMAGES[:3] / 255, atol=1e-6)


def test_two_encoders_see_the_same_view(encoder, tmp_path):
    other = own(tmp_path, "other", 0.5, seed=3)
    first, second = Collate(TRAIN, [encoder, other], vary, 0)([3, 4])["images"]
    assert torch.equal(first, second)


def test_worker_processes_give_the_same_batches(encoder):
    ours, theirs = shuffled([encoder]), shuffled([encoder], workers=1)
    for epoch in (0, 1):
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        for a, b in zip(ours.loader, theirs.loader, strict=True):
            assert a["index"].tolist() == b["index"].tolist()
            assert torch.equal(a["images"][0], b["images"][0])


def test_the_loader_of_validation_keeps_order_and_all_images(encoder):
    rows = [batch["index"].tolist() for batch in loader(TRAIN, [encoder], 7)]
    assert [len(row) for row in rows] == [7, 7, 7, 3]
    assert list(chain(*rows)) == list(range(COUNT))


def faint(count):
    """Float images of hardly any contrast."""
    return list(np.random.default_rng(0).integers(100, 104, (count, 32, 32)).astype(np.float32) / 255)


def test_doubts_travel_with_their_batch_and_are_told_once(encoder, tmp_path):
    other = own(tmp_path, "other", 0.5, seed=3)
    places, told = Samples([*faint(5), *(IMAGES[:2] / np.float32(255))], LABELS[:7]), Doubts([encoder, other])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = [told.heard(batch) for batch in loader(places, [encoder, other], 3)]
    assert [[len(found) for found in batch["doubts"]] for batch in batches] == [[3, 3], [2, 2], [0, 0]]
    with pytest.warns(UserWarning, match=r"nearly constant .* So are 4 more of 7 images\.$") as caught:
        told.tell()
    told.heard(batches[0])
    told.tell()
    assert len(caught) == 1


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_fit_on_faint_images_says_so_once(encoder, workers):
    images, held = faint(COUNT), Samples(faint(8), LABELS[:8])
    network, settings = fused([encoder]), Training(epochs=3, batch=8, workers=workers)
    fit = Fit(network, plan("full", [encoder], 3), Samples(images, LABELS), held, settings, device="cpu")
    with pytest.warns(UserWarning, match="nearly constant") as caught:
        fit.run(solve, {})
    assert len([note for note in caught if "nearly constant" in str(note.message)]) == 1


def test_files_and_several_labels(encoder, tmp_path):
    for i in range(3):
        Image.fromarray(IMAGES[i]).save(tmp_path / f"{i}.png")
    files = [tmp_path / f"{i}.png" for i in range(3)]
    labels = np.array([[0, 1], [1, 1], [0, 0]])
    examples = Samples(files, labels)
    assert len(examples) == 3
    assert [examples.name(1), Samples(IMAGES, LABELS).name(1)] == [str(files[1]), "image 1"]
    batch = Collate(examples, [encoder], None, 0)([2, 0])
    assert batch["target"].tolist() == [[0, 0], [0, 1]]
    assert torch.equal(batch["images"][0], encoder.preprocess(IMAGES[[2, 0]]))
