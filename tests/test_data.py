import pytest
from PIL import Image

from fusion import data


@pytest.fixture
def folder(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(3):
            Image.new("L", (8, 8), 20 * i).save(tmp_path / label / f"{i}.png")
    return tmp_path


def test_a_folder_per_class(folder):
    (folder / "cat" / "notes.txt").write_text("not an image")
    found = data.read(folder)
    assert found.labels == ["cat"] * 3 + ["dog"] * 3
    assert found.patients is None
    assert [path.name for path in found.paths] == ["0.png", "1.png", "2.png"] * 2


def test_a_csv_with_patients_and_splits(folder):
    rows = ["path,label,patient,split", "cat/0.png,cat,p1,train", "dog/1.png,dog,p2,train", "dog/2.png,dog,p3,test"]
    (folder / "data.csv").write_text("\n".join(rows))
    assert data.read(folder / "data.csv").patients == ["p1", "p2", "p3"]
    test = data.read(folder / "data.csv", split="test")
    assert (test.labels, test.patients, test.paths) == (["dog"], ["p3"], [folder / "dog" / "2.png"])


def test_corrupt_images_are_all_named_and_the_rest_counted(folder):
    (folder / "cat" / "1.png").write_bytes(b"nothing")
    (folder / "dog" / "2.png").write_bytes((folder / "dog" / "2.png").read_bytes()[:-30])
    with pytest.raises(
        ValueError, match=r"images must be readable \(2 of 6 are not: .*cat/1\.png: not a readable"
    ) as caught:
        data.read(folder)
    assert "dog/2.png" in str(caught.value)
    assert "the other 4 are fine" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "split", "message"),
    [
        ("path,label\n", None, r"must hold rows \(got none\)"),
        ("path,label\ncat/0.png,\n", None, "must have a filled column 'label'"),
        ("file,label\ncat/0.png,cat\n", None, "must have a filled column 'path'"),
        ("path,label\ncat/0.png,cat\n", "test", "must have a filled column 'split'"),
        ("path,label,split\ncat/0.png,cat,train\n", "test", "must hold rows of split 'test'"),
        ("path,label,patient\ncat/0.png,cat,p\ndog/0.png,dog,\n", None, "must have a filled column 'patient'"),
        ("path,label\ncat/9.png,cat\n", None, r"images must be readable .*cat/9\.png"),
    ],
)
def test_bad_tables(folder, text, split, message):
    (folder / "data.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        data.read(folder / "data.csv", split=split)


def test_no_images_and_no_source(tmp_path):
    with pytest.raises(ValueError, match="must hold one folder of images per class"):
        data.read(tmp_path)
    with pytest.raises(ValueError, match="data must be a folder or a CSV"):
        data.read(tmp_path / "nowhere.csv")
