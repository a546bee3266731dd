from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusion.data import folds
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
        ([["a"], ["b"], [], []], r"every label must have images with and without it \(not \['c'\]\)"),
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


def problem(kind, count=120):
    rng = np.random.default_rng(0)
    labels = (rng.random((count, 3)) < [0.5, 0.3, 0.2]).astype(int)
    return (np.arange(count) % 4 if kind == "classes" else labels), rng.integers(9, size=count)


@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("grouped", [True, False])
def test_every_image_is_held_out_once_and_no_group_is_on_both_sides(kind, grouped):
    numbers, groups = problem(kind)
    found = folds.folds(numbers, groups if grouped else None, 4, 0)
    assert len(found) == 4
    assert sorted(np.concatenate([test for _, test in found]).tolist()) == list(range(120))
    for train, test in found:
        assert sorted([*train, *test]) == list(range(120))
        assert len(test)
        if grouped:
            assert not set(groups[train]) & set(groups[test])


def test_classes_are_spread_and_the_seed_decides():
    numbers, _ = problem("classes")
    found = folds.folds(numbers, None, 4, 0)
    assert all(set(np.bincount(numbers[test])) <= {7, 8} for _, test in found)
    again, other = (folds.folds(numbers, None, 4, seed) for seed in (0, 1))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(found, again, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(found, other, strict=True))


@pytest.mark.parametrize(
    ("numbers", "groups", "count", "message"),
    [
        (
            [0, 0, 0, 1, 1],
            None,
            3,
            r"folds must be from 2 to the images of the rarest class, 2 \(got 3\). Pass folds=2",
        ),
        ([0, 0, 0, 1, 1], None, 1, r"folds must be from 2 .*\(got 1\)"),
        ([[1, 0], [1, 0], [0, 1], [1, 1]], None, 2, r"rarest class, 1 \(got 2\)"),
        ([0, 1, 0, 1, 0, 1], [1, 1, 1, 2, 2, 2], 3, r"folds must not exceed the groups, 2 \(got 3\). Pass folds=2"),
        ([0, 1, 0, 1], [1, 1, 1, 1], 2, r"folds must not exceed the groups, 1 \(got 2\)"),
    ],
)
def test_folds_that_cannot_be(numbers, groups, count, message):
    with pytest.raises(ValueError, match=message):
        folds.folds(np.array(numbers), None if groups is None else np.array(groups), count, 0)


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_what_is_held_out_holds_every_class_and_leaves_every_class(kind):
    numbers, groups = problem(kind)
    train, test = folds.held_out(numbers, groups, 5, 0)
    assert not set(groups[train]) & set(groups[test])
    assert len(train) + len(test) == 120
    for part in (train, test):
        sides = [numbers[part], 1 - numbers[part]] if kind == "labels" else [np.bincount(numbers[part], minlength=4)]
        assert all(np.atleast_2d(side).sum(0).min() > 0 for side in sides)


def test_a_fold_grows_until_it_holds_every_class():
    """The last class is in two of six groups, which lack the first: no fold of a single group can hold all three."""
    groups = np.repeat(np.arange(6), 10)
    numbers = np.where((groups > 3) & (np.arange(60) % 2 == 0), 2, np.arange(60) % 2)
    train, test = folds.held_out(numbers, groups, 6, 0)
    assert set(numbers[train]) == set(numbers[test]) == {0, 1, 2}
    assert not set(groups[train]) & set(groups[test])


def test_a_class_of_one_group_cannot_be_held_out():
    groups = np.repeat(np.arange(6), 10)
    numbers = np.where(groups == 5, 2, np.arange(60) % 2)
    message = r"a fold to stop early on must hold every class \(got none such of 5 folds or fewer\). Pass validation="
    with pytest.raises(ValueError, match=message):
        folds.held_out(numbers, groups, 5, 0)
    with pytest.raises(ValueError, match="folds must be from 2"):
        folds.held_out(numbers, groups, 1, 0)


def test_what_is_left_may_allow_fewer_folds():
    numbers, groups = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 0, 0])
    assert folds.fewer(numbers, None, 2) == 2
    assert folds.fewer(numbers, None, 5) == 3
    assert folds.fewer(numbers, groups, 5) == 2
    assert folds.fewer(numbers[2:], None, 5) == 2  # refused by `folds`


def test_groups_are_one_per_image():
    assert folds.members(None, 3) is None
    assert folds.members(["a", "a", "b"], 3).tolist() == ["a", "a", "b"]
    with pytest.raises(ValueError, match=r"groups must be one per image, 3 \(got shape \(2,\)\). Check groups"):
        folds.members(["a", "b"], 3)


def test_a_fingerprint_tells_images_names_targets_and_order():
    images, numbers = np.random.default_rng(0).integers(0, 255, (3, 4, 4), dtype=np.uint8), np.array([0, 1, 1])
    first = labels_.fingerprint(images, numbers)
    assert first == labels_.fingerprint(images.copy(), numbers.copy()) == labels_.fingerprint(list(images), numbers)
    assert first == labels_.fingerprint([Image.fromarray(image) for image in images], numbers)
    paths = ["a.png", "b.png", "c.png"]
    others = [
        labels_.fingerprint(images[::-1], numbers),
        labels_.fingerprint(images, numbers[::-1].copy()),
        labels_.fingerprint(images[:2], numbers),
        labels_.fingerprint(paths, numbers),
        labels_.fingerprint(paths[::-1], numbers),
    ]
    assert len({first, *others}) == 6
    assert labels_.fingerprint(paths, numbers) == labels_.fingerprint([Path(path) for path in paths], numbers)
    changed = images.copy()
    changed[2, 3, 3] ^= 1
    assert labels_.fingerprint(changed, numbers) != first
