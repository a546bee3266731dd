"""A fit: what it trains on, what stops it, and how much each image counts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss

import zoo
from fusion import FusionClassifier, Taps, Training, brain_regions
from fusion.data import shifts
from fusion.estimators import fitting
from fusion.evaluation.metrics import auc
from fusion.features.extract import blocks as blocks_of
from fusion.features.extract import extract
from fusion.features.taps import load
from tests.fusion.estimators.small_models import HELD, PAIR, SHORT, TRAIN

SMALL = ["mae-mini@0.25", "mae-mini@0.5"]
LISTS = [["deep"] if label == "deep" else ["lobe"] if label != "cerebellum" else [] for label in TRAIN.labels]
TABLE = np.array([["deep" in labels, "lobe" in labels] for labels in LISTS]).astype(int)
NO_LOBE = r"validation must hold images with and without every label \(not \['lobe'\]\)\. Add images\."

RARE = np.r_[np.flatnonzero(TRAIN.labels != "deep"), np.flatnonzero(TRAIN.labels == "deep")[:3]]


@pytest.fixture(scope="module")
def fitted():
    return FusionClassifier(PAIR, C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels, TRAIN.groups)


def test_what_a_probe_trained_is_its_weights_and_biases(fitted):
    assert fitted.trained_ == 96 * 6 + 6
    assert fitted.history_ == []
    assert fitted.changed_ == [set(), set()]


def test_tuning_lowers_the_training_loss_and_the_best_epoch_is_kept():
    training = Training(epochs=6, batch=20, learning_rate=3e-4, patience=None)
    model = FusionClassifier(SMALL[:1], C=0.01, training=training, strategy="lp-ft", compare_baselines=False)
    model.fit(TRAIN.images, TRAIN.labels, validation=(HELD.images, HELD.labels))
    rows = model.history_
    assert [(row["stretch"], row["epoch"]) for row in rows] == [(0, 0), (0, 0), *((1, epoch) for epoch in range(1, 7))]
    assert rows[-1]["loss"] < rows[2]["loss"]
    truth = np.searchsorted(model.classes_, HELD.labels)
    best = max(row["validation_auc"] for row in rows[1:])
    proba = np.exp(model.calibration_.undo(model.predict_log_proba(HELD.images)))  # as the head answers
    assert auc(truth, proba)(np.ones(60)) == pytest.approx(best, abs=1e-6)
    mean = model.predict_proba(HELD.images).mean(0)
    np.testing.assert_allclose(mean, np.bincount(truth) / 60, atol=1e-3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.where(HELD.labels == "deep", "skull", HELD.labels), r"y must hold labels of training \(got \['skull'\]\)"),
        (
            np.where(HELD.labels == "deep", "frontal", HELD.labels),
            r"validation must hold every class \(without \['deep'",
        ),
        (HELD.labels[:-1], r"y must be one label per image, 60 \(got shape \(59,\)\)"),
    ],
)
def test_labels_of_validation_images_are_those_of_training(labels, message):
    model = FusionClassifier(SMALL[:1], strategy="full", training=SHORT, compare_baselines=False)
    with pytest.raises(ValueError, match=message):
        model.fit(TRAIN.images, TRAIN.labels, validation=(HELD.images, labels))
    assert not hasattr(model, "head_")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["deep"] if label == "deep" else [] for label in HELD.labels], NO_LOBE),
        (np.tile([[1, 0], [0, 0]], (30, 1)), NO_LOBE),
        (pd.DataFrame(np.tile([[0, 1], [0, 0]], (30, 1)), columns=["lobe", "deep"]), NO_LOBE),
        ([["deep"], ["lobe"], ["skull"], []] * 15, r"y must hold labels of training \(got \['skull'\]\)"),
        (np.tile(np.eye(3), (20, 1)), r"y must be \(60, 2\) \(got \(60, 3\)\)"),
    ],
)
def test_several_labels_of_validation_images_are_those_of_training(labels, message):
    model = FusionClassifier(SMALL[:1], strategy="full", training=SHORT, compare_baselines=False)
    with pytest.raises(ValueError, match=message):
        model.fit(TRAIN.images, LISTS, validation=(HELD.images, labels))


def places(images):
    """Where images are among those of training."""
    return [int(np.flatnonzero((TRAIN.images == image).all((1, 2)))[0]) for image in images]


@pytest.fixture
def parts(monkeypatch):
    """What a fit trains on, and what it is stopped by; the fit itself is the real one."""
    seen, real = {}, fitting.Fit

    def fit(network, stretches, train, validation, *arguments, **more):
        seen.update(train=train, validation=validation)
        return real(network, stretches, train, validation, *arguments, **more)

    monkeypatch.setattr(fitting, "Fit", fit)
    return seen


@pytest.mark.parametrize("y", [TRAIN.labels, np.stack([TRAIN.labels == "deep", TRAIN.labels < "g"], 1).astype(int)])
def test_without_validation_images_a_fold_of_whole_groups_is_held_out(y, parts):
    training = Training(epochs=1, batch=16)
    model = FusionClassifier(SMALL[:1], C=0.1, strategy="lp-ft", training=training, compare_baselines=False).fit(
        TRAIN.images, y, TRAIN.groups
    )
    train, held = places(parts["train"].images), places(parts["validation"].images)
    assert sorted([*train, *held]) == list(range(60))
    assert not set(TRAIN.groups[train]) & set(TRAIN.groups[held])
    truth = parts["validation"].labels
    assert (truth.any(0).all() and not truth.all(0).any()) if y.ndim == 2 else set(truth) == set(range(6))
    assert (truth == (y[held] if y.ndim == 2 else np.searchsorted(model.classes_, y[held]))).all()
    assert all(np.isfinite(row["validation_auc"]) for row in model.history_)


def test_without_patience_all_images_train(parts):
    FusionClassifier(SMALL[:1], C=0.1, strategy="full", training=SHORT, compare_baselines=False).fit(
        TRAIN.images, TRAIN.labels, TRAIN.groups
    )
    assert len(parts["train"]) == 60
    assert parts["validation"] is None


def test_validation_images_leave_all_others_to_train(parts):
    model = FusionClassifier(
        SMALL[:1], C=0.1, strategy="full", training=Training(epochs=1, batch=16), compare_baselines=False
    )
    held = (list(HELD.images), HELD.labels.tolist())
    model.fit(list(TRAIN.images), TRAIN.labels.tolist(), validation=held)
    assert (len(parts["train"]), len(parts["validation"])) == (60, 60)
    assert parts["validation"].labels.tolist() == np.searchsorted(model.classes_, HELD.labels).tolist()


def test_folds_that_cannot_be_are_refused_in_tuning_too():
    for patience in (None, 5):
        model = FusionClassifier(
            SMALL[:1],
            strategy="lp-ft",
            folds=11,
            training=Training(epochs=1, patience=patience),
            compare_baselines=False,
        )
        with pytest.raises(ValueError, match=r"folds must be from 2 to the images of the rarest class, 10 \(got 11\)"):
            model.fit(TRAIN.images, TRAIN.labels)


@pytest.mark.parametrize("head", ["concat", "mean", "convex", "gated"])
def test_probabilities_follow_how_often_classes_are_and_balanced_decisions_do_not(head, monkeypatch):
    monkeypatch.setattr("fusion.heads.optimum._STEPS", 50)
    images, labels = TRAIN.images[RARE], np.where(TRAIN.labels[RARE] == "deep", "deep", "lobe")
    share = (labels == "deep").mean()
    called = {}
    for weight in ("balanced", None):
        model = FusionClassifier(SMALL, head=head, C=0.01, folds=3, class_weight=weight, compare_baselines=False).fit(
            images, labels
        )
        np.testing.assert_allclose(model.prior_, [share, 1 - share])
        assert abs(model.predict_proba(images)[:, 0].mean() - share) < 0.05
        called[weight] = (model.predict(HELD.images) == "deep").mean()
        elsewhere = model.predict_proba(HELD.images, prior={"deep": 0.5, "lobe": 0.5})
        np.testing.assert_allclose(elsewhere, model.predict_proba(HELD.images, prior=[0.5, 0.5]))
        assert (elsewhere[:, 0] > model.predict_proba(HELD.images)[:, 0]).all()
    assert called["balanced"] >= called[None]


def test_of_labels_too_each_follows_how_often_it_is():
    labels = np.stack([TRAIN.labels == "deep", TRAIN.labels != "frontal"], axis=1).astype(int)
    model = FusionClassifier(SMALL[:1], C=0.01, folds=3, compare_baselines=False).fit(TRAIN.images, labels)
    np.testing.assert_allclose(model.predict_proba(TRAIN.images).mean(0), labels.mean(0), atol=0.06)
    own = np.exp(model.head_.log_proba([extract(model.encoders_[0], HELD.images)]))
    np.testing.assert_array_equal(model.predict(HELD.images), (own >= 0.5).astype(int))


def test_a_temperature_is_fitted_to_answers_out_of_fold_and_moves_no_decision():
    parts = [brain_regions("train", labels=60), brain_regions("validation", labels=120)]
    labels, truth = (np.where(part.labels == "cerebellum", "cerebellum", "other") for part in parts)
    plain, warm = (
        FusionClassifier(SMALL[:1], calibration=how, compare_baselines=False).fit(
            parts[0].images, labels, parts[0].groups
        )
        for how in (None, "temperature")
    )
    assert plain.calibration_.temperature == 1
    assert warm.calibration_.temperature > 1.2
    np.testing.assert_array_equal(plain.predict(parts[1].images), warm.predict(parts[1].images))
    losses = [log_loss(truth, model.predict_proba(parts[1].images)) for model in (plain, warm)]
    assert losses[1] < losses[0]


def test_a_temperature_needs_images_to_be_fitted_to():
    tuned = FusionClassifier(
        SMALL[:1],
        strategy="full",
        training=Training(1, patience=None),
        calibration="temperature",
        compare_baselines=False,
    )
    with pytest.raises(ValueError, match="calibration must have images that are not trained on"):
        tuned.fit(TRAIN.images, TRAIN.labels)
    with pytest.raises(ValueError, match="calibration must be left out where images have several labels"):
        FusionClassifier(SMALL[:1], calibration="temperature", compare_baselines=False).fit(TRAIN.images, LISTS)


def test_who_has_no_say_left_is_told():
    noise = zoo.untrained("mae-mini", 0.25, seed=0)
    model = FusionClassifier([SMALL[0], noise], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    model.head_.probe.weight[:, : model.encoders_[0].num_features] = 0  # as a fit leaves one out
    with pytest.warns(UserWarning, match=r"without \['.*'\] all images get one answer"):
        proba = model.predict_proba(HELD.images[:4], without=[model.encoders_[1].name])
    assert np.ptp(proba, axis=0).max() < 1e-9


@pytest.mark.parametrize("prior", [[0.5], [0.7] * 6, {"deep": 1.0}, "half", [0, 0.2, 0.2, 0.2, 0.2, 0.2], [np.nan] * 6])
def test_a_prior_that_is_none_is_refused(prior, fitted_small):
    with pytest.raises(ValueError, match=r"prior must be a frequency in \(0, 1\) for each of .* Give all\."):
        fitted_small.predict_proba(HELD.images[:1], prior=prior)


@pytest.fixture(scope="module")
def fitted_small():
    return FusionClassifier(SMALL[:1], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)


def test_an_image_that_counts_twice_is_one_that_is_there_twice():
    weights = np.arange(len(TRAIN.labels)) % 3
    rows = np.repeat(np.arange(len(weights)), weights)
    options = {"C": 0.1, "head": "concat", "class_weight": None}
    weighted = FusionClassifier(SMALL[:1], **options, compare_baselines=False).fit(
        TRAIN.images, TRAIN.labels, sample_weight=weights
    )
    repeated = FusionClassifier(SMALL[:1], **options, compare_baselines=False).fit(
        TRAIN.images[rows], TRAIN.labels[rows]
    )
    np.testing.assert_allclose(weighted.predict_proba(HELD.images), repeated.predict_proba(HELD.images), atol=2e-3)


def test_an_image_that_counts_nothing_moves_no_weight():
    weights = np.ones(len(TRAIN.labels))
    weights[::2] = 0
    found = []
    for labels in (TRAIN.labels, np.where(weights > 0, TRAIN.labels, "deep")):
        training = Training(1, batch=12, patience=None, class_weight=None)
        model = FusionClassifier(SMALL[:1], strategy="quarter-1", folds=2, training=training, compare_baselines=False)
        found.append(model.fit(TRAIN.images, labels, sample_weight=weights).predict_proba(HELD.images))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("weights", [[1, 2], -1, np.nan, 0], ids=str)
def test_odd_weights_of_images_are_refused(weights):
    given = np.full(len(TRAIN.labels), weights, float) if np.isscalar(weights) else weights
    with pytest.raises(ValueError, match="sample_weight must "):
        FusionClassifier(SMALL[:1], C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels, sample_weight=given)


@pytest.mark.parametrize("head", ["concat", "gated"])
def test_under_autocast_a_fit_answers_much_as_without(head, monkeypatch):
    monkeypatch.setattr("fusion.heads.optimum._STEPS", 20)
    model = FusionClassifier(SMALL, head=head, C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = FusionClassifier(SMALL, head=head, C=0.1, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
        found = again.predict_proba(HELD.images)
    assert np.abs(found - model.predict_proba(HELD.images)).mean() < 0.05


def test_a_training_step_under_autocast_ends():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model = FusionClassifier(SMALL[:1], strategy="quarter-1", training=SHORT, compare_baselines=False).fit(
            TRAIN.images, TRAIN.labels
        )
    assert np.isfinite(model.predict_proba(HELD.images)).all()


def test_a_class_that_hardly_counts_is_refused():
    weights = (TRAIN.labels != "deep").astype(float)
    weights[np.flatnonzero(TRAIN.labels == "deep")[:2]] = 1
    with pytest.raises(ValueError, match=r"sample_weight must let 5 images of each class count.*\(got 2\)"):
        FusionClassifier(SMALL[:1], compare_baselines=False).fit(TRAIN.images, TRAIN.labels, sample_weight=weights)
    with pytest.raises(ValueError, match=r"sample_weight must let 5 images of each class count.*\(got 0\)"):
        FusionClassifier(SMALL[:1], compare_baselines=False).fit(TRAIN.images, TABLE, sample_weight=TABLE[:, 0])


@pytest.mark.parametrize(
    "weights",
    [["a"] * 60, [[1], [1, 2]], np.ma.array(np.ones(60), mask=np.arange(60) == 3)],
    ids=["text", "ragged", "masked"],
)
def test_weights_that_are_no_numbers_are_refused(weights):
    with pytest.raises(ValueError, match="sample_weight must be 60 finite numbers"):
        FusionClassifier(SMALL[:1], C=0.1, compare_baselines=False).fit(
            TRAIN.images, TRAIN.labels, sample_weight=weights
        )


def test_a_head_is_chosen_and_fitted_on_shifted_copies_where_asked(monkeypatch):
    seen = []
    monkeypatch.setattr(fitting.SOLVED["concat"], "fit", record(fitting.SOLVED["concat"].fit, seen))
    weights = 1.0 + np.arange(len(TRAIN.labels)) % 2
    model = FusionClassifier(SMALL[:1], C=0.1, folds=3, select="shifted", compare_baselines=False)
    model.fit(TRAIN.images, TRAIN.labels, TRAIN.groups, sample_weight=weights)
    (blocks, y, folds, _, weighting), count = seen[0], len(TRAIN.labels)
    copies = 1 + len(shifts.FITTED)
    assert blocks[0].shape[0] == len(y) == copies * count
    np.testing.assert_array_equal(blocks[0][:count], extract(model.encoders_[0], TRAIN.images))
    assert weighting.images.sum() == pytest.approx(weights.sum())
    for train, test in folds:
        assert len(train) + len(test) == copies * count
        assert not set(train % count) & set(test % count)
    plain = FusionClassifier(SMALL[:1], C=0.1, folds=3, compare_baselines=False).fit(
        TRAIN.images, TRAIN.labels, TRAIN.groups
    )
    assert model.seen_ == plain.seen_
    np.testing.assert_allclose(
        model.prior_, np.bincount(np.unique(TRAIN.labels, return_inverse=True)[1], weights) / weights.sum()
    )


def test_of_many_images_each_is_fitted_with_one_copy(monkeypatch):
    seen, count = [], len(TRAIN.labels)
    monkeypatch.setattr(shifts, "MANY", count)
    monkeypatch.setattr(fitting.SOLVED["concat"], "fit", record(fitting.SOLVED["concat"].fit, seen))
    FusionClassifier(SMALL[:1], C=0.1, folds=3, select="shifted", compare_baselines=False).fit(
        TRAIN.images, TRAIN.labels, TRAIN.groups
    )
    (blocks, y, folds, _, weighting) = seen[0]
    rows = shifts.rows(shifts.copies(count))
    assert blocks[0].shape[0] == len(y) == 2 * count
    np.testing.assert_array_equal(y, np.unique(TRAIN.labels, return_inverse=True)[1][rows])
    assert weighting.images.tolist() == [0.5] * 2 * count
    assert not any(set(rows[train]) & set(rows[test]) for train, test in folds)


def record(fit, seen):
    def recorded(self, *args, **options):
        seen.append(args)
        return fit(self, *args, **options)

    return recorded


def test_all_depths_of_an_encoder_come_from_one_pass_per_batch(monkeypatch):
    passes = []
    monkeypatch.setattr(zoo.Encoder, "_features", counted(zoo.Encoder._features, passes))
    encoders = [load("mocov2-mini@quarters"), zoo.load("mae-mini@0.25")]
    passes.clear()  # those of the loading
    model = FusionClassifier(encoders, C=0.1, folds=2, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    assert passes == [60, 60]
    assert model.trained_ == (32 + 64 + 128 + 256 + 32) * 6 + 6


def counted(features, passes):
    def of_some(self, x):
        passes.append(len(x))
        return features(self, x)

    return of_some


@pytest.mark.filterwarnings("ignore:without .* all images get one answer")  # a head may leave an encoder out
@pytest.mark.parametrize("head", ["concat", "convex", "stack", "mean", "gated", "attention"])
def test_each_depth_is_a_block_and_an_encoder_is_all_of_its(head, monkeypatch):
    monkeypatch.setattr("fusion.heads.optimum._STEPS", 20)
    names = ["mocov2-mini@0.25+0.5", "mae-mini@0.25"]
    model = FusionClassifier(names, head=head, folds=2, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    blocks = [extract(name, HELD.images) for name in ("mocov2-mini@0.25", "mocov2-mini@0.5", "mae-mini@0.25")]
    flat = FusionClassifier(
        ["mocov2-mini@0.25", "mocov2-mini@0.5", "mae-mini@0.25"], head=head, folds=2, compare_baselines=False
    )
    flat.fit(TRAIN.images, TRAIN.labels)
    np.testing.assert_allclose(model.predict_proba(HELD.images), flat.predict_proba(HELD.images), atol=1e-4)
    assert len(model.head_.strengths) == len(model.head_.on) == 3
    less = model.calibration_.apply(np.asarray(model.head_.log_proba([None, None, blocks[2]])))
    np.testing.assert_allclose(model.predict_log_proba(HELD.images, without=names[:1]), less, atol=1e-4)
    less = model.calibration_.apply(np.asarray(model.head_.log_proba([*blocks[:2], None])))
    np.testing.assert_allclose(model.predict_log_proba(HELD.images, without=names[1:]), less, atol=1e-4)


def test_each_block_has_its_penalty():
    names, C = ["mae-mini@0.25+0.5", "mocov2-mini@0.25"], [10.0, 1e-6, 0.1]
    model = FusionClassifier(names, C=C, folds=2, compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
    assert list(model.head_.strengths) == C
    sizes = [np.abs(part).max() for part in np.split(model.head_.probe.weight, [32, 96], axis=1)]
    assert sizes[1] < 1e-3 < sizes[2] < sizes[0]


def test_copies_of_several_depths_are_those_of_each():
    found = []
    for names in (["mae-mini@0.25+0.5"], SMALL):
        model = FusionClassifier(names, C=0.1, folds=3, select="shifted", compare_baselines=False).fit(
            TRAIN.images, TRAIN.labels, TRAIN.groups
        )
        found.append(model.predict_proba(HELD.images))
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


@pytest.mark.parametrize("strategy", ["full", "lp-ft", "quarter-1", "lora"])
def test_what_trains_below_several_depths_learns_from_all(strategy):
    training = Training(epochs=2, batch=20, learning_rate=3e-4, patience=None, drop_encoder=0.3)
    names = ["mae-mini@0.25+0.5", "mocov2-mini@0.125"]
    model = FusionClassifier(names, C=0.1, folds=2, strategy=strategy, training=training, compare_baselines=False)
    model.fit(TRAIN.images, TRAIN.labels)
    assert all(model.changed_)
    quarters = {name.split(".")[1] for name in model.changed_[0]}
    assert ("layer2" in quarters) == (strategy != "quarter-1")
    assert "layer1" in quarters
    assert model.history_[-1]["loss"] < np.log(6) * 2
    once = model.predict_log_proba(HELD.images)
    blocks = [block for own in model.taps_ for block in blocks_of(own, HELD.images)]
    np.testing.assert_array_equal(once, model.calibration_.apply(np.asarray(model.head_.log_proba(blocks))))


@pytest.mark.parametrize("strategy", ["full", "auto-rgn", "lora", "lp-ft", "quarter-1"])
@pytest.mark.parametrize("depths", [(0.25,), (0.125, 0.25)])
def test_layers_that_nothing_reads_do_not_train(strategy, depths):
    model = FusionClassifier([Taps(zoo.load("mae-mini@0.5"), depths)], strategy=strategy, training=SHORT)
    message = r"tapped at their end \(got mae-mini@0.5 at 0.25 at most\)\. .*: zoo.load\('mae-mini', 0.25\)"
    with pytest.raises(ValueError, match=message):
        model.fit(TRAIN.images, TRAIN.labels)


def test_a_checkpoint_is_for_the_depths_of_its_fit(tmp_path):
    training = replace(SHORT, checkpoint=tmp_path)
    options = {"strategy": {"mae-mini": "probe", "mocov2-mini": "full"}, "C": 0.1, "training": training}
    frozen, moving = zoo.load("mae-mini@0.5"), zoo.load("mocov2-mini@0.125")
    FusionClassifier([Taps(frozen, (0.25,)), moving], **options).fit(TRAIN.images, TRAIN.labels)
    with pytest.raises(ValueError, match="checkpoint"):
        FusionClassifier([Taps(frozen, (0.125,)), moving], **options).fit(TRAIN.images, TRAIN.labels)


def test_copies_are_for_heads_on_frozen_features():
    with pytest.raises(ValueError, match="select must be 'clean' where encoders train"):
        FusionClassifier(SMALL[:1], strategy="full", select="shifted", compare_baselines=False).fit(
            TRAIN.images, TRAIN.labels
        )
    with pytest.raises(ValueError, match=r"select must be 'clean' or 'shifted' \(got 'best'\)"):
        FusionClassifier(SMALL[:1], select="best", compare_baselines=False).fit(TRAIN.images, TRAIN.labels)
