"""A threshold is chosen on some images and judged on others."""

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

import fusion
from fusion.evaluation import units
from tests.fusion.evaluation.test_curves import Fixed


@pytest.fixture
def halves(several):
    """Models, classes and patients of two halves of the same data."""
    y, proba, groups = several
    p = np.stack([1 - proba[:, 0], proba[:, 0]], 1)
    return [(Fixed(p[rows], [0, 1]), None, y[rows, 0], groups[rows]) for rows in (slice(0, 120), slice(120, 240))]


def test_the_most_specific_threshold_that_is_sensitive_enough(halves):
    model, _, y, _ = halves[0]
    scores = model.proba[:, 1]
    for wanted in (0.5, 0.95, 1):
        point = fusion.operating_point(*halves[0], sensitivity=wanted)
        enough = [s for s in np.unique(scores) if (scores[y == 1] >= s).mean() >= wanted]
        assert point.threshold == max(enough)
        assert point.sensitivity.value >= wanted


def test_the_most_sensitive_threshold_that_is_specific_enough(halves):
    model, _, y, _ = halves[0]
    scores = model.proba[:, 1]
    point = fusion.operating_point(*halves[0], specificity=0.9)
    assert point.threshold == min(s for s in np.unique(scores) if (scores[y == 0] < s).mean() >= 0.9)
    assert point.specificity.value >= 0.9


def test_its_figures_equal_scikit_learns_there_and_elsewhere(halves):
    point = fusion.operating_point(*halves[0], sensitivity=0.9)
    other = point.judge(*halves[1])
    assert other.threshold == point.threshold
    assert other.sensitivity != point.sensitivity
    for found, (model, _, y, _) in zip((point, other), halves, strict=True):
        said = model.proba[:, 1] >= point.threshold
        assert found.sensitivity.value == pytest.approx(recall_score(y, said))
        assert found.specificity.value == pytest.approx(recall_score(y, said, pos_label=0))
        assert found.ppv.value == pytest.approx(precision_score(y, said))
        assert found.npv.value == pytest.approx(precision_score(y, said, pos_label=0))
        assert (found.label, found.images, found.groups) == (1, 120, 12)
        for name in ("sensitivity", "specificity", "ppv", "npv"):
            interval = getattr(found, name)
            assert 0 <= interval.low < interval.value <= interval.high <= 1


def test_where_nobody_is_found_there_is_no_predictive_value(halves):
    model, _, y, groups = halves[0]
    model.proba[0] = [0, 1]
    y[0] = 0  # the highest score is of one that is well
    point = fusion.operating_point(model, None, y, groups, specificity=1)
    assert point.threshold == np.inf
    assert point.sensitivity.value == 0
    assert np.isnan(point.ppv.value)
    assert point.specificity.value == 1 > point.specificity.low


def test_a_label_of_several_is_named(several):
    y, proba, groups = several
    model = Fixed(proba, ["a", "b", "c"])
    point = fusion.operating_point(model, None, y, groups, sensitivity=0.8, label="c")
    assert point.label == "c"
    assert point.sensitivity.value == pytest.approx((proba[y[:, 2] == 1, 2] >= point.threshold).mean())
    with pytest.raises(ValueError, match=r"label must be one of \['a', 'b', 'c'\]"):
        fusion.operating_point(model, None, y, groups, sensitivity=0.8)


@pytest.mark.parametrize(
    "given", [{}, {"sensitivity": 0.9, "specificity": 0.9}, {"sensitivity": 0}, {"specificity": 2}]
)
def test_one_aim_is_given(given, halves):
    with pytest.raises(ValueError, match=r"sensitivity or specificity must be given, one of them, in \(0, 1\] .* Try"):
        fusion.operating_point(*halves[0], **given)


def test_images_of_the_fit_choose_no_threshold_unless_allowed(halves):
    model, _, y, groups = halves[0]
    images = np.random.default_rng(0).integers(0, 256, (120, 4, 4), dtype=np.uint8)
    model.seen_ = units.digests(images[:3])
    with pytest.raises(ValueError, match="images must be new to the model"):
        fusion.operating_point(model, images, y, groups, sensitivity=0.9)
    point = fusion.operating_point(model, images, y, groups, sensitivity=0.9, allow_seen=True)
    with pytest.raises(ValueError, match="images must be new to the model"):
        point.judge(model, images, y, groups)
