"""Folds of a fit: groups stay whole, and every fold can teach every class."""

import numpy as np
import pytest

from fusion.data import folds


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
        ([[1, 0], [1, 0], [0, 1], [1, 1]], None, 2, r"rarest class, 1 \(got 2\)\. Add images of it"),
        ([0, 1, 0, 1, 0, 1], [1, 1, 1, 2, 2, 2], 3, r"folds must not exceed the groups, 2 \(got 3\). Pass folds=2"),
        ([0, 1, 0, 1], [1, 1, 1, 1], 2, r"folds must not exceed the groups, 1 \(got 2\)\. Add images of other groups"),
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


def test_folds_keep_copies_together():
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 5), dtype=np.uint8).repeat(3, axis=0)
    numbers = np.arange(60) // 3 % 2
    groups = folds.members(None, 60, images)
    for train, test in folds.folds(numbers, groups, 4, 0):
        assert not {image.tobytes() for image in images[train]} & {image.tobytes() for image in images[test]}
    train, test = folds.held_out(numbers, groups, 4, 0)
    assert not {image.tobytes() for image in images[train]} & {image.tobytes() for image in images[test]}


def test_copies_go_with_their_images():
    rows = np.array([0, 1, 2, 0, 1, 2, 3, 3])  # two copied once, then another one
    found = folds.of_copies([(np.array([0, 3]), np.array([1, 2])), (np.array([1, 2]), np.array([0, 3]))], rows)
    assert [[side.tolist() for side in pair] for pair in found] == [
        [[0, 3, 6, 7], [1, 2, 4, 5]],
        [[1, 2, 4, 5], [0, 3, 6, 7]],
    ]
