"""A user's own images: a folder per class, a CSV, an archive; and their parts."""

import os
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

import fusion
import zoo
from fusion.data import files
from tests.fusion.data.small_tables import people, picture, table


def test_a_folder_per_class(folder):
    (folder / "cat" / "notes.txt").write_text("not an image")
    with pytest.warns(UserWarning, match=r"left out, as no images: \['cat/notes\.txt'\]"):
        found = files.read(folder)
    assert found.labels.tolist() == ["cat"] * 3 + ["dog"] * 3
    assert found.groups is None
    assert [path.name for path in found.paths] == ["0.png", "1.png", "2.png"] * 2


def test_a_csv_with_patients_and_splits(folder):
    rows = ["path,label,patient,split", "cat/0.png,cat,p1,train", "dog/1.png,dog,p2,train", "dog/2.png,dog,p3,test"]
    (folder / "data.csv").write_text("\n".join(rows))
    assert files.read(folder / "data.csv").groups.tolist() == ["p1", "p2", "p3"]
    test = files.read(folder / "data.csv", split="test")
    assert (test.labels.tolist(), test.groups.tolist(), test.paths) == (["dog"], ["p3"], [folder / "dog" / "2.png"])


def test_corrupt_images_are_all_named_and_the_rest_counted(folder):
    (folder / "cat" / "1.png").write_bytes(b"nothing")
    (folder / "dog" / "2.png").write_bytes((folder / "dog" / "2.png").read_bytes()[:-30])
    with pytest.raises(
        ValueError, match=r"images must be readable \(2 of 6 are not: .*cat/1\.png: image must be a readable"
    ) as caught:
        files.read(folder)
    assert "dog/2.png" in str(caught.value)
    with pytest.warns(
        UserWarning, match=r"left out, as they cannot be read, 2 of 6 images: .*cat/1\.png: .*dog/2\.png: "
    ):
        found = files.read(folder, skip=True)
    assert [path.name for path in found.paths] == ["0.png", "2.png", "0.png", "1.png"]
    assert found.labels.tolist() == ["cat", "cat", "dog", "dog"]
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
        files.read(folder / "data.csv", split=split)


def test_no_images_and_no_source(tmp_path):
    with pytest.raises(ValueError, match="must hold one folder of images per class"):
        files.read(tmp_path)
    with pytest.raises(ValueError, match="data must be a folder or a CSV"):
        files.read(tmp_path / "nowhere.csv")


def test_an_empty_class_folder_is_named(folder):
    (folder / "emu").mkdir()
    (folder / "emu" / "notes.txt").write_text("not an image")
    (folder / ".cache").mkdir()
    refused = pytest.raises(ValueError, match=r"every class folder of .* must hold images \(got none in \['emu'\]\)")
    with refused, pytest.warns(UserWarning, match="emu/notes"):
        files.read(folder)


def test_dicom_is_decoded_as_an_encoder_would(folder):
    shutil.copy(get_testdata_file("MR_small.dcm"), folder / "cat" / "a.dcm")
    assert len(files.read(folder).paths) == 7
    (folder / "dog" / "b.DCM").write_bytes(b"")
    shutil.copy(get_testdata_file("MR_truncated.dcm"), folder / "dog" / "c.dcm")
    with pytest.raises(ValueError, match=r"2 of 9 are not: .*dog/b\.DCM: .*dog/c\.dcm: "):
        files.read(folder)


def test_a_slice_of_a_volume_is_a_path(folder):
    voxels = np.random.default_rng(0).integers(0, 99, (6, 5, 44)).astype(np.int16)
    nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(folder / "brain.nii.gz")
    (folder / "data.csv").write_text("path,label\nbrain.nii.gz:42,cat\nbrain.nii.gz:7,dog\n")
    found = files.read(folder / "data.csv", window=(0, 99))
    assert [path.name for path in found.paths] == ["brain.nii.gz:42", "brain.nii.gz:7"]
    assert len(set(found.groups)) == 1  # slices of one volume are not independent
    with pytest.raises(ValueError, match=r"window must be given for slices .*\(2 of 2 images\)\. Pass --window"):
        files.read(folder / "data.csv")
    (folder / "data.csv").write_text("path,label\nother.nii.gz:42,cat\nbrain.nii.gz:44,dog\n")
    with pytest.raises(ValueError, match=r"2 of 2 are not: .*No such file.*brain\.nii\.gz:44"):
        files.read(folder / "data.csv", window=(0, 99))


def test_several_labels(folder):
    rows = ["mass|node,p1,train", "mass,p2,val", ",p3,test", "node | mass,p4,test"]
    found = files.read(table(folder, rows))
    assert found.names == found.classes == ["mass", "node"]
    assert found.labels.tolist() == [[1, 1], [1, 0], [0, 0], [1, 1]]
    assert found.named() == [["mass", "node"], ["mass"], [], ["mass", "node"]]
    validation = files.read(table(folder, rows), split="validation")
    assert (validation.labels.tolist(), validation.names) == ([[1, 0]], ["mass", "node"])
    assert files.read(table(folder, rows), split="val").labels.tolist() == [[1, 0]]


def test_an_empty_label_is_none_of_them_only_where_there_are_bars(folder):
    with pytest.raises(ValueError, match="must have a filled column 'label'"):
        files.read(table(folder, ["mass,p1,train", ",p2,train"]))
    with pytest.raises(ValueError, match="must be names between bars"):
        files.read(table(folder, ["mass||node,p1,train", ",p2,train"]))


def test_a_spreadsheet_may_begin_with_its_mark(folder):
    (folder / "data.csv").write_text("\ufeffpath,label\ncat/0.png,cat\n", encoding="utf-8")
    assert files.read(folder / "data.csv").labels.tolist() == ["cat"]


def archive(folder, *, labels=None, parts=("train", "val", "test"), form=(8, 8), count=12):
    """An `.npz` like MedMNIST's; the images of part p have the values 50 p + 0, 1, 2, ..."""
    held = {}
    for p, part in enumerate(parts):
        held[f"{part}_images"] = np.zeros((count, *form), np.uint8) + 50 * p
        held[f"{part}_images"] += np.arange(count, dtype=np.uint8).reshape(-1, *[1] * len(form))
        held[f"{part}_labels"] = (np.arange(count)[:, None] % 3).astype(np.uint8) if labels is None else labels
    np.savez_compressed(folder / "some.npz", **held)
    return folder / "some.npz"


@pytest.mark.parametrize("form", [(8, 8), (8, 8, 3)])
def test_an_archive_and_its_parts(folder, form):
    source = archive(folder, form=form)
    found = files.parts(source)
    assert list(found) == ["train", "validation", "test"]
    assert found["validation"].images.shape == (12, *form)
    assert [part.images.reshape(12, -1)[0, 0] for part in found.values()] == [0, 50, 100]
    assert found["test"].labels.tolist() == ["0", "1", "2"] * 4
    assert found["test"].groups is None
    whole = files.read(source)
    assert whole.images.shape == (36, *form)
    assert (len(whole.labels), whole.images.reshape(36, -1)[12, 0]) == (36, 50)
    for name in ("val", "validation"):
        assert np.array_equal(files.read(source, split=name).images, found["validation"].images)
    with pytest.raises(TypeError, match="images must be files to have paths"):
        _ = whole.paths


def test_an_archive_of_several_labels(folder):
    labels = np.array([[1, 0] * 6, [0, 1] * 6, [0] * 12, [1] * 12], np.uint8)
    found = files.parts(archive(folder, labels=labels, count=4))
    assert found["train"].labels.tolist() == labels.tolist()
    assert found["train"].names == [f"{k:02}" for k in range(12)] == sorted(found["train"].names)
    assert found["train"].named()[1] == ["01", "03", "05", "07", "09", "11"]
    assert files.read(folder / "some.npz").labels.shape == (12, 12)


def test_an_archive_without_validation_takes_it_from_training(folder):
    found = files.parts(archive(folder, parts=("train", "test"), count=24))
    assert [len(part.labels) for part in found.values()] == [18, 6, 24]
    values = [set(part.images[:, 0, 0].tolist()) for part in found.values()]
    assert values[0] | values[1] == set(range(24))
    assert not values[0] & values[1]
    assert values[2] == set(range(50, 74))


def test_an_archive_goes_through_the_classifier(folder):
    rng = np.random.default_rng(0)
    labels, held = np.arange(20)[:, None] % 2, {}
    for part in ("train", "val", "test"):
        held[f"{part}_images"] = (rng.integers(0, 80, (20, 28, 28)) + 150 * labels[..., None]).astype(np.uint8)
        held[f"{part}_labels"] = labels
    np.savez(folder / "some.npz", **held)
    found = files.parts(folder / "some.npz")
    model = fusion.FusionClassifier(["mocov2-mini@0.25"], folds=2, compare_baselines=False).fit(
        found["train"].images, found["train"].labels
    )
    test = found["test"]
    assert fusion.evaluate(model, test.images, test.labels, test.groups, resamples=20).images == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train_images": np.zeros((12, 8, 8, 8), np.uint8)},
            r"train_images of .*\(got \(12, 8, 8, 8\)\)\. Store slices",
        ),
        ({"train_images": np.zeros((0, 8, 8), np.uint8)}, r"train_images of .*\(got \(0, 8, 8\)\)"),
        ({"val_images": np.zeros((12, 9, 9), np.uint8)}, r"parts of .* must have equal sizes and labels"),
        ({"val_labels": np.eye(12, dtype=int)}, r"parts of .* must have equal sizes and labels"),
        ({"test_labels": np.zeros((11, 1), int)}, r"test_labels of .* must be integers.* N 12 \(got int64 \(11, 1\)\)"),
        ({"test_labels": np.zeros((12, 1))}, r"test_labels of .* must be integers.*got float64"),
        ({"train_labels": np.full((12, 2), 7)}, r"train_labels of .* must be 0 and 1 \(got 7\)"),
        ({"test_labels": np.zeros((12, 0), int)}, r"test_labels of .* must be integers.*got int64 \(12, 0\)"),
        ({"train_labels": None}, r"must be a MedMNIST \.npz \(got .*train_labels"),
        ({"train_labels": np.array([None] * 12)}, r"must be a MedMNIST \.npz \(got no archive of numbers"),
    ],
)
def test_bad_archives(folder, change, message):
    with np.load(archive(folder)) as stored:
        held = {**stored, **change}
    np.savez(folder / "bad.npz", **{name: values for name, values in held.items() if values is not None})
    with pytest.raises(ValueError, match=message):
        files.parts(folder / "bad.npz")


def test_archives_that_are_none(folder):
    for content in (b"", b"nothing", archive(folder).read_bytes()[:-60]):
        (folder / "bad.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.npz must be a MedMNIST \.npz"):
            files.read(folder / "bad.npz")
    with pytest.raises(ValueError, match=r"must be a MedMNIST \.npz .*No such file"):
        files.read(folder / "nowhere.npz")
    np.save(folder / "one.npy", np.zeros(3))
    (folder / "one.npy").rename(folder / "one.npz")
    with pytest.raises(ValueError, match=r"must be a MedMNIST \.npz"):
        files.read(folder / "one.npz")
    with pytest.raises(ValueError, match=r"must hold val_images \(got \['train_images"):
        files.read(archive(folder, parts=("train",)), split="val")
    with pytest.raises(ValueError, match="must hold somewhere"):
        files.read(folder / "some.npz", split="somewhere")


def splits(patients=10):
    order = ["train"] * 3 + ["val"] + ["test"]
    return [f"{'cat' if i % 2 else 'dog'},p{i},{order[i // 2 % 5]}" for i in range(patients)]


def test_a_tables_own_parts(folder):
    for rows in (splits(), [row.replace("val", "validation") for row in splits()]):
        found = files.parts(table(folder, rows))
        assert found["train"].groups.tolist() == ["p0", "p1", "p2", "p3", "p4", "p5"]
        assert found["validation"].groups.tolist() == ["p6", "p7"]
        assert found["test"].groups.tolist() == ["p8", "p9"]
    assert files.parts(table(folder, splits()), seed=5)["test"].groups.tolist() == ["p8", "p9"]


def test_validation_is_taken_from_training_by_patient(folder):
    rows = [f"{row},{'test' if i >= 48 else 'train'}" for i, row in enumerate(people(20))]
    found = files.parts(table(folder, rows))
    assert set(found["test"].groups) == {"p16", "p17", "p18", "p19"}
    assert [len(set(part.groups)) for part in found.values()] == [12, 4, 4]
    assert not set(found["train"].groups) & set(found["validation"].groups)


def test_patients_in_two_splits_are_named(folder):
    rows = [f"{'cat' if i % 2 else 'dog'},p{i % 7},{'train' if i < 7 else 'test'}" for i in range(14)]
    message = r"must be in one split \(7 are in several: got \['p0', 'p1', 'p2', 'p3', 'p4'\]\)"
    with pytest.raises(ValueError, match=message):
        files.parts(table(folder, rows))


def test_a_file_in_two_splits_is_named(folder):
    rows = [*(f"{'cat' if i % 2 else 'dog'},train" for i in range(6)), *("cat,test" for _ in range(2))]
    path = table(folder, rows, header="path,label,split")
    lines = path.read_text().splitlines()
    first = lines[1].split(",")[0]
    path.write_text("\n".join([*lines[:-1], ",".join([first, *lines[-1].split(",")[1:]])]) + "\n")
    with pytest.raises(ValueError, match="must be in one split"):
        files.read(path, split="train")


def test_folders_of_splits_are_no_classes(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / split / "cat" / "0.png")
    with pytest.raises(ValueError, match="must hold folders of classes"):
        files.read(tmp_path)


def test_a_table_that_is_no_csv_is_said(tmp_path):
    (tmp_path / "data.csv").write_bytes("path,label\nä.png,ja\n".encode("latin-1"))
    with pytest.raises(ValueError, match="no CSV in UTF-8"):
        files.read(tmp_path / "data.csv")


FANO = ["abc", "ade", "afg", "bdf", "beg", "cdg", "cef"]  # no three patients' parts can each hold all seven lines


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["cat,train", "dog,"], "path,label,split", r"splits of .* must be train, validation or test \(got \[''\]\)"),
        (["cat,train", "dog,dev"], "path,label,split", r"got \['dev'\]"),
        (["cat,train", "dog,train"], "path,label,split", r"must hold train and test \(got \['train'\]\)\. Add test\."),
        (["cat,val", "dog,val"], "path,label,split", r"got \['validation'\]\)\. Add test and train\."),
        (
            ["cat,train", "dog,train", "cat,val", "dog,val", "cat,test"],
            "path,label,split",
            r"the test part must hold images with and without every class \(got none .*with 'dog'",
        ),
        (
            ["cat,train", "dog,train", "cat,test", "dog,test"],
            "path,label,split",
            r"2 or more images with each class.*\(got \{'cat': 1, 'dog': 1\}\)",
        ),
        (
            ["a|b,train", "b,train", "a,val", "b,val", "a|b,test", ",test"],
            "path,label,split",
            r"the train part must hold .*got none without 'b'\)",
        ),
        (["cat"] * 9, "path,label", r"at least two classes \(got \['cat'\]\)"),
        (["cat"] * 9 + ["dog"] * 2, "path,label", r"3 or more images with each class.*\(got \{'dog': 2\}\)"),
        (
            ["cat,p1", "dog,p2"] * 9,
            "path,label,patient",
            r"3 or more patients with each class.*got \{'cat': 1, 'dog': 1\}",
        ),
        (["a|b", "a", "b|a", "a", "b|a", ""], "path,label", r"3 or more images without each class.*\(got \{'a': 1\}\)"),
        (
            [f"{k},p{p}" for k, line in enumerate(FANO) for p in line],
            "path,label,patient",
            r"each of train, validation, test must hold .*no such draw of 7 patients with seed 0",
        ),
    ],
)
def test_parts_that_cannot_be(folder, rows, header, message):
    with pytest.raises(ValueError, match=message):
        files.parts(table(folder, rows, header))


def test_parts_name_what_cannot_be_read(folder):
    (folder / "cat" / "1.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="images must be readable"):
        files.parts(folder)
    with pytest.raises(ValueError, match="images must be readable"):
        files.parts(table(folder, splits()))


def test_hidden_files_and_folders_are_nobodys_images(folder):
    for name in (
        ".ipynb_checkpoints/0-checkpoint.png",
        "__MACOSX/0.png",
        "._0.png",
        ".hidden/deep/0.png",
        "@eaDir/0.png",
    ):
        path = folder / "cat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\x16\7" + bytes(100))
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (folder / "dog" / name).write_bytes(bytes(10))
    (folder / "__MACOSX" / "cat").mkdir(parents=True)
    (folder / "__MACOSX" / "cat" / "._0.png").write_bytes(bytes(10))
    found = files.read(folder)
    assert len(found) == 6
    assert found.classes == ["cat", "dog"]


def test_what_preprocess_takes_is_taken(folder):
    for k, suffix in enumerate(("bmp", "webp", "gif", "TIF", "jpeg")):
        picture(50 + k).save(folder / "cat" / f"x.{suffix}")
    shutil.copy(get_testdata_file("MR_small.dcm"), folder / "cat" / "IM0001")
    (folder / "cat" / "raw.bin").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"left out, as no images: \['cat/raw\.bin'\]"):
        found = files.read(folder)
    assert found.labels.tolist().count("cat") == 3 + 6


def test_linked_folders_are_followed_once_and_loops_cut(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere")
    for k in range(2):
        picture(70 + k).save(other / f"{k}.png")
    (folder / "cat" / "more").symlink_to(other)
    (folder / "cat" / "again").symlink_to(other)
    (folder / "cat" / "loop").symlink_to(folder / "cat")
    (folder / "cat" / "up").symlink_to(folder)
    (other / "back").symlink_to(folder)
    (folder / "cat" / "nowhere.png").symlink_to(folder / "none.png")
    with pytest.raises(ValueError, match=r"images must be readable \(1 of 9 are not: .*nowhere\.png"):
        files.read(folder)
    (folder / "cat" / "nowhere.png").unlink()
    found = files.read(folder)
    assert found.labels.tolist() == ["cat"] * 5 + ["dog"] * 3


def test_rows_of_one_file_are_one_unit_in_every_part(folder):
    rng = np.random.default_rng(0)
    lines = []
    for i in range(30):
        picture(i).save(folder / f"{i}.png")
        lines += [f"{i}.png,{'ab'[rng.integers(2)]}"] * 3
    shutil.copy(folder / "0.png", folder / "copy.png")
    (folder / "link.png").symlink_to(folder / "1.png")
    lines += [f"{copy},{lines[3 * i][-1]}" for i, copy in enumerate(["copy.png", "link.png", "./2.png"])]
    (folder / "data.csv").write_text("\n".join(["path,label", *lines]))
    found = files.parts(folder / "data.csv")
    units = {part: {path.read_bytes() for path in data.paths} for part, data in found.items()}
    assert sum(map(len, units.values())) == len(set.union(*units.values())) == 30


def test_patients_that_share_an_image_are_one_and_told(folder):
    shutil.copy(folder / "cat" / "0.png", folder / "cat" / "same.png")
    rows = ["cat/0.png,cat,p1", "cat/same.png,cat,p2", "cat/1.png,cat,p2", "dog/0.png,dog,p3"]
    (folder / "data.csv").write_text("\n".join(["path,label,patient", *rows]))
    with pytest.warns(UserWarning, match=r"patients share images, and are taken as one: \['p1', 'p2'\]"):
        assert files.read(folder / "data.csv").groups.tolist() == ["p1", "p1", "p1", "p3"]


def test_a_copy_in_another_split_is_named(folder):
    shutil.copy(folder / "cat" / "0.png", folder / "cat" / "same.png")
    rows = ["cat/0.png,cat,train", "dog/0.png,dog,train", "cat/same.png,cat,test", "dog/1.png,dog,test"]
    (folder / "data.csv").write_text("\n".join(["path,label,split", *rows]))
    for take in (lambda: files.parts(folder / "data.csv"), lambda: files.read(folder / "data.csv", split="train")):
        with pytest.raises(ValueError, match=r"must be in one split \(1 are in several: got \['.*cat/0\.png'\]\)"):
            take()


def test_what_opens_is_what_an_encoder_takes(folder):
    """Every file that is called fine is one that `preprocess` reads, and the other way."""
    preprocess = zoo.load("mocov2-mini@0.25").preprocess
    Image.fromarray(np.zeros((9, 9), np.float32)).save(folder / "cat" / "float.tif")
    pages = [picture(k) for k in range(3)]
    pages[0].save(folder / "cat" / "pages.tif", save_all=True, append_images=pages[1:])
    (folder / "cat" / "cut.png").write_bytes((folder / "cat" / "0.png").read_bytes()[:60])
    for name in ("rtplan.dcm", "MR_truncated.dcm", "MR_small.dcm"):
        shutil.copy(get_testdata_file(name), folder / "dog" / name)
    paths = sorted([*(folder / "cat").iterdir(), *(folder / "dog").iterdir()])
    broken = files.unreadable(paths)
    assert {path.name for path in broken} == {"float.tif", "pages.tif", "cut.png", "rtplan.dcm", "MR_truncated.dcm"}
    for path in paths:
        if path in broken:
            with pytest.raises((ValueError, TypeError)):
                preprocess(path)
        else:
            assert preprocess(path).shape[0] == 1


def test_a_folder_that_cannot_be_listed_is_named(folder, monkeypatch):
    (folder / "cat" / "more").mkdir()
    listing = os.scandir

    def refused(path):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(
        OSError, match=r"of a class must be readable \(got '.*cat/more': Perm.*Run chmod u\+rx on it, or"
    ):
        files.read(folder)


def test_one_image_under_two_labels_is_told_once(folder):
    shutil.copy(folder / "cat" / "0.png", folder / "dog" / "copy.png")
    shutil.copy(folder / "cat" / "1.png", folder / "dog" / "more.png")
    with pytest.warns(UserWarning, match=r"must have one label \(got others for '.*cat/0.png' and '.*dog/copy") as told:
        files.read(folder)
    assert len(told) == 1


def test_a_path_is_the_file_that_is_written(folder):
    names = ["a.png", " a.png", "b.png ", "b.png", "caf\u00e9.png", "cafe\u0301.png", "nai\u0308f.png"]
    for i, name in enumerate(names):
        picture(i).save(folder / name, format="png")
    rows = [*(f"{name},{'ab'[i % 2]}" for i, name in enumerate(names)), "na\u00eff.png,a", "  caf\u00e9.png ,a"]
    (folder / "data.csv").write_text("\n".join(["path,label", *rows]))
    assert [path.name for path in files.read(folder / "data.csv").paths] == [*names, names[6], names[4]]
    (folder / "data.csv").write_text('label,path\na, a.png\nb,"b.png "\na, "a.png"\n')
    assert [path.name for path in files.read(folder / "data.csv").paths] == [" a.png", "b.png ", "a.png"]
