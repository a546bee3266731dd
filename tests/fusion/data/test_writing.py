"""Files are written whole or not at all."""

import os

import pytest

from fusion.data.writing import replacing, write


def test_text_is_utf_8_and_bytes_are_bytes_and_folders_are_made(tmp_path):
    write(tmp_path / "a" / "b" / "text.txt", "\u00e4\n")
    write(str(tmp_path / "bytes"), b"\x00\xff")
    assert (tmp_path / "a" / "b" / "text.txt").read_bytes() == b"\xc3\xa4\n"
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    write(tmp_path / "bytes", "shorter")
    assert (tmp_path / "bytes").read_text() == "shorter"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "bytes"]


def test_a_file_comes_into_its_place_at_the_end_only(tmp_path):
    place = tmp_path / "table.csv"
    place.write_text("old")
    with replacing(place) as part:
        assert part.parent == tmp_path
        part.write_text("new")
        assert place.read_text() == "old"
    assert place.read_text() == "new"
    assert list(tmp_path.iterdir()) == [place]


def test_after_an_error_what_was_there_is_still_there_and_nothing_else(tmp_path):
    place = tmp_path / "table.csv"
    place.write_text("old")
    with pytest.raises(KeyError, match="midway"), replacing(place) as part:  # noqa: PT012 - the writing is what fails
        part.write_text("half")
        raise KeyError("midway")
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_who_writes_at_the_same_time_writes_a_file_of_their_own(tmp_path):
    place = tmp_path / "table.csv"
    with replacing(place) as first, replacing(place) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert place.read_text() == "first"  # it was done last
    assert list(tmp_path.iterdir()) == [place]


def test_no_link_that_waits_is_followed_and_the_name_of_a_part_is_drawn(tmp_path):
    place, mine = tmp_path / "table.csv", tmp_path / "mine"
    mine.write_text("precious")
    for name in ("table.csv", "table.csv.part", ".table.csv.part"):
        (tmp_path / name).symlink_to(mine)
    names = set()
    for _ in range(3):
        with replacing(place) as part:
            part.write_text("new")
            names.add(part.name)
    assert len(names) == 3
    assert (mine.read_text(), place.read_text(), place.is_symlink()) == ("precious", "new", False)


def test_a_file_may_be_read_by_whom_the_mask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "x", "x")
        assert os.umask(0o027) == 0o027  # which is left as it was
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file" / "below.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write(tmp_path / "folder", "x")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_it_is_on_the_disc_before_it_is_in_its_place(tmp_path, monkeypatch):
    order = []
    sync, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("sync"), sync(number)))
    monkeypatch.setattr(os, "replace", lambda *places: (order.append("move"), move(*places)))
    write(tmp_path / "x", "x")
    assert order == ["sync", "move"]
