"""The door for ids, and which images are one unit."""

import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from fusion.data import folds
from fusion.evaluation import intervals, score, units
from tests.fusion.evaluation.test_labels import SPELLINGS, NAType


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 6), dtype=np.uint8)


@pytest.mark.parametrize("unknown", [*SPELLINGS, NAType()], ids=lambda value: f"{type(value).__name__}-{value!s:.6}")
def test_a_missing_id_is_refused_at_every_entry(unknown):
    groups = ["p1", unknown, "p2", "p3", "p4", "p5"]
    y, proba = [0, 1] * 3, np.full((6, 2), 0.5)
    for entry in (
        lambda: units.ids(groups),
        lambda: folds.members(groups, 6),
        lambda: score.score(y, proba, [0, 1], groups),
        lambda: intervals.numbered(groups, 6),
    ):
        with pytest.raises(ValueError, match=r"groups must be known for every image \(got none for images \[1\]\)"):
            entry()


def test_spellings_of_one_patient_are_one():
    found = folds.members(["P1", "P1 ", "\u00a0P1", "P1\u200b", "P2"], 5)
    assert found.tolist() == ["P1"] * 4 + ["P2"]
    assert intervals.numbered(["b", "a", "b ", "c", " d"], 5).tolist() == [0, 1, 0, 2, 3]
    y, proba = np.arange(24) % 2, np.random.default_rng(0).dirichlet([1, 1], 24)
    groups = np.arange(24) // 3
    spelled = [f"{group}{' ' * (row % 3)}" for row, group in enumerate(groups)]
    assert score.score(y, proba, [0, 1], spelled) == score.score(y, proba, [0, 1], groups.astype(str))


@pytest.mark.parametrize("pair", [("p1", "P1"), ("1", "01"), ("7", "7.0"), ("case 7", "case7")])
def test_what_may_be_one_patient_is_told_and_stays_two(pair):
    with pytest.warns(UserWarning, match="are taken as different"):
        assert len(set(units.ids([*pair, "x"]).tolist())) == 3


@pytest.mark.parametrize("groups", [[1, "1"], [1, 1.5], [True, 2], [b"a", b"b"], [object(), 1], [2**70, 1]])
def test_ids_of_two_kinds_are_refused(groups):
    with pytest.raises(ValueError, match=r"groups must be all text, all whole numbers or all booleans \(got "):
        units.ids(groups)


def test_ids_that_pandas_made_floats_are_whole_numbers():
    assert units.ids([1.0, 2.0, np.float64(1)]).tolist() == [1, 2, 1]
    assert units.digests(pictures(1), [7.0]) == units.digests(pictures(1), ["7"])


def test_large_ids_stay_apart_beside_floats():
    assert units.ids([2**60 + 1, 2**60 + 2, 1.0]).tolist() == [2**60 + 1, 2**60 + 2, 1]


def test_ids_and_paths_of_any_bytes_are_hashed():
    assert len(units.digests(pictures(2), ["p\udcff", "p\ud800"])) == 4
    assert units.numbered(None, ["a\0b", "p\ud800.png", "a\0b"], 3).tolist() == [0, 1, 0]


def test_paths_in_bytes_are_paths(tmp_path):
    for k, image in enumerate(pictures(2)):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
    paths = [str(tmp_path / f"{k}.png") for k in range(2)]
    for spelled in (np.array(paths, "S"), [os.fsencode(path) for path in paths]):
        assert units.seen_rows(units.digests(paths), spelled) == [0, 1]
        assert units.numbered(None, [*spelled, paths[0]], 3).tolist() == [0, 1, 0]
    assert units.digests(os.fsencode(paths[0])) == units.digests(paths[:1])


@pytest.mark.parametrize("read", [False, True], ids=["fresh", "decoded"])
def test_a_pil_image_counts_as_its_file_and_its_pixels(read, tmp_path):
    for k, image in enumerate(pictures(2)):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
    paths = [tmp_path / f"{k}.png" for k in range(2)]
    images = [Image.open(path) for path in paths]
    if read:
        images[0].load()
    assert units.numbered(None, [*images, paths[0], images[1].copy()], 4).tolist() == [0, 1, 0, 1]
    seen = units.digests(images)
    assert units.seen_rows(seen, paths) == units.seen_rows(seen, pictures(2)) == [0, 1]
    assert units.seen_rows(units.digests(paths), images) == [0, 1]
    images[0].putpixel((0, 0), 255 - images[0].getpixel((0, 0)))
    assert units.seen_rows(units.digests(paths), images[:1]) == []


def test_copies_are_one_unit_and_join_groups():
    images = pictures(5)
    images[3] = images[0]
    assert units.numbered(None, images, 5).tolist() == [0, 1, 2, 0, 3]
    assert units.numbered(["a", "a", "b", "c", "c"], images, 5).tolist() == [0, 0, 1, 0, 0]
    assert folds.members(["a", "a", "b", "c", "c"], 5, images).tolist() == ["a", "a", "b", "a", "a"]
    assert folds.members(None, 5, images[[0, 1, 2, 1, 4]]) is not None
    assert folds.members(None, 3, images[:3]) is None
    assert folds.members(["b", "a", "b"], 3, images[:3]).tolist() == ["b", "a", "b"]


def test_files_are_known_by_what_they_hold(tmp_path):
    for k, image in enumerate(pictures(3)):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
    shutil.copy(tmp_path / "0.png", tmp_path / "copy.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "1.png")
    os.link(tmp_path / "2.png", tmp_path / "hard.png")
    names = ["0.png", "1.png", "2.png", "copy.png", "link.png", "hard.png"]
    paths = [tmp_path / name for name in names]
    assert units.numbered(None, paths, 6).tolist() == [0, 1, 2, 0, 1, 2]
    assert units.numbered(None, [str(path) for path in paths], 6).tolist() == [0, 1, 2, 0, 1, 2]
    slices = [tmp_path / "brain.nii.gz:1", tmp_path / "brain.nii.gz:2"]
    (tmp_path / "brain.nii.gz").write_bytes(b"volume")
    assert units.numbered(None, slices, 2).tolist() == [0, 0]


def test_blank_pictures_are_nobodys_copy(tmp_path):
    for k in range(3):
        Image.new("L", (6, 6), 7).save(tmp_path / f"{k}.png")
    paths = [tmp_path / f"{k}.png" for k in (0, 1, 2, 1)]
    assert units.numbered(None, paths, 4).tolist() == [0, 1, 2, 1]  # a file is its own copy still
    assert units.numbered(None, np.zeros((3, 4, 4)), 3).tolist() == [0, 1, 2]
    assert units.digests(np.zeros((3, 4, 4))) == set()
    seen = units.digests(paths[:1])
    assert units.seen_rows(seen, [paths[1]]) == []


def test_what_cannot_be_looked_at_is_itself(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert units.numbered(None, [tmp_path / "none.png", tmp_path / "pipe.png", tmp_path / "none.png"], 3).tolist() == [
        0,
        1,
        0,
    ]
    assert units.numbered(None, None, 2).tolist() == [0, 1]
    assert units.numbered(None, [object(), object()], 2).tolist() == [0, 1]


def test_a_digest_is_of_content_and_of_ids(tmp_path):
    images = pictures(2)
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in units.digests(images, ["a", "b"]))
    assert len(units.digests(images, ["a", "b "])) == 4
    assert units.digests(images, ["a", "b"]) == units.digests(images[::-1].copy(), ["b", "a "])
    for name in ("x.png", "y.png"):
        Image.fromarray(images[0]).save(tmp_path / name)
    assert units.digests([tmp_path / "x.png"]) == units.digests([str(tmp_path / "y.png")])


def test_the_seen_are_refused_and_named():
    images = pictures(6)
    seen = units.digests(images[:3], ["a", "b", "c"])
    assert units.seen_rows(seen, images[2:], ["d", "e", "b ", "f"]) == [0, 2]
    with pytest.raises(ValueError, match=r"images must be new to the model \(got 2 of 4 .*such as image 0, image 2\)"):
        units.refuse_seen(seen, images[2:], ["d", "e", "b", "f"])
    units.refuse_seen(seen, images[3:], ["d", "e", "f"])
    units.refuse_seen((), images)


@given(
    groups=some.lists(some.sampled_from(["p1", "p1 ", "p2", "3", "\tp3", None, "NA"]), min_size=1, max_size=9),
    contents=some.lists(some.integers(0, 5), min_size=9, max_size=9),
)
def test_units_are_unions_of_ids_and_contents(groups, contents):
    images = pictures(6)[contents[: len(groups)]]
    if any(group in (None, "NA") for group in groups):
        with pytest.raises(ValueError, match="must be known"):
            units.numbered(groups, images, len(groups))
        return
    found = units.numbered(groups, images, len(groups))
    names = [group.strip() for group in groups]
    for a in range(len(groups)):
        for b in range(len(groups)):
            if names[a] == names[b] or contents[a] == contents[b]:
                assert found[a] == found[b]
    reached = {0}
    while (
        more := {b for a in reached for b in range(len(names)) if names[a] == names[b] or contents[a] == contents[b]}
        - reached
    ):
        reached |= more
    assert {row for row, unit in enumerate(found) if unit == found[0]} == reached  # and nothing beside
