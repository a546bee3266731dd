"""Labels as they are given, and as numbers."""

import numpy as np
import pytest

from fusion.data import labels as labels_

LISTS = [["mass"], ["mass", "nodule"], [], ["effusion"]]
TABLE = [[0, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        (np.array(["b", "a", "b"]), ["a", "b"]),
        (np.array(["b", "a", "b"], dtype=object), ["a", "b"]),
        ([7, 3, 7], [3, 7]),
        ([True, False, True], [False, True]),
        ((2.0, 1.0, 2.0), [1.0, 2.0]),
    ],
)
def test_one_label_per_image(y, classes):
    known = labels_.read(y, 3)
    assert known.classes.tolist() == classes
    assert known.numbers.tolist() == [1, 0, 1]
    assert not known.multilabel
    assert known.classes[known.numbers].tolist() == list(y)
    assert labels_.numbered(y, 3, known.classes, multilabel=False).tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_a_list_of_labels_per_image(kind):
    y = [kind(labels) for labels in LISTS]
    for given in (y, tuple(y), _objects(y)):
        known = labels_.read(given, 4)
        assert known.classes.tolist() == ["effusion", "mass", "nodule"]
        assert known.numbers.tolist() == TABLE
        assert known.multilabel
        assert labels_.numbered(given, 4, known.classes, multilabel=True).tolist() == TABLE


def _objects(y):
    array = np.empty(len(y), dtype=object)
    array[:] = y
    return array


def test_lists_of_integers_are_labels_too():
    known = labels_.read([[3], [3, 9], [], [9]], 4)
    assert known.classes.tolist() == [3, 9]
    assert known.numbers.tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]]


@pytest.mark.parametrize("kind", [int, float, bool])
def test_a_table_of_0_and_1(kind):
    y = np.array(TABLE).astype(kind)
    known = labels_.read(y, 4)
    assert known.classes.tolist() == [0, 1, 2]
    assert known.numbers.tolist() == TABLE
    assert known.numbers.dtype == np.int64
    assert labels_.numbered(y, 4, known.classes, multilabel=True).tolist() == TABLE


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b"], r"y must be one label per image, 4 \(got shape \(2,\)\). Check X and y"),
        (["a", ["a", "b"], "b", "b"], r"y must be one label per image, 4, or a list of labels each \(got a mixture\)"),
        (np.zeros((4, 1)), r"y must be one label per image, 4 \(got shape \(4, 1\)\)"),
        (np.zeros((4, 2, 2)), r"y must be one label per image, 4 \(got shape \(4, 2, 2\)\)"),
        ([0.1, 0.2, 0.3, 0.4], r"y must hold classes \(got continuous values\). Pass strings or integers"),
        (["a"] * 4, r"y must hold at least two classes \(got \['a'\]\). Add images of another"),
        ([0, 1, np.nan, 1], r"y must be known for every image \(got none for images \[2\]\). Leave these out"),
        (np.array(["a", None, "b", None]), r"y must be known for every image \(got none for images \[1, 3\]\)"),
        (LISTS[:3], r"y must be a list of labels per image, 4, with two labels at least \(got 3 with"),
        ([["a"], [], ["a"], []], r"with two labels at least \(got 4 with \['a'\]\). Check X and y"),
        (TABLE, r"y must name a label once per image \(got \[0, 1, 0\]\). Pass np.array\(y\) if it is 0 and 1"),
        ([["a"], ["b", "b"], [], []], r"y must name a label once per image \(got \['b', 'b'\]\)"),
        (
            np.array(TABLE) * 2,
            r"y must be 0 or 1 per image and label, \(4, K\) \(got shape \(4, 3\), values \[0, 2\]\)",
        ),
        (np.where(TABLE, 1, np.nan), r"values \[1.0, nan\]\). Decide what unknown labels are to be"),
        (np.array(TABLE)[:3], r"y must be 0 or 1 per image and label, \(4, K\) \(got shape \(3, 3\)"),
        (np.array(TABLE) * [1, 0, 1], r"every label must have images with and without it \(not \[1\]\). Add images"),
        ([["a"], ["a", "b"], ["a"], ["a"]], r"every label must have images with and without it \(not \['a'\]\)"),
    ],
)
def test_what_is_no_target_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        labels_.read(y, 4)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "b", "c"], r"y must be one label per image, 4 \(got shape \(3,\)\)"),
        (
            [["a"], ["b"], ["c"], []],
            r"y must be one label per image, 4, or a list of labels each \(got a mixture\). Check y",
        ),
        (["a", "b", "z", "y"], r"y must hold labels of training \(got \['y', 'z'\]\). Known: \['a', 'b', 'c'\]"),
        (["a", "b", "a", "b"], r"validation must hold every class \(without \['c'\]\). Add images of them"),
        ([1, 2, 3, 1], r"y must hold labels of training \(got \[1, 2, 3\]\)"),
    ],
)
def test_further_labels_must_be_those_of_training(y, message):
    with pytest.raises(ValueError, match=message):
        labels_.numbered(y, 4, np.array(["a", "b", "c"]), multilabel=False)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([["a"], ["b"], ["c"]], r"y must be \(4, 3\) \(got \(3, 3\)\). Check X and y"),
        ([["a"], ["b"], ["z"], ["c"]], r"y must hold labels of training \(got \['z'\]\). Known: \['a', 'b', 'c'\]"),
        ([["a"], ["b"], [], []], r"validation must hold images with and without every label \(not \['c'\]\)"),
        (np.array(TABLE)[:, :2], r"y must be \(4, 3\) \(got \(4, 2\)\)"),
        (
            np.array([0, 1, 1, 0]),
            r"y must be 0 or 1 per image and label, \(4, K\) \(got shape \(4,\), values \[0, 1\]\)",
        ),
        (["a", ["b"], ["c"], []], r"y must be one label per image, 4, or a list of labels each \(got a mixture\)"),
        (["a", "b", "c", "a"], r"y must be 0 or 1 per image and label, \(4, K\) \(got shape \(4,\)"),
    ],
)
def test_further_lists_and_tables_must_be_those_of_training(y, message):
    with pytest.raises(ValueError, match=message):
        labels_.numbered(y, 4, np.array(["a", "b", "c"]), multilabel=True)
