"""Folds of a data set as sources of studies: whole patients, every class in every part, never the test brain."""

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold

from fusion import brain_regions
from fusion.data import samples, sources, splits
from fusion.data.sets import brain_regions as brain_regions_
from fusion.study import config as config_
from fusion.study import run
from fusion.study.results import read

SLABS = ("train", "validation")


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


@pytest.fixture
def table(tmp_path):
    """24 patients with two images each, of two classes, with splits of their own."""
    rows = ["path,label,patient,split"]
    for n in range(48):
        Image.fromarray(np.full((8, 8), 5 * n, np.uint8)).save(tmp_path / f"{n}.png")
        rows.append(f"{n}.png,{'ab'[n // 2 % 2]},p{n // 2},{('train', 'train', 'val', 'test')[n // 12]}")
    (tmp_path / "scans.csv").write_text("\n".join(rows))
    return tmp_path / "scans.csv"


def names(part):
    return {path.name for path in part.images}


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


def test_every_image_is_tested_once_and_validated_once(table):
    tested, validated = [], []
    for fold in range(1, 5):
        source = f"{table}@{fold}/4"
        train, validation = sources.open_parts(source)
        test = sources.open_test(source)
        parts = [train, validation, test]
        assert sum(map(len, parts)) == 48 == len(set.union(*map(names, parts)))  # its own splits are put together
        assert len(set.union(*(set(part.groups) for part in parts))) == sum(len(set(part.groups)) for part in parts)
        assert [sorted(set(part.labels)) for part in parts] == [["a", "b"]] * 3
        tested.append(names(test))
        validated.append(names(validation))
    assert len(set.union(*tested)) == len(set.union(*validated)) == 48
    assert validated == tested[1:] + tested[:1]


def test_folds_of_the_brain_are_of_one_brain(monkeypatch):
    monkeypatch.setitem(brain_regions_._FILES, "test", "absent.npz")
    with pytest.raises(FileNotFoundError):
        sources.open_test("brain-regions")
    total = 0
    for fold in range(1, 6):
        train, validation = sources.open_parts(f"brain-regions@{fold}/5")
        test = sources.open_test(f"brain-regions@{fold}/5")
        groups = [set(part.groups) for part in (train, validation, test)]
        assert len(set.union(*groups)) == sum(map(len, groups)) == 12
        assert [len(set(part.labels)) for part in (train, validation, test)] == [6, 6, 6]
        total += len(test)
    assert total == sum(len(brain_regions(part).labels) for part in SLABS)


def test_a_study_of_a_fold_judges_without_the_test_brain(tmp_path, monkeypatch):
    monkeypatch.setitem(brain_regions_._FILES, "test", "absent.npz")
    few = {"name": "x", "encoders": ["mocov2-mini@0.25"], "strategies": ["probe"], "labels": [24], "seeds": [0]}
    config = config_.parse({**few, "reference": "probe", "raw_pixels": False}, "test")
    run.run(config, tmp_path, "brain-regions@5/5", final=True)
    page = read.write(tmp_path)[-1].read_text()
    assert "Fold 5 of 5 is the test part" in page
    assert "says nothing about another brain" in page
    assert "MNI152" not in page
    assert read.results(tmp_path).study["source"] == "brain-regions@5/5"


@pytest.mark.parametrize("fold", ["6/5", "0/5", "a/b", "1/2", "/5", "1/", "-1/5", "1.0/5"])
def test_what_is_no_fold_is_one_sentence(fold, table):
    with pytest.raises(ValueError) as caught:
        sources.open_parts(f"{table}@{fold}")
    assert str(caught.value) == f"fold must be K/N, K from 1 to N and N from 3 (got {fold!r}). Try {table}@1/5."


def test_a_fold_of_data_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"data must be a folder or a CSV \(got .*absent\.csv'"):
        sources.open_parts(f"{tmp_path / 'absent.csv'}@1/5")


def test_a_path_that_is_there_is_no_fold(tmp_path):
    (tmp_path / "scans@1" / "3").mkdir(parents=True)
    assert sources.divided(tmp_path / "scans@1" / "3") == (str(tmp_path / "scans@1" / "3"), None)


def test_a_source_is_the_same_from_everywhere(table, monkeypatch):
    monkeypatch.chdir(table.parent)
    (table.parent / "link.csv").symlink_to("scans.csv")
    assert sources.resolved("scans.csv@02/5") == f"{table}@2/5" == sources.resolved("link.csv@2/5")
    assert sources.resolved("brain-regions@2/5") == "brain-regions@2/5"
    assert sources.resolved("scans.csv") == str(table)


def test_folds_have_fingerprints_of_their_own(table):
    found = [samples.fingerprint(*sources.open_parts(f"{table}@{fold}")) for fold in ("1/4", "2/4", "1/3", "1/4")]
    assert len(set(found)) == 3
    assert found[0] == found[3]
