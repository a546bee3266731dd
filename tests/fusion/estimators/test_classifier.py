"""The classifier: what it is given and what it answers."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score

import zoo
from fusion import FusionClassifier, Phase, Taps, brain_regions, contributions, evaluate
from fusion.heads.solved import SOLVED
from tests.fusion.estimators.small_models import HELD, PAIR, SHORT, TRAIN

SMALL = ["mae-mini@0.25", "mae-mini@0.5"]
LISTS = [["deep"] if label == "deep" else ["lobe"] if label != "cerebellum" else [] for label in TRAIN.labels]
TABLE = np.array([["deep" in labels, "lobe" in labels] for labels in LISTS]).astype(int)


@pytest.fixture(scope="module")
def fitted():
    return FusionClassifier(PAIR, C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels, TRAIN.groups)


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
    model = FusionClassifier(PAIR[:1], C=0.1, compare_baselines=False).fit(TRAIN.images, y)
    assert set(model.predict(TRAIN.images).tolist()) <= {3, 7}


@pytest.mark.parametrize("head", SOLVED)
def test_every_head_and_its_saved_model(head, tmp_path):
    model = FusionClassifier(PAIR, head=head, C=0.1, compare_baselines=False).fit(
        TRAIN.images, TRAIN.labels, TRAIN.groups
    )
    model.save(tmp_path / "model")
    again = FusionClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(TRAIN.images), model.predict_proba(TRAIN.images))
    assert again.predict(TRAIN.images[:3]).tolist() == model.predict(TRAIN.images[:3]).tolist()
    written = sorted(path.name for path in (tmp_path / "model").iterdir() if path.name != ".lock")
    assert [re.sub("-[0-9a-f]{16}", "", name) for name in written] == [
        *("ATTRIBUTION.md", "head.safetensors", "model.json")
    ]


def test_a_saved_model_carries_the_terms_of_its_encoders(fitted, tmp_path, tiny):
    fitted.save(tmp_path / "model")
    text = (tmp_path / "model" / "ATTRIBUTION.md").read_text()
    assert "Terms of this model: **permissive**" in text
    assert {f"## {encoder.card.name}" for encoder in fitted.encoders_} <= set(text.splitlines())
    tiny.write_text(tiny.read_text().replace("upstream: apache-2.0", "upstream: cc-by-nc-4.0"))
    with pytest.warns(zoo.LicenceWarning, match="tiny-test has terms that bind its use"):
        own = zoo.load("own", card=tiny)
    FusionClassifier([own, "mocov2-mini@0.5"], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels).save(
        tmp_path / "mixed"
    )
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
    FusionClassifier([encoder], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    assert encoder.training
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


@pytest.mark.slow
def test_clone_and_cross_validation_with_groups_and_two_jobs():
    model = FusionClassifier(PAIR, C=0.1, folds=2, compare_baselines=False)
    assert clone(model).get_params() == model.get_params()
    scores = cross_val_score(
        model, TRAIN.images, TRAIN.labels, groups=TRAIN.groups, cv=GroupKFold(3), n_jobs=2, error_score="raise"
    )
    assert scores.shape == (3,)
    assert scores.mean() > 1 / 6


def test_an_encoder_object_is_cloned_and_fitted():
    model = clone(FusionClassifier([zoo.load("mae-mini", 0.25)], C=0.1, compare_baselines=False))
    assert model.fit(TRAIN.images, TRAIN.labels).encoders_[0].name == "mae-mini@0.25"


def test_the_same_seed_gives_the_same_model():
    first, again = (
        FusionClassifier(PAIR, seed=3, compare_baselines=False).fit(TRAIN.images, TRAIN.labels) for _ in range(2)
    )
    np.testing.assert_array_equal(first.predict_proba(TRAIN.images), again.predict_proba(TRAIN.images))


@pytest.mark.parametrize(
    ("y", "groups", "message"),
    [
        (TRAIN.labels[:-1], None, r"y must be one label per image, 60 \(got shape \(59,\)\)"),
        (np.full(60, "deep"), None, r"y must hold at least two classes \(got \['deep'\]\)"),
        (np.linspace(0, 1, 60), None, "y must hold classes"),
        (np.zeros((60, 1)), None, r"y must be one label per image, 60 \(got shape \(60, 1\)\)"),
        (np.zeros((60, 2)), None, r"every label must have images with and without it \(not \[0, 1\]\)"),
        (TRAIN.labels, TRAIN.groups[:-1], "groups must be one per image"),
    ],
)
def test_bad_labels_and_groups(y, groups, message):
    with pytest.raises(ValueError, match=message):
        FusionClassifier(PAIR, compare_baselines=False).fit(TRAIN.images, y, groups)


def test_an_unfitted_model_neither_predicts_nor_saves(tmp_path):
    with pytest.raises(NotFittedError, match="must be fitted before it predicts"):
        FusionClassifier(PAIR, compare_baselines=False).predict(TRAIN.images)
    with pytest.raises(NotFittedError, match="must be fitted before it is saved"):
        FusionClassifier(PAIR, compare_baselines=False).save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_own_encoder_is_handed_over_on_load(tiny, tmp_path):
    own = zoo.load("own", card=tiny)
    model = FusionClassifier([own], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    model.save(tmp_path / "model")
    for again in (
        FusionClassifier.load(tmp_path / "model", encoders=[own]),
        FusionClassifier.load(tmp_path / "model"),  # the folder holds the card and all weights
    ):
        np.testing.assert_array_equal(again.predict_proba(TRAIN.images), model.predict_proba(TRAIN.images))


@pytest.mark.parametrize(
    "strategy",
    [
        ["quarter-2", "probe"],
        {"mocov2-mini": "quarter-2", "mae-mini": "probe"},
        {"mae-mini@0.25": [Phase(solve=True)], "mocov2-mini@0.5": [{"rates": {"quarter-2": 1.0}}]},
    ],
)
def test_each_encoder_has_its_strategy(strategy):
    model = FusionClassifier(PAIR, C=0.1, strategy=strategy, training=SHORT, compare_baselines=False).fit(
        TRAIN.images, TRAIN.labels
    )
    assert model.changed_[0]
    assert all(name.startswith("trunk.layer2.") for name in model.changed_[0])
    assert model.changed_[1] == set()
    assert model.trained_ == 96 * 6 + 6 + sum(p.numel() for p in model.encoders_[0].trunk.layer2.parameters())


@pytest.mark.parametrize("head", ["concat", "mean", "gated", "attention"])
def test_answers_without_an_encoder(head, monkeypatch):
    monkeypatch.setattr("fusion.heads.optimum._STEPS", 50)
    model = FusionClassifier(SMALL, head, C=0.3, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    whole = model.predict_proba(HELD.images)
    alone = [model.predict_proba(HELD.images, without=[name]) for name in SMALL]
    for proba in alone:
        np.testing.assert_allclose(proba.sum(1), 1, atol=1e-3)
    assert not np.allclose(alone[0], alone[1])
    assert not np.allclose(whole, alone[0])
    if head == "mean":
        joined = np.exp(np.mean(np.log(alone), axis=0))
        np.testing.assert_allclose(whole, joined / joined.sum(1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("without", [PAIR, ["mae-mini"], "mae-mini@0.25", ["mae-mini@0.25", "nobody"]])
def test_without_names_encoders_but_not_all(without, fitted):
    message = r"without must name encoders of \['mocov2-mini@0.5', 'mae-mini@0.25'\], not all \(got .*\)\. Keep one"
    with pytest.raises(ValueError, match=message):
        fitted.predict_proba(HELD.images, without=without)


def test_an_encoder_of_several_depths_counts_once():
    model = FusionClassifier(["mocov2-mini@0.25+0.5", "mae-mini@0.25"], C=0.1, compare_baselines=False).fit(
        TRAIN.images, TRAIN.labels
    )
    names = ["mocov2-mini@0.25+0.5", "mae-mini@0.25"]
    assert [taps.name for taps in model.taps_] == [encoder.name for encoder in model.encoders_] == names
    assert list(contributions(model, HELD.images, HELD.labels, HELD.groups, resamples=50)) == names
    with pytest.raises(ValueError, match=r"without must name encoders of \['mocov2-mini@0.25\+0.5', 'mae-mini@0.25'\]"):
        model.predict_proba(HELD.images, without=["mocov2-mini@0.5"])
    model.head_.probe.weight[:, 96:] = 0  # as a fit leaves the other out
    with pytest.warns(UserWarning, match=r"without \['mocov2-mini@0.25\+0.5'\] all images get one answer"):
        model.predict_proba(HELD.images[:2], without=names[:1])


def test_a_loaded_encoder_is_tapped_where_it_is_told_to_be():
    encoder = zoo.load("mae-mini@0.5")
    told = FusionClassifier([Taps(encoder, (0.25, 0.5))], C=0.1, compare_baselines=False).fit(
        TRAIN.images, TRAIN.labels
    )
    named = FusionClassifier(["mae-mini@0.25+0.5"], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    np.testing.assert_array_equal(told.predict_proba(HELD.images), named.predict_proba(HELD.images))
    assert told.encoders_[0] is not encoder
    assert (encoder.name, told.encoders_[0].name) == ("mae-mini@0.5", "mae-mini@0.25+0.5")


def test_one_encoder_twice_at_other_depths_is_two():
    encoder = zoo.load("mae-mini@0.5")
    model = FusionClassifier([Taps(encoder, (0.125, 0.25)), Taps(encoder, (0.375, 0.5))], C=0.1)
    model.fit(TRAIN.images, TRAIN.labels)
    names = ["mae-mini@0.125+0.25", "mae-mini@0.375+0.5"]
    assert [own.name for own in model.encoders_] == names
    assert list(contributions(model, HELD.images, HELD.labels, HELD.groups, resamples=20)) == names


def test_a_pickle_from_before_there_were_taps_answers(fitted):
    before = fitted.__getstate__() | {"encoders_": fitted.encoders_}
    del before["taps_"]
    again = FusionClassifier.__new__(FusionClassifier)
    again.__setstate__(before)
    assert again.encoders_ == fitted.encoders_
    np.testing.assert_array_equal(again.predict_proba(HELD.images[:4]), fitted.predict_proba(HELD.images[:4]))


def test_contributions_of_a_fitted_model(fitted):
    found = contributions(fitted, HELD.images, HELD.labels, HELD.groups, resamples=20)
    assert list(found) == PAIR
    single = FusionClassifier(PAIR[:1], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    with pytest.raises(ValueError, match="model must have several encoders"):
        contributions(single, HELD.images, HELD.labels)


def test_several_labels_as_lists_or_as_a_table_are_the_same():
    first, second = (
        FusionClassifier(SMALL[:1], C=0.1, compare_baselines=False).fit(TRAIN.images, given) for given in (LISTS, TABLE)
    )
    assert (first.classes_.tolist(), second.classes_.tolist()) == (["deep", "lobe"], [0, 1])
    np.testing.assert_array_equal(first.predict_proba(HELD.images), second.predict_proba(HELD.images))
    found = first.predict(TRAIN.images)
    assert found.shape == (60, 2)
    assert (found == TABLE).mean() > 0.8
    assert second.score(TRAIN.images, TABLE) == (found == TABLE).all(1).mean()


def test_auto_takes_what_a_scan_recommends(tmp_path):
    train = brain_regions("train", labels=120)
    model = FusionClassifier("auto", C=0.1, compare_baselines=False).fit(train.images, train.labels, train.groups)
    assert [encoder.name for encoder in model.encoders_] == model.scan_.recommended
    assert {level.encoder for level in model.scan_.levels} == {"mocov2-mini", "mae-mini"}
    by_hand = FusionClassifier(model.scan_.recommended, C=0.1, compare_baselines=False).fit(
        train.images, train.labels, train.groups
    )
    np.testing.assert_array_equal(model.predict_proba(TRAIN.images), by_hand.predict_proba(TRAIN.images))
    model.save(tmp_path / "model")
    again = FusionClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(model.predict_proba(TRAIN.images), again.predict_proba(TRAIN.images))
    one = FusionClassifier("auto", candidates=["mae-mini@0.25"], compare_baselines=False).fit(
        train.images, train.labels, train.groups
    )
    assert one.scan_.recommended in (["mae-mini@0.125"], ["mae-mini@0.25"])


def test_log_probabilities_are_those_of_the_probabilities(fitted):
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(HELD.images)), fitted.predict_proba(HELD.images))


METHODS = ["predict", "predict_proba", "predict_log_proba"]


@pytest.mark.parametrize(("methods", "calls"), [(METHODS, 12), pytest.param(METHODS, 600, marks=pytest.mark.slow)])
def test_threads_on_one_model_get_what_each_gets_alone(methods, calls, fitted):
    batches = [HELD.images[i : i + 2] for i in range(16)]
    alone = {(method, i): getattr(fitted, method)(batches[i]) for method in methods for i in range(16)}

    def work(thread):
        for call in range(calls):
            method, i = methods[(thread + call) % len(methods)], (thread + call // 3) % 16
            found, expected = getattr(fitted, method)(batches[i]), alone[method, i]
            assert (found == expected).all() if method == "predict" else np.allclose(found, expected, atol=1e-5)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))


def test_score_meets_labels_at_the_door(fitted):
    names = TRAIN.labels.tolist()
    assert fitted.score(TRAIN.images, [f"{name} " for name in names]) == fitted.score(TRAIN.images, names)
    assert fitted.score(TRAIN.images[:3], names[:3], sample_weight=[0, 0, 1]) in (0.0, 1.0)
    with pytest.raises(ValueError, match="y must hold labels of training"):
        fitted.score(TRAIN.images, ["nowhere", *names[1:]])
    several = FusionClassifier(SMALL[:1], C=0.1, compare_baselines=False).fit(TRAIN.images, LISTS)
    right = several.score(TRAIN.images, LISTS)
    assert right == (several.predict(TRAIN.images) == TABLE).all(1).mean()
    assert several.score(TRAIN.images, TABLE) == right
    with pytest.raises(ValueError, match="y must be 0 or 1"):
        several.score(TRAIN.images, TABLE[:, :1])


@pytest.mark.parametrize("scale", [1, 255])
def test_tensors_of_torch_are_images(fitted, scale):
    tensor = torch.from_numpy(HELD.images[:, None].copy())  # (N, H, W) -> (N, 1, H, W)
    tensor = tensor if scale == 1 else tensor / scale
    expected = fitted.predict_proba(HELD.images)
    np.testing.assert_allclose(fitted.predict_proba(tensor), expected, atol=1e-6 if scale == 1 else 0.05)
    assert evaluate(fitted, tensor, HELD.labels).images == 60
    seen = torch.from_numpy(TRAIN.images[:, None].copy())
    with pytest.raises(ValueError, match=r"images must be new to the model \(got 60 of 60"):
        evaluate(fitted, seen if scale == 1 else seen / scale, TRAIN.labels)
