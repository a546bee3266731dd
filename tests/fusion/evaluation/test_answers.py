"""What is judged, checked."""

import numpy as np
import pytest

from fusion.evaluation import answers
from tests.fusion.evaluation.small_answers import CLASSES


def test_decisions_are_labels_in_the_form_of_y(judged, several):
    labels, proba, groups = judged
    found = answers.truth(labels, CLASSES, groups)
    given = np.array(CLASSES)[proba.argmin(1)]
    said = answers.answers(found, proba, given)
    assert said.decisions.tolist() == [proba.argmin(1).tolist()]
    assert answers.answers(found, proba).decisions.tolist() == [proba.argmax(1).tolist()]
    stack = answers.answers(found, [proba, proba], [given, labels])
    assert stack.decisions.tolist() == [proba.argmin(1).tolist(), found.y.tolist()]
    y, proba, groups = several
    found = answers.truth(y, CLASSES, groups)
    assert (answers.answers(found, proba).decisions == [proba > 0.5]).all()
    assert (answers.answers(found, proba, 1 - y).decisions == [1 - y]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:-1], r"decisions must be \(300,\), as y and of as many models as proba \(got \(299,\)\)"),
        (lambda d: [d, d], r"decisions must be \(300,\), .* Pass what model.predict returns"),
        (lambda d: np.where(d == "a", "z", d), r"decisions must hold labels of training \(got \['z'\]\)"),
    ],
)
def test_bad_decisions_are_refused(judged, change, message):
    labels, proba, groups = judged
    with pytest.raises(ValueError, match=message):
        answers.answers(answers.truth(labels, CLASSES, groups), proba, change(labels))


def test_bad_decisions_of_several_labels_are_refused(several):
    y, proba, groups = several
    with pytest.raises(ValueError, match=r"decisions \(N, K\) must hold 0 and 1 .* Pass what model.predict returns"):
        answers.answers(answers.truth(y, CLASSES, groups), proba, 2 * y)


def test_in_how_many_groups_a_class_is(several):
    found = answers.truth(np.array(["a", "b", "a", "c", "a", "b"]), CLASSES, [0, 0, 1, 1, 2, 2])
    assert found.carriers() == {"a": 3, "b": 2, "c": 1}
    assert found.parts().sum(0).tolist() == [3, 2, 1]
    y = several[0]
    found = answers.truth(y, CLASSES, several[2])
    assert found.parts().sum(0).tolist() == [*y.sum(0), *(1 - y).sum(0)]
    assert found.carriers()["a"] == min(len(set(several[2][y[:, 0] == k])) for k in (0, 1))
