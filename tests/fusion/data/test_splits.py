"""Parts and folds of a data set: whole patients, every class in every part."""

import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold

from fusion import brain_regions
from fusion.data import files, splits
from tests.fusion.data.small_tables import SLABS, people, table


def slabs():
    """Regions and slabs of the training brain."""
    parts = [brain_regions(part) for part in SLABS]
    return [np.concatenate([getattr(part, key) for part in parts]) for key in ("labels", "groups")]


def one_hot(labels):
    classes = sorted(set(labels.tolist()))
    return labels[:, None] == np.array(classes), classes


def divide(labels, patients, count, seed=0):
    held, classes = one_hot(np.asarray(labels))
    return splits.divide(held, classes, patients, count=count, seed=seed)


@pytest.mark.parametrize("patients", [[f"p{n // 3}" for n in range(90)], None], ids=["patients", "images"])
def test_folds_divide_everything_and_spread_the_classes(patients):
    labels = np.array(list("abc"))[np.arange(90) // 3 % 3]
    found = divide(labels, patients, 5)
    assert sorted(np.concatenate(found).tolist()) == list(range(90))
    assert [np.unique(labels[rows], return_counts=True)[1].tolist() for rows in found] == [[6, 6, 6]] * 5
    if patients:
        owners = [{patients[row] for row in rows} for rows in found]
        assert len(set.union(*owners)) == sum(map(len, owners))
    for rows, again in zip(found, divide(labels, patients, 5), strict=True):
        np.testing.assert_array_equal(rows, again)
    assert any(
        rows.tolist() != other.tolist() for rows, other in zip(found, divide(labels, patients, 5, 1), strict=True)
    )


def test_patients_move_where_a_fold_would_lack_a_class():
    labels, groups = slabs()
    drawn = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, groups)
    assert min(len(np.unique(labels[rows])) for _, rows in drawn) == 5  # why they have to
    found = divide(labels, groups.tolist(), 5)
    assert [len(np.unique(labels[rows])) for rows in found] == [6] * 5
    assert min(len(np.unique(groups[rows])) for rows in found) == 2
    assert sorted(np.concatenate(found).tolist()) == list(range(len(labels)))


def test_images_of_several_labels_hold_each_and_its_absence_in_every_fold():
    rng = np.random.default_rng(0)
    held = rng.random((120, 4)) < [0.5, 0.3, 0.1, 0.08]
    found = splits.divide(held, list("abcd"), [f"p{n // 2}" for n in range(120)], count=4, seed=0)
    assert not any(splits.lacking(held[rows], "abcd") for rows in found)


@pytest.mark.parametrize(
    ("labels", "patients", "count", "said"),
    [
        (
            "aaaabb",
            None,
            3,
            r"3 or more images with each class, one per part \(got \{'b': 2\}\)\. Add some, ask for fewer folds, or",
        ),
        ("aabbaabbab", list("ppppqqqqrr"), 4, r"4 or more patients with each class, .* \(got \{'a': 3, 'b': 3\}\)"),
        (
            "ababababab",
            list("ppqqrrsstt"),
            3,
            r"3 folds must hold 2 patients or more, .* \(got no such folds of 5 patients\)\. Ask for fewer folds",
        ),
    ],
)
def test_folds_that_cannot_be(labels, patients, count, said):
    with pytest.raises(ValueError, match=said):
        divide(np.array(list(labels)), patients, count)


def drawn(folder, rows, seed=0, header="path,label,patient"):
    return files.parts(table(folder, rows, header), seed)


def test_parts_are_drawn_by_patient(folder):
    found = drawn(folder, people(40))
    patients = {part: set(found[part].groups) for part in found}
    assert list(found) == ["train", "validation", "test"]
    assert [len(patients[part]) for part in found] == [24, 8, 8]
    assert set.union(*patients.values()) == {f"p{i}" for i in range(40)}
    assert [len(part.labels) for part in found.values()] == [72, 24, 24]
    assert all(np.sum(part.labels == "cat") == len(part.labels) / 2 for part in found.values())


def test_the_seed_decides_the_parts(folder):
    first, again, other = (drawn(folder, people(40), seed) for seed in (0, 0, 1))
    assert [part.paths for part in first.values()] == [part.paths for part in again.values()]
    for key in ("labels", "groups"):
        for part in first:
            np.testing.assert_array_equal(getattr(first[part], key), getattr(again[part], key))
    assert set(first["test"].groups) != set(other["test"].groups)


def test_parts_of_a_folder_are_stratified(folder):
    for label, count in (("cat", 27), ("dog", 7)):
        for i in range(3, 3 + count):
            Image.new("L", (8, 8)).save(folder / label / f"{i}.png")
    found = files.parts(folder)
    assert [len(part.labels) for part in found.values()] == [24, 8, 8]
    assert [np.sum(part.labels == "dog") for part in found.values()] == [6, 2, 2]
    assert len({path for part in found.values() for path in part.paths}) == 40


@pytest.mark.parametrize("count", [6, 7, 8, 9, 10, 11])
@pytest.mark.parametrize("seed", range(3))
def test_few_patients_of_one_class_each_still_make_parts(folder, count, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = drawn(folder, people(count), seed)
    assert all(set(part.labels) == {"cat", "dog"} for part in found.values())
    patients = [patient for part in found.values() for patient in set(part.groups)]
    assert sorted(patients) == sorted(f"p{i}" for i in range(count))


def test_three_images_of_a_class_come_one_into_each_part(folder):
    found = files.parts(folder)
    assert [(np.sum(part.labels == "cat"), np.sum(part.labels == "dog")) for part in found.values()] == [(1, 1)] * 3


@pytest.mark.parametrize("header", ["path,label,patient", "path,label,other"])
def test_a_rare_class_comes_into_each_part_without_a_warning(folder, header):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = drawn(folder, [f"{'dog' if i < 3 else 'cat'},p{i}" for i in range(30)], header=header)
    assert [np.sum(part.labels == "dog") for part in found.values()] == [1, 1, 1]


def test_parts_of_several_labels_hold_each_and_its_absence(folder):
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c"])
    held = rng.random((60, 3)) < [0.6, 0.3, 0.1]
    rows = [f"{'|'.join(names[row])},p{i // 2}" for i, row in enumerate(held)]
    found = drawn(folder, rows)
    for part in found.values():
        assert part.names == ["a", "b", "c"]
        assert (part.labels.sum(0) > 0).all()
        assert (part.labels.sum(0) < len(part.labels)).all()
    assert sum(len(part.labels) for part in found.values()) == 60
    assert not set(found["train"].groups) & set(found["test"].groups)
    assert drawn(folder, rows)["test"].labels.tolist() == found["test"].labels.tolist()
