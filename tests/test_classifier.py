import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score

import zoo
from fusion import FusionClassifier, brain_regions, features
from fusion.heads import HEADS

TRAIN = brain_regions("train", labels=60)
PAIR = ["mocov2-mini@0.5", "mae-mini@0.25"]


@pytest.fixture(scope="module")
def fitted():
    return FusionClassifier(PAIR, C=0.1).fit(TRAIN.images, TRAIN.labels, TRAIN.groups)


def test_string_labels_come_back(fitted):
    predicted = fitted.predict(TRAIN.images)
    assert predicted.dtype == TRAIN.labels.dtype
    assert (predicted == TRAIN.labels).mean() > 0.8
    assert fitted.score(TRAIN.images, TRAIN.labels) == (predicted == TRAIN.labels).mean()
    proba = fitted.predict_proba(TRAIN.images)
    assert proba.shape == (60, 6)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-3)


def test_integer_labels_come_back():
    y = np.where(TRAIN.labels == "deep", 7, 3)
    model = FusionClassifier(PAIR[:1], C=0.1).fit(TRAIN.images, y)
    assert set(model.predict(TRAIN.images).tolist()) <= {3, 7}


@pytest.mark.parametrize("head", HEADS)
def test_every_head_and_its_saved_model(head, tmp_path):
    model = FusionClassifier(PAIR, head=head).fit(TRAIN.images, TRAIN.labels, TRAIN.groups)
    model.save(tmp_path / "model")
    again = FusionClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(TRAIN.images), model.predict_proba(TRAIN.images))
    assert again.predict(TRAIN.images[:3]).tolist() == model.predict(TRAIN.images[:3]).tolist()
    written = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert written == ["ATTRIBUTION.md", "head.safetensors", "model.json"]


def test_a_saved_model_carries_the_terms_of_its_encoders(fitted, tmp_path, tiny):
    fitted.save(tmp_path / "model")
    text = (tmp_path / "model" / "ATTRIBUTION.md").read_text()
    assert "Terms of this model: **permissive**" in text
    assert {f"## {encoder.card.name}" for encoder in fitted.encoders_} <= set(text.splitlines())
    tiny.write_text(tiny.read_text().replace("upstream: apache-2.0", "upstream: cc-by-nc-4.0"))
    with pytest.warns(zoo.LicenceWarning, match="tiny-test has terms that bind its use"):
        own = zoo.load("own", card=tiny)
    FusionClassifier([own, "mocov2-mini@0.5"], C=0.1).fit(TRAIN.images, TRAIN.labels).save(tmp_path / "mixed")
    assert "Terms of this model: **non-commercial**" in (tmp_path / "mixed" / "ATTRIBUTION.md").read_text()


def test_every_kind_of_image_gives_the_same_answer(fitted, tmp_path):
    images = TRAIN.images[:4]
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    expected = fitted.predict_proba(images)
    forms = [paths, [Image.open(p) for p in paths], list(images), images[..., None], images.astype(np.float32) / 255]
    for form in forms:
        np.testing.assert_allclose(fitted.predict_proba(form), expected, atol=1e-5)


def test_a_probe_changes_no_weight_and_no_batchnorm_statistic():
    encoder = zoo.load("mocov2-mini", 0.5)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    encoder.train()
    FusionClassifier([encoder], C=0.1).fit(TRAIN.images, TRAIN.labels)
    assert encoder.training
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_clone_and_cross_validation_with_groups_and_two_jobs():
    model = FusionClassifier(PAIR, C=0.1, folds=2)
    assert clone(model).get_params() == model.get_params()
    scores = cross_val_score(
        model, TRAIN.images, TRAIN.labels, groups=TRAIN.groups, cv=GroupKFold(3), n_jobs=2, error_score="raise"
    )
    assert scores.shape == (3,)
    assert scores.mean() > 1 / 6


def test_an_encoder_object_is_cloned_and_fitted():
    model = clone(FusionClassifier([zoo.load("mae-mini", 0.25)], C=0.1))
    assert model.fit(TRAIN.images, TRAIN.labels).encoders_[0].name == "mae-mini@0.25"


def test_the_same_seed_gives_the_same_model():
    first, again = (FusionClassifier(PAIR, seed=3).fit(TRAIN.images, TRAIN.labels) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(TRAIN.images), again.predict_proba(TRAIN.images))


def test_no_fold_splits_a_group():
    model = FusionClassifier(PAIR)
    y = np.searchsorted(np.unique(TRAIN.labels), TRAIN.labels)
    for train, test in model._folds(y, TRAIN.groups):
        assert not set(TRAIN.groups[train]) & set(TRAIN.groups[test])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"head": "sum"}, r"head must be one of \['concat', 'convex', 'mean', 'stack'\] \(got 'sum'\)"),
        ({"strategy": "full"}, r"strategy must be 'probe' \(got 'full'\)"),
        ({"encoders": []}, r"encoders must be a list of names \(got \[\]\)"),
        ({"encoders": "mocov2-mini"}, r"encoders must be a list of names \(got 'mocov2-mini'\)"),
        ({"encoders": ["mocov2-mimi"]}, r"name must be a known checkpoint .*Nearest: mocov2-mini"),
        ({"C": [0.1]}, "C must be positive, one or one per encoder"),
        ({"C": -1.0}, "C must be positive"),
        ({"folds": 11}, r"folds must be from 2 to the images of the rarest class, 10 \(got 11\)"),
        ({"folds": 1}, "folds must be from 2"),
        ({"folds": 7}, r"folds must not exceed the groups, 6 \(got 7\)"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        FusionClassifier(**{"encoders": PAIR, **parameters}).fit(TRAIN.images, TRAIN.labels, TRAIN.groups)


@pytest.mark.parametrize(
    ("y", "groups", "message"),
    [
        (TRAIN.labels[:-1], None, r"y must be one label per image, 60 \(got shape \(59,\)\)"),
        (np.full(60, "deep"), None, r"y must hold at least two classes \(got \['deep'\]\)"),
        (np.linspace(0, 1, 60), None, "y must hold classes"),
        (np.zeros((60, 2)), None, "y must be one label per image"),
        (TRAIN.labels, TRAIN.groups[:-1], "groups must be one per image"),
    ],
)
def test_bad_labels_and_groups(y, groups, message):
    with pytest.raises(ValueError, match=message):
        FusionClassifier(PAIR).fit(TRAIN.images, y, groups)


def test_an_unfitted_model_neither_predicts_nor_saves(tmp_path):
    with pytest.raises(NotFittedError, match="must be fitted before it predicts"):
        FusionClassifier(PAIR).predict(TRAIN.images)
    with pytest.raises(NotFittedError, match="must be fitted before it is saved"):
        FusionClassifier(PAIR).save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_of_another_encoder_or_format_is_refused(fitted, tmp_path):
    fitted.save(tmp_path)
    with pytest.raises(ValueError, match="encoder must be the one of the fit"):
        FusionClassifier.load(tmp_path, encoders=[zoo.load("mae-mini@0.5"), zoo.load("mae-mini@0.25")])
    record = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(OSError, match="must hold a saved model"):
        FusionClassifier.load(tmp_path)
    with pytest.raises(OSError, match="must hold a saved model"):
        FusionClassifier.load(tmp_path / "nowhere")


def test_an_own_encoder_is_handed_over_on_load(tiny, tmp_path):
    own = zoo.load("own", card=tiny)
    model = FusionClassifier([own], C=0.1).fit(TRAIN.images, TRAIN.labels)
    model.save(tmp_path / "model")
    with pytest.raises(zoo.CardError, match="must be a known checkpoint"):
        FusionClassifier.load(tmp_path / "model")
    again = FusionClassifier.load(tmp_path / "model", encoders=[own])
    np.testing.assert_array_equal(again.predict_proba(TRAIN.images), model.predict_proba(TRAIN.images))


def test_levels_equal_the_truncated_encoders():
    levels = features.levels(zoo.load("mocov2-mini", 1.0), TRAIN.images)
    for depth, level in zip((0.25, 0.5, 0.75, 1.0), levels, strict=True):
        expected = features.extract(zoo.load("mocov2-mini", depth), TRAIN.images)
        np.testing.assert_allclose(level, expected, atol=1e-5)
    chunked = features.extract(zoo.load("mocov2-mini", 1.0), TRAIN.images, batch=7)
    np.testing.assert_allclose(chunked, levels[-1], atol=1e-5)


def test_levels_need_average_pooling():
    encoder = zoo.load("mocov2-mini")
    encoder.card = encoder.card.model_copy(update={"pool": "cls"})
    with pytest.raises(ValueError, match="pool must be avg for levels"):
        features.levels(encoder, TRAIN.images)
