"""Whether two models make the same mistakes."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some
from sklearn.metrics import accuracy_score, cohen_kappa_score

from fusion.evaluation import units
from fusion.evaluation.agreement import agreement, kappa
from fusion.evaluation.correlation import correlation
from fusion.evaluation.intervals import Interval
from tests.fusion.evaluation.small_answers import SEEDS, ends, width
from tests.fusion.evaluation.test_correlation import X, Y

FIGURES = ["same", "disagreement", "errors", "expected", "kappa", "cohen"]


def drawn(seed, groups=60, per=5, classes=3, skill=0.7):
    """True labels and those of two models, both of which find the same groups of images hard."""
    rng = np.random.default_rng(seed)
    easy = rng.beta(4 * skill, 4 * (1 - skill), groups).repeat(per)
    y = rng.integers(classes, size=groups * per)
    off = rng.integers(1, classes, size=(2, groups * per))
    first, second = np.where(rng.random((2, groups * per)) < easy, y, (y + off) % classes)
    return y, first, second, np.arange(groups).repeat(per)


def values(found):
    return {name: getattr(found, name).value for name in FIGURES}


def test_figures_by_hand():
    y = list("aaaaaabbbb")
    first = list("aaaabcbbba")  # 7 right
    second = list("aaabbabaab")  # 6 right
    found = values(agreement(y, first, second, resamples=1))
    # same: images 0 1 2 4 6 | both right: 0 1 2 6, both wrong: 4
    assert found == pytest.approx(
        {
            "same": 0.5,
            "disagreement": 0.5,
            "errors": (4 + 1) / 10,
            "expected": 0.7 * 0.6 + 0.3 * 0.4,
            "kappa": (0.5 - 0.54) / 0.46,
            "cohen": (0.5 - (0.5 * 0.6 + 0.4 * 0.4)) / (1 - 0.46),
        }
    )


def test_two_different_wrong_labels_are_the_same_mistake():
    found = agreement([0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2], resamples=1)
    assert (found.same.value, found.errors.value, found.kappa.value) == (0.75, 1, 1)


def test_each_model_has_its_own_accuracy():
    y = np.zeros(10, int)
    good, bad = np.arange(10) >= 9, np.arange(10) >= 2  # 0.9 and 0.2 right
    found = agreement(y, good, bad, resamples=1)
    code = 0.9**2 + 0.1**2  # of S3: one accuracy twice, and another baseline when the models change places
    assert found.expected.value == pytest.approx(0.9 * 0.2 + 0.1 * 0.8)
    assert abs(found.expected.value - code) > 0.5
    assert found.expected.value == pytest.approx(agreement(y, bad, good, resamples=1).expected.value)


@pytest.mark.slow
def test_independent_mistakes_have_no_kappa_beyond_chance():
    rng = np.random.default_rng(0)
    wrong = rng.random((2, 200_000)) < [[0.1], [0.4]]
    found = agreement(np.zeros(200_000, int), *wrong.astype(int), np.arange(200_000) % 50, resamples=20)
    assert found.errors.value == pytest.approx(found.expected.value, abs=0.003)
    assert found.kappa.value == pytest.approx(0, abs=0.01)
    assert found.errors.value == pytest.approx(0.9 * 0.6 + 0.1 * 0.4, abs=0.005)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, classes=some.integers(2, 6), skill=some.floats(0.1, 0.9))
def test_figures_are_scikit_learns(seed, classes, skill):
    y, first, second, _ = drawn(seed, 12, 5, classes, skill)
    found = values(agreement(y, first, second, resamples=1))
    right, other = first == y, second == y
    assume(not (right & other).all())  # no kappa
    assert found["same"] == pytest.approx(accuracy_score(first, second))
    assert found["errors"] == pytest.approx(accuracy_score(right, other))
    assert found["cohen"] == pytest.approx(cohen_kappa_score(first, second), nan_ok=True)
    assert found["kappa"] == pytest.approx(cohen_kappa_score(right, other), nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, classes=some.integers(2, 6), skill=some.floats(0.1, 0.9))
def test_symmetry_ranges_and_the_complement(seed, classes, skill):
    y, first, second, groups = drawn(seed, 12, 5, classes, skill)
    found = agreement(y, first, second, groups, resamples=50)
    turned = agreement(y, second, first, groups, resamples=50)
    for name in FIGURES:
        interval = getattr(found, name)
        assert ends(interval) == pytest.approx(ends(getattr(turned, name)), nan_ok=True)
        assert np.isnan(interval.low) or -1 <= interval.low <= interval.high <= 1
    assert found.same.value + found.disagreement.value == pytest.approx(1)
    assert found.same.low + found.disagreement.high == pytest.approx(1)
    assert found.same.high + found.disagreement.low == pytest.approx(1)
    assert found.errors.value >= found.same.value  # the same label is the same mistake, or none
    assert found.kappa.value <= 1
    assert min(values(found)[name] for name in ("same", "errors", "expected")) >= 0


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_names_of_labels_and_order_of_images_change_no_figure(seed):
    y, first, second, _ = drawn(seed, 12, 5)
    found = values(agreement(y, first, second, resamples=1))
    named = [np.array(["z", "b", "m"])[labels] for labels in (y, first, second)]
    assert values(agreement(*named, resamples=1)) == pytest.approx(found, nan_ok=True)
    order = np.random.default_rng(seed).permutation(60)
    assert values(agreement(y[order], first[order], second[order], resamples=1)) == pytest.approx(found, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, skill=some.floats(0.3, 0.7))
def test_a_model_agrees_with_itself(seed, skill):
    y, first, _, groups = drawn(seed, skill=skill)
    assume(0 < (first == y).sum() < len(y))
    found = agreement(y, first, first, groups, resamples=20)
    for name in ("same", "errors", "kappa", "cohen"):
        assert (getattr(found, name).value, *ends(getattr(found, name))) == pytest.approx((1, 1, 1)), name
    share = (first == y).mean()
    assert found.expected.value == pytest.approx(share**2 + (1 - share) ** 2)


def test_numbers_of_other_types_are_the_same_labels():
    y, first, second, _ = drawn(0)
    whole = agreement(y, first, second, resamples=20)
    assert agreement(y.tolist(), first.astype(float), second.astype(object), resamples=20) == whole


def test_nothing_is_defined_where_chance_agrees_everywhere():
    both = agreement([0, 1, 2, 1, 0], [0, 1, 2, 1, 0], [0, 1, 2, 1, 0], resamples=50)
    assert (both.expected.value, both.errors.value) == (1, 1)
    assert np.isnan([both.kappa.value, *ends(both.kappa)]).all()
    wrong = agreement([0, 1, 2, 1, 0], [1, 2, 1, 0, 2], [2, 0, 0, 2, 1], resamples=50)
    assert (wrong.expected.value, wrong.errors.value, wrong.same.value) == (1, 1, 0)
    assert np.isnan([wrong.kappa.value, *ends(wrong.kappa)]).all()
    one = agreement([0, 1, 2, 1, 0], [1] * 5, [1] * 5, resamples=50)
    assert np.isnan([one.cohen.value, *ends(one.cohen)]).all()
    assert one.kappa.value == 1


def test_kappa_elementwise():
    found, by_chance = np.array([0.9, 0.5, 1.0, 0.3]), np.array([0.8, 0.5, 1.0, 0.6])
    assert kappa(found, by_chance) == pytest.approx([0.5, 0, np.nan, -0.75], nan_ok=True)


def test_ends_that_draws_without_a_kappa_could_decide_are_not_given():
    y = np.zeros(40, int)

    def mistakes(images):
        first, second = y.copy(), y.copy()
        first[:images], second[1:images] = 1, 1
        return agreement(y, first, second).kappa

    few, many = mistakes(2), mistakes(6)  # a draw misses all of 2 in 40 images with chance 0.13, of 6 with 0.001
    assert few.value == pytest.approx(cohen_kappa_score(np.arange(40) < 2, np.arange(40) == 1))
    assert np.isnan(ends(few)).all()
    assert 0 < many.low < many.value < many.high <= 1


def test_intervals_are_quantiles_over_whole_groups_that_share_their_draws():
    y, first, second, groups = drawn(0, 20, 4)
    found = agreement(y, first, second, groups, resamples=200, seed=3)
    rng, draws = np.random.default_rng(3), []
    for _ in range(200):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(20, size=20)])
        right, other = (first == y)[rows], (second == y)[rows]
        draws.append([(right == other).mean(), cohen_kappa_score(right, other)])
    expected = np.quantile(draws, [0.025, 0.975], axis=0)
    assert ends(found.errors) == pytest.approx(tuple(expected[:, 0]))
    assert ends(found.kappa) == pytest.approx(tuple(expected[:, 1]))


def test_dependent_images_do_not_shrink_the_interval():
    y, first, second, groups = drawn(1)
    grouped, single = agreement(y, first, second, groups), agreement(y, first, second)
    assert grouped.errors.value == single.errors.value
    copied = [np.repeat(part, 10) for part in (y, first, second, groups)]
    many, naive = agreement(*copied), agreement(*copied[:3])
    for name in FIGURES:
        assert ends(getattr(many, name)) == pytest.approx(ends(getattr(grouped, name))), name
        assert width(getattr(naive, name)) < 0.5 * width(getattr(grouped, name)), name


def test_the_seed_decides_and_counts_are_told():
    y, first, second, groups = drawn(2)
    found, again, other = (agreement(y, first, second, groups, resamples=60, seed=s) for s in (0, 0, 1))
    assert found == again
    assert found.errors != other.errors
    assert values(found) == values(other)
    assert (found.images, found.groups, found.resamples) == (300, 60, 60)
    assert agreement(y, first, second, resamples=2).groups == 300
    assert [field.name for field in fields(found)] == [*FIGURES, "images", "groups", "resamples"]


@pytest.mark.slow
def test_intervals_of_agreement_cover():
    truth = values(agreement(*drawn(99, 20_000, 10)[:3], resamples=1))
    hits = dict.fromkeys(FIGURES, 0)
    for seed in range(200):
        found = agreement(*drawn(seed, 40, 10), resamples=150)
        for name in FIGURES:
            hits[name] += getattr(found, name).low <= truth[name] <= getattr(found, name).high
    assert all(0.87 <= count / 200 <= 0.99 for count in hits.values()), hits


LABELS = np.array([0, 1, 0, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (LABELS, LABELS, LABELS[:4]),
            r"labels \(N,\) of the same images \(got shapes \[\(5,\), \(5,\), \(4,\)\]\)\. Pass",
        ),
        ((LABELS, np.eye(2)[LABELS], LABELS), r"labels \(N,\) of the same images .*\(5, 2\)"),
        ((np.eye(2), np.eye(2), np.eye(2)), r"labels \(N,\) of the same images"),
        ((LABELS, LABELS, [0.1, 0.9, 0.2, 1, 0]), r"must hold labels \(got 0\.1\)\. Pass what model\.predict"),
        ((LABELS, [0, 1, np.nan, 1, 1], LABELS), r"must hold labels \(got nan\)"),
        ((np.array([0, 1, np.nan, 1, 1], object), LABELS, LABELS), r"must hold labels \(got nan\)"),
        ((LABELS, LABELS.astype(str), LABELS), r"all numbers or all strings \(got int, str\)\. Convert them\."),
        ((LABELS, LABELS, LABELS, [1, 2, 3, 4]), r"groups must be as many as images \(got 4 for 5\)"),
        ((LABELS, LABELS, LABELS, [1, 1, 2, 2, 3]), r"groups must be at least 4 for an interval \(got 3\)"),
        ((LABELS[:3], LABELS[:3], LABELS[:3]), r"groups must be at least 4 for an interval \(got 3\)"),
        (([], [], []), r"groups must be at least 4 for an interval \(got 0\)"),
    ],
)
def test_what_agreement_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        agreement(*arguments)


def test_agreement_needs_draws():
    with pytest.raises(ValueError, match=r"resamples must be at least 1 \(got 0\)\. Try resamples=1000\."):
        agreement(LABELS, LABELS, LABELS, resamples=0)


def test_everything_prints_as_intervals():
    assert isinstance(agreement(LABELS, LABELS, LABELS[::-1], resamples=5).errors, Interval)
    assert str(correlation(X, Y).pearson) == "0.905 [0.552, 0.983]"


class Fitted:
    """What `agreement` asks of a model."""

    classes_ = np.arange(3)

    def __init__(self, *seen):
        self.seen_ = units.digests(*seen) if seen else set()


def shown(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 4), dtype=np.uint8)


def test_what_a_model_was_fitted_on_is_refused_unless_allowed():
    y, first, second, groups = drawn(0)
    images, free = shown(300), agreement(y, first, second, groups, resamples=20)
    for model, count in ((Fitted(images[:10]), 10), (Fitted(shown(1, 9), [groups[7]]), 5)):
        for models in ([model, Fitted()], (Fitted(), model)):
            given = {"models": models, "images": images, "resamples": 20}
            with pytest.raises(ValueError, match=rf"images must be new to the model \(got {count} of 300"):
                agreement(y, first, second, groups, **given)
            with pytest.raises(ValueError, match="images must be new to the model"):
                agreement(y, first, second, groups, **{**given, "images": iter(images / 255)})
            assert agreement(y, first, second, groups, **given, allow_seen=True) == free
    assert agreement(y, first, second, groups, models=[Fitted(255 - images)], images=images, resamples=20) == free


def test_copies_of_an_image_count_as_one_patient():
    y, first, second, _ = drawn(1, 60, 1)
    images = shown(60)
    once = agreement(y, first, second, images=images, resamples=200)
    twice = [np.concatenate([part, part]) for part in (y, first, second, images)]
    found = agreement(*twice[:3], images=twice[3], resamples=200)
    assert (found.images, found.groups) == (120, 60)
    assert ends(found.errors) == pytest.approx(ends(once.errors))
    assert agreement(*twice[:3], resamples=200).groups == 120
    joined = agreement(*twice[:3], np.arange(120) // 2, images=twice[3], resamples=20)  # a patient's copies, too
    assert joined.groups == 30


def test_models_that_cannot_be_held_against_images_are_refused():
    y, first, second, _ = drawn(2, 10, 1)
    for more, message in (
        ({"models": [Fitted()]}, r"images must come with models, .* Pass images=X"),
        ({"models": Fitted(), "images": shown(10)}, r"models must be a list of fitted models .* Pass models="),
        ({"models": ["mae-mini"], "images": shown(10)}, "models must be a list of fitted models"),
        ({"images": shown(9)}, r"images must be as many as labels \(got 9 for 10\)"),
        ({"images": "one.png"}, r"images must be as many as labels \(got 1 for 10\)"),
    ):
        with pytest.raises(ValueError, match=message):
            agreement(y, first, second, **more)
