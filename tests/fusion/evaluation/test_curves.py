"""Whether probabilities come true, and whom they would help."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

import fusion
from tests.fusion.evaluation.small_answers import CLASSES


class Fixed:
    def __init__(self, proba, classes):
        self.proba, self.classes_ = proba, np.array(classes)

    def predict_proba(self, X):
        return self.proba


@pytest.fixture
def binary(several):
    """A model of two classes, the classes, and patients."""
    y, proba, groups = several
    return Fixed(np.stack([1 - proba[:, 0], proba[:, 0]], 1), ["ill", "well"][::-1]), y[:, 0], groups


def named(y):
    return np.array(["well", "ill"])[y]


def test_a_reliability_curve_equals_scikit_learns(binary):
    model, y, groups = binary
    found = fusion.reliability_curve(model, None, named(y), groups, bins=7)
    observed, predicted = calibration_curve(y, model.proba[:, 1], n_bins=7)
    held = found.images > 0
    assert found.label == "ill"
    assert found.images.sum() == 240
    assert found.observed[held] == pytest.approx(observed)
    assert found.predicted[held] == pytest.approx(predicted)


def test_its_intervals_are_over_groups_and_of_bins_with_enough_of_them(binary):
    model, y, groups = binary
    model.proba[:5, 1] = [0.001, 0.001, 0.999, 0.999, 0.999]  # of patient 0
    model.proba[5:, 1] = np.clip(model.proba[5:, 1], 0.2, 0.8)
    found = fusion.reliability_curve(model, None, named(y), groups, bins=10)
    assert np.isnan([found.predicted[1], found.observed[1], found.low[1]]).all()  # nothing is between .1 and .2
    assert np.isnan(found.low[[0, 9]]).all()
    assert np.isfinite(found.observed[[0, 9]]).all()
    inner = slice(2, 8)
    assert (found.low[inner] <= found.observed[inner]).all()
    assert (found.observed[inner] <= found.high[inner]).all()
    assert ((found.low[inner] >= 0) & (found.high[inner] <= 1)).all()


def test_a_decision_curve_equals_one_by_hand(binary):
    model, y, groups = binary
    found = fusion.decision_curve(model, None, named(y), groups, thresholds=[0.2, 0.5, 0.8])
    for k, at in enumerate((0.2, 0.5, 0.8)):
        (_, false), (_, true) = confusion_matrix(y, model.proba[:, 1] >= at)
        assert found.net_benefit[k] == pytest.approx(true / 240 - false / 240 * at / (1 - at))
        assert found.treat_all[k] == pytest.approx(y.mean() - (1 - y.mean()) * at / (1 - at))
    assert (found.low < found.net_benefit).all()
    assert (found.net_benefit < found.high).all()
    assert fusion.decision_curve(model, None, named(y), groups).thresholds.shape == (99,)
    few = fusion.decision_curve(model, None, named(y), groups % 5, thresholds=0.5)
    assert np.isnan([few.low, few.high]).all()


def test_a_curve_is_of_one_label(several, judged):
    y, proba, groups = several
    model = Fixed(proba, CLASSES)
    found = fusion.reliability_curve(model, None, y, groups, label="b", bins=7)
    assert found.observed == pytest.approx(calibration_curve(y[:, 1], proba[:, 1], n_bins=7)[0])
    labels, proba, groups = judged
    found = fusion.reliability_curve(Fixed(proba, CLASSES), None, labels, groups, label="c", bins=7)
    held = found.images > 0
    assert found.observed[held] == pytest.approx(calibration_curve(labels == "c", proba[:, 2], n_bins=7)[0])
    for kind, given in ((fusion.reliability_curve, (y, several[2])), (fusion.decision_curve, (labels, groups))):
        with pytest.raises(ValueError, match=r"label must be one of \['a', 'b', 'c'\] \(got None\)\. Name it"):
            kind(model if len(given[0]) == 240 else Fixed(proba, CLASSES), None, *given)
    with pytest.raises(ValueError, match=r"label must hold labels of training \(got \['z'\]\)"):
        fusion.decision_curve(model, None, y, several[2], label="z")


def test_odd_bins_and_thresholds_are_refused(binary):
    model, y, groups = binary
    for bins in (0, 2.5):
        with pytest.raises(ValueError, match=r"bins must be whole from 1 .* Try bins=15"):
            fusion.reliability_curve(model, None, named(y), groups, bins=bins)
    for thresholds in ([0], [1], [], [np.nan], [[0.5]]):
        with pytest.raises(ValueError, match=r"thresholds must be \(T,\) between 0 and 1"):
            fusion.decision_curve(model, None, named(y), groups, thresholds=thresholds)
