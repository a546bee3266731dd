"""Maps of all blocks against all blocks, streamed, equal what arrays in memory give."""

import copy

import numpy as np
import pytest
import torch

import fusion
import zoo
from fusion.features import extract
from fusion.similarity import compare as compare_
from fusion.similarity import measures
from fusion.similarity.compare import before_after, compare, pairwise
from tests.fusion.similarity.drawn import MANY, at_64, own_twin
from tests.small_fits import IMAGES, LABELS, own


def test_over_batch_sizes_is_the_library_s_minibatch_cka(tmp_path):
    pair = own(tmp_path, "left", seed=2), own(tmp_path, "right", 0.75, seed=3)
    found = compare_.over_batch_sizes(*pair, IMAGES)
    x, y = (extract.extract(encoder, IMAGES) for encoder in pair)
    assert found.sizes == [4, 8, 16]
    for kind, values in ((True, found.debiased), (False, found.biased)):
        expected = [fusion.minibatch_cka(x, y, batch=n, debiased=kind) for n in (4, 8, 16)]
        assert values == pytest.approx(expected, abs=1e-6)
    assert (found.names, found.images) == (("left@1", "right@0.75"), 24)
    many = np.random.default_rng(0).integers(0, 256, (520, 32, 32), dtype=np.uint8)
    found = compare_.over_batch_sizes(*pair, many)
    assert (found.sizes[-1], found.images) == (256, 512)


@pytest.mark.parametrize("measure", ["cka", "biased-cka"])
def test_compare_is_the_measure_of_the_truncated_encoders(pair, measure):
    found = compare(*pair, MANY, measure=measure, batch=32)
    assert (found.first, found.second, found.images) == ("left@1", "right@0.75", 120)
    assert found.depths == (pair[0].depths, pair[1].depths)
    assert found.values.shape == (8, 6)
    x, y = extract.extract(zoo.load("left", 0.5, card=card(pair[0])), MANY), extract.extract(pair[1], MANY)
    expected = measures.cka(x, y, debiased=measure == "cka")
    assert found.values[3, 5] == pytest.approx(expected, abs=1e-6)


def card(encoder):
    return encoder.report.file.replace(".safetensors", ".md")


def test_an_encoder_is_like_itself(pair):
    found = compare(pair[0], pair[0], MANY).values
    np.testing.assert_allclose(found.diagonal(), 1, atol=1e-9)
    np.testing.assert_allclose(found, found.T, atol=1e-9)
    assert found.min() < 0.9


def test_names_are_loaded_and_the_encoders_are_left_as_they_were(pair):
    pair[0].train()
    before = copy.deepcopy(pair[0].state_dict())
    compare(*pair, IMAGES)
    assert pair[0].training
    assert all(torch.equal(value, before[key]) for key, value in pair[0].state_dict().items())
    brain = fusion.brain_regions("validation").images[:16]
    found = compare("mocov2-mini@0.5", "mae-mini@0.25", brain)
    assert found.values.shape == (4, 2)


def test_before_after_shows_what_moved(tmp_path):
    encoder = own(tmp_path)
    settings = fusion.Training(epochs=2, patience=None, learning_rate=0.05)
    model = fusion.FusionClassifier(
        [encoder], strategy="quarter-3", training=settings, folds=2, compare_baselines=False
    )
    model.fit(IMAGES, LABELS)
    (found,) = before_after(model, MANY)
    assert (found.first, found.second) == ("tiny@1", "tiny@1, fine-tuned")
    same = found.values.diagonal()
    np.testing.assert_allclose(same[:4], 1, atol=1e-9)  # the first half is frozen
    assert (same[4:] < 1 - 1e-6).all()
    model.save(tmp_path / "model")
    again = fusion.FusionClassifier.load(tmp_path / "model", encoders=[encoder])
    np.testing.assert_allclose(before_after(again, MANY)[0].values, found.values, atol=1e-9)


def test_origins_of_names_are_loaded_anew():
    images = fusion.brain_regions("train", labels=12)
    model = fusion.FusionClassifier(["mocov2-mini@0.25"], folds=2, compare_baselines=False).fit(
        images.images, images.labels
    )
    (found,) = compare_.origins(model)
    assert found.name == "mocov2-mini@0.25"
    assert found.identity() == zoo.load("mocov2-mini@0.25").identity()


def test_origins_are_told_by_what_they_hold(tmp_path):
    images = fusion.brain_regions("train", labels=12)
    encoder = zoo.load("mocov2-mini@0.25")
    with torch.no_grad():
        next(encoder.parameters()).add_(0.01)
    training = fusion.Training(1, batch=6, patience=None)
    model = fusion.FusionClassifier([encoder], strategy="full", training=training, compare_baselines=False).fit(
        images.images, images.labels
    )
    assert compare_.origins(model)[0] is encoder
    with torch.no_grad():
        next(encoder.parameters()).add_(0.01)  # the caller goes on with it
    message = "mocov2-mini@0.25 must be there as it was before the fit"
    with pytest.raises(ValueError, match=message):
        compare_.origins(model)
    model.save(tmp_path)
    with pytest.raises(ValueError, match=message):
        before_after(fusion.FusionClassifier.load(tmp_path), images.images)


def test_origins_of_several_depths_are_whole_encoders(tmp_path):
    images = fusion.brain_regions("train", labels=12)
    for encoder in ("mocov2-mini@0.125+0.25", fusion.Taps(own(tmp_path, depth=0.5), (0.25, 0.5))):
        model = fusion.FusionClassifier([encoder], folds=2, compare_baselines=False).fit(images.images, images.labels)
        assert compare_.origins(model)[0].identity() == model.encoders_[0].identity()
    assert compare_.origins(model)[0].name == "tiny@0.25+0.5"
    model = fusion.FusionClassifier(["mocov2-mini@0.125+0.25"], folds=2, compare_baselines=False).fit(
        images.images, images.labels
    )
    model.save(tmp_path / "model")
    found = before_after(fusion.FusionClassifier.load(tmp_path / "model"), images.images)
    assert found[0].first == "mocov2-mini@0.125+0.25"
    assert found[0].values.shape == (2, 2)


def test_origins_of_names_beside_objects(tmp_path):
    encoder = own(tmp_path, depth=0.25)
    images = fusion.brain_regions("train", labels=12)
    model = fusion.FusionClassifier([encoder, "mocov2-mini@0.25"], folds=2, compare_baselines=False).fit(
        images.images, images.labels
    )
    first, second = compare_.origins(model)
    assert first.identity() == encoder.identity()
    assert second.name == "mocov2-mini@0.25"
    assert [found.values.diagonal().min() > 1 - 1e-9 for found in before_after(model, images.images)] == [True, True]


def test_changes_leaves_out_two_of_different_sizes(pair):
    other = zoo.untrained("mae-mini", 0.25, size=64)
    sizes = fusion.FusionClassifier([pair[0], other], folds=2, compare_baselines=False).fit(IMAGES, LABELS)
    assert [(found.first, found.second) for found in compare_.changes(sizes, MANY)] == [
        (encoder.name, f"{encoder.name}, fine-tuned") for encoder in (pair[0], other)
    ]
    alike = fusion.FusionClassifier(list(pair), folds=2, compare_baselines=False).fit(IMAGES, LABELS)
    assert len(compare_.changes(alike, MANY)) == 4


def test_pairwise_is_cka_of_the_outputs(pair):
    found = pairwise(pair, MANY)
    np.testing.assert_allclose(found.diagonal(), 1, atol=1e-9)
    assert np.array_equal(found, found.T)
    assert found[0, 1] == pytest.approx(compare(*pair, MANY).values[-1, -1], abs=1e-6)


def test_bad_input(pair, tmp_path):
    with pytest.raises(ValueError, match="measure must be one of cka, biased-cka, cca"):
        compare(*pair, MANY, measure="ckb")
    with pytest.raises(ValueError, match=r"images and batch must be at least 4 \(got 3 and 64\)"):
        compare(*pair, MANY[:3])
    with pytest.raises(ValueError, match=r"N must be above the ranks .* \(got 12\).*Pass at least"):
        compare(*pair, MANY[:12], measure="cca")
    with pytest.raises(ValueError, match=r"images must differ in every block .*block 1 of the first"):
        compare(*pair, np.repeat(MANY[:1], 8, axis=0))
    larger = at_64(pair[1])
    with pytest.raises(ValueError, match=r"see images of one size .*left@1 at 32 and right@0.75 at 64"):
        compare(pair[0], larger, MANY)
    with pytest.raises(ValueError, match=r"see images of one size .*left@1 at 32 and right@0.75 at 64"):
        pairwise([pair[0], larger], MANY)
    broken = own_twin(pair[0])
    with torch.no_grad():
        broken.trunk.layer2[0].conv1.weight.fill_(float("nan"))
    for measure in ("cka", "minibatch-cka"):
        with pytest.raises(ValueError, match=r"features must be finite .*block 3, image 0"):
            compare(pair[0], broken, MANY, measure=measure)
