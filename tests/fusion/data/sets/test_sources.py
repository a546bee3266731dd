"""Folds of a data set as sources of studies: whole patients, every class in every part, never the test brain."""

import numpy as np
import pytest
from PIL import Image

from fusion import brain_regions
from fusion.data import samples
from fusion.data.sets import brain_regions as brain_regions_
from fusion.data.sets import sources
from tests.fusion.data.small_tables import SLABS


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
