"""A fitted model judged, alone and against another."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import fusion
from fusion.evaluation import score, units
from tests.fusion.evaluation.small_answers import CLASSES


def test_dependent_patches_do_not_shrink_the_interval(judged):
    labels, proba, groups = judged
    few = score.score(labels, proba, CLASSES, groups).auc
    copied = [np.repeat(part, 10, axis=0) for part in (labels, proba, groups)]
    many = score.score(*copied[:2], CLASSES, copied[2]).auc
    assert (many.low, many.high) == pytest.approx((few.low, few.high), abs=1e-9)
    naive = score.score(*copied[:2], CLASSES).auc
    assert naive.high - naive.low < 0.5 * (few.high - few.low)


def test_intervals_hold_the_value_and_the_seed_decides(judged):
    labels, proba, groups = judged
    first, again, other = (score.score(labels, proba, CLASSES, groups, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first.auc != other.auc
    for interval in (first.auc, first.balanced_accuracy):
        assert interval.low < interval.value < interval.high


def test_a_difference_is_paired(judged):
    labels, proba, groups = judged
    worse = 0.8 * proba + 0.2 * np.random.default_rng(2).dirichlet([1, 1, 1], 300)
    a, b = (score.score(labels, p, CLASSES, groups) for p in (proba, worse))
    gain = (a - b).auc
    assert gain.value == pytest.approx(a.auc.value - b.auc.value)
    assert gain.high - gain.low < 0.5 * (a.auc.high - a.auc.low)
    same = (a - a).auc
    assert (same.value, same.low, same.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="evaluations must be of the same images"):
        a - score.score(labels, proba, CLASSES, groups, seed=1)


def test_the_mean_of_several_models(judged):
    labels, proba, groups = judged
    both = score.score(labels, [proba, proba[:, ::-1]], CLASSES, groups)
    single = [score.score(labels, p, CLASSES, groups).auc.value for p in (proba, proba[:, ::-1])]
    assert both.auc.value == pytest.approx(np.mean(single))


class Fixed:
    classes_ = np.array(CLASSES)

    def __init__(self, proba):
        self.proba = proba

    def predict_proba(self, X):
        return self.proba


def test_evaluate_and_difference_take_models(judged):
    labels, proba, groups = judged
    figures = fusion.evaluate(Fixed(proba), None, labels, groups, resamples=50)
    assert (figures.images, figures.groups, figures.resamples) == (300, 20, 50)
    assert fusion.difference(Fixed(proba), Fixed(proba), None, labels, groups, resamples=50).auc.value == 0


def test_classes_need_not_be_sorted(judged):
    labels, proba, groups = judged
    turned = score.score(labels, proba[:, ::-1], CLASSES[::-1], groups)
    assert turned.auc.value == pytest.approx(score.score(labels, proba, CLASSES, groups).auc.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda y, p, g: (np.where(y == "a", "z", y), p, g),
            r"of training \(got \['z'\]\)\. Known: \['a', 'b', 'c'\]",
        ),
        (lambda y, p, g: (y[y != "a"], p[y != "a"], g[y != "a"]), r"y must hold every class .*without \['a'\]"),
        (lambda y, p, g: (y, p[:-1], g), r"proba must be \(300, 3\)"),
        (lambda y, p, g: (y, p, g[:-1]), "groups must be as many as y"),
        (lambda y, p, g: (y, p, np.zeros(300)), "groups must hold at least two patients"),
        (lambda y, p, g: (y, p, (np.arange(300) == np.flatnonzero(y == "a")[0])), None),
    ],
)
def test_bad_input_is_refused(judged, change, message):
    labels, proba, groups = change(*judged)
    if message:
        with pytest.raises(ValueError, match=message):
            score.score(labels, proba, CLASSES, groups)
    else:
        assert score.score(labels, proba, CLASSES, groups, resamples=20).groups == 2


class Named:
    def __init__(self, name):
        self.name = name


class Fused:
    """Three encoders of which the head takes the mean opinion; it is told which to leave out."""

    classes_ = np.array(CLASSES)

    def __init__(self, opinions):
        self.opinions, self.encoders_ = opinions, [Named(name) for name in opinions]

    def predict_proba(self, X, without=()):
        return np.mean([opinion for name, opinion in self.opinions.items() if name not in without], axis=0)


def test_contributions_are_the_whole_minus_the_rest_paired(judged):
    labels, proba, groups = judged
    noise = np.random.default_rng(5).dirichlet([1, 1, 1], 300)
    model = Fused({"z@1": proba, "a@0.5": noise, "b@1": proba})
    found = fusion.contributions(model, None, labels, groups, resamples=100, seed=2)
    assert list(found) == ["z@1", "a@0.5", "b@1"]
    whole = score.score(labels, np.mean([proba, noise, proba], 0), CLASSES, groups, resamples=100, seed=2)
    rest = {"z@1": (proba + noise) / 2, "a@0.5": proba, "b@1": (proba + noise) / 2}
    for name, other in rest.items():
        assert found[name] == whole - score.score(labels, other, CLASSES, groups, resamples=100, seed=2)
    assert found["a@0.5"].auc.value < 0 < found["z@1"].auc.low
    assert found["z@1"].auc.value == pytest.approx(found["b@1"].auc.value)
    assert (found["z@1"].images, found["z@1"].groups, found["z@1"].resamples) == (300, 20, 100)


def test_contributions_of_one_encoder_do_not_exist(judged):
    labels, proba, _ = judged
    with pytest.raises(ValueError, match=r"model must have several encoders of different names \(got \['a@1'\]\)"):
        fusion.contributions(Fused({"a@1": proba}), None, labels)
    twins = Fused({"a@1": proba, "b@1": proba})
    twins.encoders_[1].name = "a@1"
    with pytest.raises(ValueError, match=r"of different names \(got \['a@1', 'a@1'\]\). Use fusion.evaluate"):
        fusion.contributions(twins, None, labels)


def test_a_single_label_is_the_binary_task(several):
    y, proba, groups = several
    p = proba[:, 0]
    one = score.score(y[:, :1], p[:, None], ["ill"], groups, resamples=50)
    two = score.score(y[:, 0], np.stack([1 - p, p], 1), [0, 1], groups, resamples=50)
    assert one.auc.value == pytest.approx(two.auc.value)
    assert (one.auc.low, one.auc.high) == pytest.approx((two.auc.low, two.auc.high))
    assert one.balanced_accuracy.value == pytest.approx(two.balanced_accuracy.value)


class Several(Fixed):
    classes_ = np.array(["effusion", "nodule", "mass"])  # not sorted: the columns are as they are


def test_evaluate_and_difference_take_models_of_several_labels(several):
    y, proba, groups = several
    figures = fusion.evaluate(Several(proba), None, y, groups, resamples=50)
    assert (figures.images, figures.groups, figures.resamples) == (240, 24, 50)
    assert figures.auc.value == pytest.approx(roc_auc_score(y, proba))
    assert figures.auc.low < figures.auc.value < figures.auc.high
    assert fusion.evaluate(Several(proba), None, y.astype(bool).tolist(), groups, resamples=50) == figures
    worse = np.random.default_rng(0).random(proba.shape)
    gain = fusion.difference(Several(proba), Several(worse), None, y, groups, resamples=50).auc
    assert gain.low > 0
    both = score.score(y, [proba, worse], Several.classes_, groups, resamples=50)
    assert both.auc.value == pytest.approx((roc_auc_score(y, proba) + roc_auc_score(y, worse)) / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, p: (2 * y, p), r"y of shape \(N, K\) must hold 0 and 1 \(got \[2\]\)"),
        (lambda y, p: (np.where(y, 1.0, np.nan), p), r"must hold 0 and 1 \(got \[nan"),
        (lambda y, p: (y.astype(str), p), r"must hold 0 and 1 \(got \['0', '1'\]\)"),
        (lambda y, p: (y[:, :2], p), r"y must be \(N,\), or \(N, 3\) with a column per label \(got \(240, 2\)\)"),
        (lambda y, p: (y[..., None], p), r"with a column per label \(got \(240, 3, 1\)\)"),
        (lambda y, p: (y, p[:, :2]), r"proba must be \(240, 3\)"),
        (lambda y, p: (y * [1, 0, 1], p), r"each label must be on at least one image .*not so: \['b'\]"),
        (lambda y, p: (np.maximum(y, [0, 0, 1]), p), r"each label must be off at least one image .*not so: \['c'\]"),
        (lambda y, p: (y[:0], p[:0]), r"each label must be on at least one image .*\['a', 'b', 'c'\]"),
    ],
)
def test_bad_input_of_several_labels_is_refused(several, change, message):
    y, proba = change(*several[:2])
    with pytest.raises(ValueError, match=message):
        score.score(y, proba, CLASSES)


LISTS = [["effusion"], ["mass", "nodule"], [], ["nodule"]] * 6


def test_lists_of_labels_are_those_that_fit_takes(several):
    rows = np.array([[name in labels for name in Several.classes_] for labels in LISTS]).astype(int)
    proba = several[1][: len(LISTS)]
    assert score.score(LISTS, proba, Several.classes_) == score.score(rows, proba, Several.classes_)
    assert score.score(list(map(set, LISTS)), proba, Several.classes_) == score.score(rows, proba, Several.classes_)


def test_lists_of_another_label_set_name_both(several):
    other = [["pneumonia" if name == "effusion" else name for name in labels] for labels in LISTS]
    message = r"got \['pneumonia'\]\)\. Known: \['effusion', 'nodule', 'mass'\]\. Absent: \['effusion'\]"
    with pytest.raises(ValueError, match=message):
        score.score(other, several[1][: len(LISTS)], Several.classes_)


def test_labels_of_the_other_form_than_the_models_are_refused(judged, several):
    many, one = Several(several[1]), Fixed(judged[1])
    many.multilabel_, one.multilabel_ = True, False
    with pytest.raises(ValueError, match=r"several \(got one label each\)\. Pass \[\[label\] for label in y\]"):
        fusion.evaluate(many, None, np.array(["mass", "nodule", "effusion"] * 80))
    for y in ([["a"], ["b"], ["c"]] * 100, np.eye(3, dtype=int)[np.arange(300) % 3]):
        with pytest.raises(ValueError, match=r"y must be one label per image, of which the model gives one"):
            fusion.evaluate(one, None, y)


def test_copies_among_the_images_count_as_one_patient(judged):
    labels, proba, _ = judged
    images = np.random.default_rng(0).integers(0, 256, (300, 4, 4), dtype=np.uint8)
    twice = [np.concatenate([part, part]) for part in (images, labels, proba)]
    once = fusion.evaluate(Fixed(proba), images, labels, resamples=100)
    found = fusion.evaluate(Fixed(twice[2]), twice[0], twice[1], resamples=100)
    assert (found.images, found.groups) == (600, 300)
    assert (found.auc.low, found.auc.high) == pytest.approx((once.auc.low, once.auc.high))


def test_what_a_model_was_fitted_on_is_refused_unless_allowed(judged):
    labels, proba, groups = judged
    images = np.random.default_rng(0).integers(0, 256, (300, 4, 4), dtype=np.uint8)
    model = Fixed(proba)
    model.seen_ = units.digests(images[:10])
    for judge in (
        lambda **more: fusion.evaluate(model, images, labels, groups, resamples=20, **more),
        lambda **more: fusion.difference(Fixed(proba), model, images, labels, groups, resamples=20, **more),
    ):
        with pytest.raises(ValueError, match=r"images must be new to the model \(got 10 of 300"):
            judge()
        assert judge(allow_seen=True).images == 300
    model.seen_ = units.digests(images[:1], [groups[0]])  # others of the same patient
    with pytest.raises(ValueError, match=r"\(got 15 of 300"):
        fusion.evaluate(model, images, labels, groups)
    model.seen_ = units.digests(255 - images)
    assert fusion.evaluate(model, images, labels, groups, resamples=20).images == 300


@pytest.mark.parametrize(("count", "has"), [(2, False), (4, False), (5, False), (6, True)])
def test_too_few_patients_have_no_interval(judged, count, has):
    labels, proba, _ = judged
    found = score.score(labels, proba, CLASSES, np.arange(300) % count)
    assert np.isfinite(found.auc.value)
    assert np.isfinite([found.auc.low, found.auc.high]).all() == has
    assert ("too few patients for an interval" in str(found)) != has
    assert ("too few" in found.told("auc")) != has
    assert ("no interval" in str(found.auc)) != has


@pytest.mark.parametrize("given", [{"resamples": 0}, {"resamples": 1.5}, {"seed": -1}])
def test_draws_are_whole_numbers(given, judged):
    labels, proba, groups = judged
    with pytest.raises(ValueError, match=r"resamples must be whole from 1, and seed from 0 .* Try resamples=1000"):
        score.score(labels, proba, CLASSES, groups, **given)


def test_answers_that_are_not_finite_are_refused(judged):
    labels, proba, groups = judged
    with pytest.raises(ValueError, match=r"proba must be finite .* Check the weights"):
        score.score(labels, np.where(proba > 0.5, np.nan, proba), CLASSES, groups)


def test_an_iterator_of_images_hides_none_that_were_seen(judged):
    labels, proba, groups = judged
    images = list(np.random.default_rng(0).integers(0, 256, (300, 4, 4), dtype=np.uint8))
    model = Fixed(proba)
    model.seen_ = units.digests(images)
    with pytest.raises(ValueError, match="images must be new to the model"):
        fusion.evaluate(model, iter(images), labels, groups)


def test_a_class_of_too_few_patients_has_no_interval_and_is_named(judged):
    labels, proba, groups = judged
    labels = np.where(groups < 2, labels, np.where(labels == "c", "b", labels))  # `c` is left in two patients
    found = score.score(labels, proba, CLASSES, groups, resamples=50)
    assert found.rare == ["c"]
    for name in found.figures:
        assert np.isnan([getattr(found, name).low, getattr(found, name).high]).all()
        assert "too few patients with or without a class for an interval (c 2)" in found.told(name)
    assert np.isnan(found.p_value("auc"))
    assert np.isnan((found - found).auc.low)
    own = found.classes
    assert (np.isfinite(own["a"].auc.low), own["a"].groups) == (True, 20)
    assert (np.isnan(own["c"].auc.low), own["c"].groups) == (True, 2)
    assert np.isfinite(own["c"].specificity.low)


def test_each_class_has_figures_of_its_own(judged, several):
    y, proba, groups = several
    found = score.score(y, proba, CLASSES, groups, resamples=50)
    assert list(found.classes) == CLASSES
    for k, own in enumerate(found.classes.values()):
        assert own.auc.value == pytest.approx(roc_auc_score(y[:, k], proba[:, k]))
        assert own.auc.low < own.auc.value < own.auc.high
    sides = [(own.sensitivity.value + own.specificity.value) / 2 for own in found.classes.values()]
    assert found.balanced_accuracy.value == pytest.approx(np.mean(sides))
    labels, proba, groups = judged
    one, other = (score.score(labels, p, CLASSES, groups, resamples=50) for p in (proba, proba[::-1]))
    assert one.auc.value == pytest.approx(np.mean([own.auc.value for own in one.classes.values()]))
    recalls = [own.sensitivity.value for own in one.classes.values()]
    assert one.balanced_accuracy.value == pytest.approx(np.mean(recalls))
    gain = (one - other).classes["b"].sensitivity
    assert gain.value == pytest.approx(one.classes["b"].sensitivity.value - other.classes["b"].sensitivity.value)
    assert -1 <= gain.low < gain.value < gain.high <= 1


def test_intervals_stay_where_the_figures_can_be(judged):
    labels, proba, groups = judged
    y = np.searchsorted(CLASSES, labels)
    sure = np.eye(3)[np.where(np.arange(300) < 5, 0, y)]
    for given in (proba, sure, np.eye(3)[y]):
        found = score.score(labels, given, CLASSES, groups % 6, resamples=50)
        for name in found.figures:
            interval = getattr(found, name)
            high = np.inf if name == "log_loss" else 1
            assert 0 <= interval.low <= interval.value <= interval.high <= high
    assert found.auc.value == 1
    assert 0.3 < found.auc.low < 1  # six patients without an error are no proof that there is none


def test_decisions_are_what_is_recognised(judged):
    labels, proba, groups = judged
    perfect = score.score(labels, proba, CLASSES, groups, decisions=labels, resamples=50)
    plain = score.score(labels, proba, CLASSES, groups, resamples=50)
    assert perfect.balanced_accuracy.value == 1 > plain.balanced_accuracy.value
    assert perfect.auc == plain.auc
    both = score.score(labels, [proba] * 2, CLASSES, groups, decisions=[labels, plainly(proba)], resamples=50)
    assert both.balanced_accuracy.value == pytest.approx((1 + plain.balanced_accuracy.value) / 2)


def plainly(proba):
    return np.array(CLASSES)[proba.argmax(1)]


class Deciding(Fixed):
    def decide(self, proba):
        return self.classes_[(proba / [0.8, 0.1, 0.1]).argmax(1)]


def test_a_model_that_decides_is_judged_by_its_decisions(judged):
    labels, proba, groups = judged
    skewed = proba * [0.8, 0.1, 0.1]
    skewed /= skewed.sum(1, keepdims=True)
    found, plain = (fusion.evaluate(kind(skewed), None, labels, groups, resamples=20) for kind in (Deciding, Fixed))
    wanted = score.score(labels, skewed, CLASSES, groups, decisions=plainly(proba), resamples=20)
    assert found == wanted
    assert found.balanced_accuracy.value > plain.balanced_accuracy.value
