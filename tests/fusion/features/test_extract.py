"""Frozen features: images through an encoder, in batches and in their order, without a trace."""

import copy
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from fusion.features import extract
from fusion.features.taps import load
from fusion.selection import candidates
from tests.fusion.estimators.small_models import TRAIN
from tests.small_fits import IMAGES, own


def test_levels_equal_the_truncated_encoders():
    whole = zoo.load("mocov2-mini", 1.0)
    levels = extract.levels(whole, TRAIN.images)
    assert whole.depths == tuple(k / 8 for k in range(1, 9))
    for depth, level in zip(whole.depths, levels, strict=True):
        expected = extract.extract(zoo.load("mocov2-mini", depth), TRAIN.images)
        np.testing.assert_allclose(level, expected, atol=1e-5)
    chunked = extract.extract(whole, TRAIN.images, batch=7)
    np.testing.assert_allclose(chunked, levels[-1], atol=1e-5)
    ends = extract.quarters(whole, TRAIN.images)
    assert all(np.array_equal(a, b) for a, b in zip(ends, levels[1::2], strict=True))


def test_a_pass_leaves_the_encoder_as_it_was(tmp_path):
    encoder = own(tmp_path).train()
    before = copy.deepcopy(encoder.state_dict())
    found = list(extract.batches(encoder, IMAGES, lambda own, x: [own(x), x], batch=10))
    assert [[len(value) for value in part] for part in found] == [[10, 10], [10, 10], [4, 4]]
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    np.testing.assert_array_equal(found[0][1], encoder.preprocess(IMAGES[:10]).numpy())

    def fails(*_):
        raise RuntimeError("in the midst")

    with pytest.raises(RuntimeError, match="in the midst"):
        next(extract.batches(encoder, IMAGES, fails))
    assert encoder.training


def test_features_are_of_the_images_in_their_order(tmp_path):
    encoder = own(tmp_path)
    with torch.no_grad():
        expected = encoder.eval()(encoder.preprocess(IMAGES)).numpy()
    for batch in (1, 7, 64):
        np.testing.assert_allclose(extract.extract(encoder, IMAGES, batch=batch), expected, atol=1e-5)
    np.testing.assert_allclose(extract.extract(encoder, list(IMAGES[::-1])), expected[::-1], atol=1e-5)
    assert extract.extract(encoder, IMAGES).dtype == np.float32


def test_names_are_loaded_and_objects_are_taken_as_they_are(tmp_path):
    encoder = own(tmp_path)
    found = extract.loaded([encoder, "mae-mini@0.25"], "cpu")
    assert found[0] is encoder
    assert found[1].name == "mae-mini@0.25"
    by_name = extract.extract("mae-mini@0.25", IMAGES[:2])
    np.testing.assert_array_equal(by_name, extract.extract(found[1], IMAGES[:2]))


def test_what_cannot_be_loaded_is_one_sentence(tmp_path):
    encoder = own(tmp_path)
    with pytest.raises(ValueError, match=r"encoders must differ in name or depth \(got \['tiny@1', 'tiny@1'\]\)"):
        extract.loaded([encoder, encoder], "auto")
    for device in ("gpu", "cuda:99"):
        with pytest.raises(ValueError, match=rf"device must be auto or one that is there \(got '{device}'\)"):
            extract.loaded([encoder], device)


def test_one_image_is_a_batch_of_one_and_none_of_none(tmp_path):
    encoder = zoo.load("mocov2-mini", 0.25)
    place = tmp_path / ("a long name of a folder " * 5)
    place.mkdir()
    Image.fromarray(TRAIN.images[0]).save(place / "scan.png")
    expected = extract.extract(encoder, TRAIN.images[:1])
    for one in (place / "scan.png", str(place / "scan.png"), Image.fromarray(TRAIN.images[0]), TRAIN.images[0][None]):
        np.testing.assert_allclose(extract.extract(encoder, one), expected, atol=1e-6)
    for none in ([], np.zeros((0, 64, 64), np.uint8), ()):
        assert extract.extract(encoder, none).shape == (0, 32)
        assert [level.shape for level in extract.levels(encoder, none)] == [(0, 32), (0, 32)]


@pytest.mark.parametrize("batch", [0, -1, 1.5, True, None])
def test_a_batch_is_a_number_of_images(batch):
    with pytest.raises(ValueError, match="batch must be an integer from 1"):
        extract.extract("mocov2-mini@0.25", TRAIN.images[:2], batch=batch)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_features_of_encoders_of_any_type_are_float32(kind):
    encoder = zoo.load("mocov2-mini", 0.25).to(kind)
    found = extract.extract(encoder, TRAIN.images[:4])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, extract.extract("mocov2-mini@0.25", TRAIN.images[:4]), atol=0.05)


def test_modes_that_the_caller_chose_stay():
    encoder = zoo.load("mocov2-mini", 0.25).train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    modes = [module.training for module in encoder.modules()]
    for call in (extract.extract, extract.levels, extract.quarters):
        call(encoder, TRAIN.images[:4])
        assert [module.training for module in encoder.modules()] == modes


def test_features_that_are_not_finite_are_refused():
    encoder = zoo.load("mae-mini", 0.25)
    with torch.no_grad():
        next(encoder.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match=r"features of mae-mini@0.25 must be finite .* Check its weights"):
        extract.extract(encoder, np.zeros((2, 64, 64), np.uint8))


@pytest.mark.parametrize("compute", [extract.extract, extract.levels])
@pytest.mark.parametrize("batch", [1, 2, 64])
def test_faint_images_are_told_once_a_call_whatever_the_batches(compute, batch, tmp_path):
    for k in range(5):
        faint = IMAGES[k] // 64 if k else IMAGES[k]  # the first is as it should be
        Image.fromarray(faint).save(tmp_path / f"{k}.png")
    paths, encoder = [tmp_path / f"{k}.png" for k in range(5)], zoo.load("mocov2-mini", 0.25)
    with pytest.warns(UserWarning, match="nearly constant") as caught:
        compute(encoder, paths, batch=batch)
    assert len(caught) == 1
    assert "1.png" in str(caught[0].message)
    assert str(caught[0].message).endswith("So are 3 more of 5 images.")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute(encoder, paths[:1] * 3, batch=batch)


def test_features_after_a_change_are_those_of_changed_pixels():
    found, images = load("mocov2-mini@0.125+0.25"), TRAIN.images[:6]
    views = extract.varied(found, images, [lambda pixels: pixels, lambda pixels: pixels / 2])
    assert [len(view) for view in views] == [2, 2, 2]
    for name, (plain, same, darker) in zip(found.blocks, zip(*views, strict=True), strict=True):
        np.testing.assert_allclose(plain, extract.extract(name, images), atol=1e-6)
        np.testing.assert_allclose(same, plain, atol=1e-4)
        np.testing.assert_allclose(darker, extract.extract(name, images / np.float32(510)), atol=1e-3)


def test_no_block_is_given_twice():
    found = extract.tapped(["mae-mini@0.125+0.25", zoo.load("mocov2-mini@0.25"), load("mae-mini@0.375")], "cpu")
    assert [taps.name for taps in found] == ["mae-mini@0.125+0.25", "mocov2-mini@0.25", "mae-mini@0.375"]
    with pytest.raises(ValueError, match=r"differ in name or depth \(got \['mae-mini@0.125', 'mae-mini@0.25', 'mae-m"):
        extract.tapped(["mae-mini@0.125+0.25", "mae-mini@0.25"], "cpu")


@pytest.mark.parametrize("use", [extract.extract, lambda own, images: candidates.load([own], "cpu")])
def test_where_one_depth_is_wanted_taps_are_refused(use):
    with pytest.raises(TypeError, match=r"names or zoo.Encoder \(got Taps, mae-mini@0.125\+0.25\)\. Pass its .encoder"):
        use(load("mae-mini@0.125+0.25"), TRAIN.images[:2])
