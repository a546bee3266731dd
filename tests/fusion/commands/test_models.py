"""`fusion fit`, `evaluate` and `predict` from end to end."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

import fusion.commands
from fusion import FusionClassifier, brain_regions
from tests.fusion.command import call
from tests.zoo.called import RUN


@pytest.fixture
def pictures(tmp_path):
    """Ten images of two regions as a folder per class, and as a CSV with patients and splits."""
    train, rows = brain_regions("train"), ["path,label,patient,split"]
    for label in ("cerebellum", "parietal"):
        place = tmp_path / "data" / label
        place.mkdir(parents=True)
        for i, image in enumerate(train.images[train.labels == label][::40][:8]):
            Image.fromarray(image).save(place / f"{i}.png")
            rows.append(f"data/{label}/{i}.png,{label},{label[0]}{i},{'train' if i < 5 else 'test'}")
    (tmp_path / "data.csv").write_text("\n".join(rows))
    return tmp_path


def test_mistakes_are_one_sentence():
    assert "must hold a whole saved model" in call("predict", "nowhere", "x.png", code=1)
    assert "data must be a folder or a CSV" in call("fit", "nowhere", code=1)


def test_fit_evaluate_predict(pictures):
    model, out = pictures / "model", pictures / "out.json"
    call(
        "fit",
        pictures / "data",
        model,
        "--folds",
        2,
        "--encoder",
        "mocov2-mini@0.5",
        "--json",
        out,
    )
    assert json.loads(out.read_text())["encoders"] == ["mocov2-mini@0.5"]
    judged = ("evaluate", model, pictures / "data.csv", "--split", "test", "--json", out)
    assert "images must be new to the model (got 6 of 6" in call(*judged, code=1)
    call(*judged, "--allow-seen")
    figures = json.loads(out.read_text())
    assert figures["images"] == 6
    assert 0 <= figures["auc"]["low"] <= figures["auc"]["value"] <= 1
    image = pictures / "data" / "parietal" / "0.png"
    broken = pictures / "[red]broken.png"  # no markup
    broken.write_bytes(b"nothing")
    said = call("predict", model, broken, image, "--json", out, code=1)
    assert "[red]broken.png not read" in said
    answer = json.loads(out.read_text())
    assert [row["label"] for row in answer["predictions"]] == ["parietal"]
    assert list(answer["unreadable"]) == [str(broken)]


def test_fit_takes_several_depths_of_an_encoder(pictures):
    model, out = pictures / "model", pictures / "out.json"
    names = ["--encoder", "mocov2-mini@0.125+0.25", "--encoder", "mae-mini@0.125"]
    said = call("fit", pictures / "data", model, "--folds", 2, *names, "--json", out)
    assert "Fitted concat on 16 images, 2 classes: mocov2-mini@0.125+0.25, mae-mini@0.125." in said
    assert json.loads(out.read_text())["encoders"] == ["mocov2-mini@0.125+0.25", "mae-mini@0.125"]
    assert "parietal" in call("predict", model, pictures / "data" / "parietal" / "0.png")
    assert "depths must rise" in call(
        "fit", pictures / "data", pictures / "other", "--encoder", "mae-mini@1+0.25", code=1
    )


def test_fit_on_a_csv_with_patients(pictures):
    arguments = ("fit", pictures / "data.csv", pictures / "model", "--split", "train", "--folds", 2)
    assert "Fitted concat on 10 images, 2 classes" in call(*arguments)


def test_fit_fine_tunes(pictures):
    tuned = ("fit", pictures / "data.csv", pictures / "model", "--split", "train", "--encoder", "mocov2-mini@0.25")
    settings = ("--strategy", "quarter-1", "--set", "epochs=1", "--set", "patience=null", "--set", "learning_rate=1e-3")
    assert "Fitted concat on 10 images" in call(*tuned, *settings)
    record = json.loads((pictures / "model" / "model.json").read_text())
    assert record["parameters"]["training"]["learning_rate"] == 0.001
    (own,) = record["encoders"]
    assert any("layer1" in name for name in own["stored"])
    tuned = (*tuned, "--overwrite")
    assert "FIELD=VALUE with a field of" in call(*tuned, "--set", "epoch=1", code=1)
    said = call(*tuned, "--strategy", "gradual", code=1)
    assert "Try gradual-last-first or gradual-first-last" in said


def test_fit_refuses_a_patient_in_two_splits(pictures):
    table = pictures / "data.csv"
    table.write_text(table.read_text().replace("p7,test", "p0,test"))
    said = call("fit", table, pictures / "model", "--split", "train", code=1)
    assert "must be in one split" in said
    assert "p0" in said


def test_fit_names_a_corrupt_image(pictures):
    (pictures / "data" / "parietal" / "3.png").write_bytes(b"nothing")
    said = call("fit", pictures / "data", pictures / "model", code=1)
    assert "1 of 16 are not" in said
    assert not (pictures / "model").exists()


@pytest.mark.slow
def test_the_commands_are_installed():
    code = "import sys; from fusion.commands import app; sys.argv = ['x', '--help']; app()"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_predict_names_every_label_of_an_image_that_may_have_several(tmp_path):
    part = brain_regions("train", labels=24)
    held = np.stack([part.labels != "cerebellum", part.labels == "deep"], 1).astype(int)
    named = [[name for name, on in zip(("brain", "deep"), row, strict=True) if on] for row in held]
    model = FusionClassifier(["mocov2-mini@0.25"], C=10.0, folds=2).fit(part.images, named)
    model.save(tmp_path / "model")
    places = [tmp_path / f"{place}.png" for place in range(24)]
    for place, image in zip(places, part.images, strict=True):
        Image.fromarray(image).save(place)
    out = tmp_path / "out.json"
    said = call("predict", tmp_path / "model", *places, "--json", out)
    answers = json.loads(out.read_text())["predictions"]
    proba, on = model.predict_proba(places), model.predict(places)
    assert {tuple(row) for row in on.tolist()} == {(0, 0), (1, 0), (1, 1)}  # of none, one and both
    for place, answer, row, has in zip(places, answers, proba, on, strict=True):
        assert answer["path"] == str(place)
        assert answer["labels"] == [name for name, value in zip(("brain", "deep"), has, strict=True) if value]
        assert answer["probability"] == pytest.approx({"brain": row[0], "deep": row[1]}, abs=1e-4)
        assert f"{place} {', '.join(answer['labels'])}" in said
    assert "label" not in answers[0]


def test_the_task_that_ships_is_data_too(tmp_path):
    given = ("fit", "brain-regions", tmp_path / "model", "--encoder", "mocov2-mini@0.25", "--folds", 2)
    assert "of brain-regions must be train or validation (got 'test')" in call(*given, "--split", "test", code=1)
    assert not (tmp_path / "model").exists()


def test_a_declared_split_is_heeded_and_said(pictures):
    """What was learned from is not judged by oversight, and what was taken is said."""
    model, data = pictures / "model", pictures / "data.csv"
    learned = ("fit", data, model, "--encoder", "mocov2-mini@0.25", "--folds", 2)
    said = call(*learned)
    assert "data.csv, split train, 10 images" in said
    assert "Fitted concat on 10 images" in said
    said = call("evaluate", model, data)
    assert "data.csv, split test" in said
    assert "6 images, 95 % interval over 6 patients" in said
    assert "Fitted concat on 16 images" in (said := call(*learned, "--split", "all", "--overwrite"))
    assert "all of its splits (train, test)" in said
    assert "images must be new to the model (got 6 of 6" in call("evaluate", model, data, code=1)
    data.write_text(data.read_text().replace(",test", ",train"))
    assert "must hold test (got ['train']). Name another by --split, or --split all" in call(
        "evaluate", model, data, code=1
    )


def test_a_training_stops_by_the_declared_validation(pictures):
    data = pictures / "data.csv"
    text = data.read_text()
    for label in "cp":
        text = text.replace(f"{label}3,train", f"{label}3,val").replace(f"{label}4,train", f"{label}4,val")
    data.write_text(text)
    learned = ("fit", data, pictures / "model", "--encoder", "mocov2-mini@0.25", "--overwrite")
    said = call(*learned, "--strategy", "quarter-1", "--set", "epochs=1")
    assert "split train, 6 images; early stopping on its split validation, 4 images" in said
    assert "early stopping" not in call(
        *learned, "--strategy", "quarter-1", "--set", "epochs=1", "--set", "patience=null"
    )
    assert "early stopping" not in call(*learned, "--folds", 2)


def test_settings_without_effect_are_refused(pictures):
    learned = ("fit", pictures / "data", pictures / "model", "--encoder", "mocov2-mini@0.25")
    for setting in ("epochs=5", "epochs=20", "learning_rate=1e-3", "augment=ct"):
        said = call(*learned, "--set", setting, code=1)
        assert f"--set must come with a strategy that trains step by step (got {setting.partition('=')[0]}" in said
    assert not (pictures / "model").exists()


def test_too_few_patients_are_said(pictures):
    model, data, out = pictures / "model", pictures / "data.csv", pictures / "out.json"
    call("fit", data, model, "--encoder", "mocov2-mini@0.25", "--folds", 2)
    lines = data.read_text().splitlines()
    data.write_text("\n".join(line for line in lines if "c7" not in line and "p7" not in line))
    said = call("evaluate", model, data, "--json", out)
    assert "4 patients: too few for an interval" in said
    figures = json.loads(out.read_text())
    assert figures["auc"]["low"] is figures["auc"]["high"] is None
    assert 0 <= figures["auc"]["value"] <= 1


@pytest.fixture
def several(tmp_path):
    """A model of two labels, and images of both."""
    part = brain_regions("train", labels=24)
    held = np.stack([part.labels != "cerebellum", part.labels == "deep"], 1).astype(int)
    named = [[name for name, on in zip(("brain", "deep"), row, strict=True) if on] for row in held]
    model = FusionClassifier(["mocov2-mini@0.25"], C=10.0, folds=2).fit(part.images, named)
    model.save(tmp_path / "model")
    for place, image in enumerate(brain_regions("validation").images[::80][:24]):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
    return tmp_path


def judge(several, labels, code=0):
    rows = [f"{place}.png,{label}" for place, label in enumerate(labels)]
    (several / "data.csv").write_text("\n".join(["path,label", *rows]))
    return call("evaluate", several / "model", several / "data.csv", code=code)


def test_labels_of_several_travel_by_name(several):
    said = judge(several, ["deep|brain", "brain", "", "deep"] * 6)
    assert "24 images" in said
    assert judge(several, ["brain|deep", "brain", "", "deep"] * 6) == said
    assert "24 images" in judge(several, ["deep", "brain", "", ""] * 6)  # one each, and none
    assert "got ['skull']). Known: ['brain', 'deep']. Absent: ['deep']" in judge(
        several, ["brain|skull", ""] * 12, code=1
    )
    assert "got ['NA'] in line 3" in judge(several, ["brain|deep", "NA", "deep", ""] * 6, code=1)


def test_a_table_of_several_is_refused_by_a_model_of_one(pictures):
    call("fit", pictures / "data.csv", pictures / "model", "--encoder", "mocov2-mini@0.25", "--folds", 2)
    data = pictures / "data.csv"
    data.write_text(data.read_text().replace(",cerebellum,", ",cerebellum|parietal,"))
    assert "y must be one label per image" in call("evaluate", pictures / "model", data, code=1)


def test_a_model_of_integers_is_judged_by_a_table(tmp_path):
    part = brain_regions("train", labels=24)
    FusionClassifier(["mocov2-mini@0.25"], folds=2).fit(part.images, part.labels == "deep").save(tmp_path / "flag")
    FusionClassifier(["mocov2-mini@0.25"], folds=2).fit(part.images, (part.labels == "deep") * 1).save(tmp_path / "int")
    other = brain_regions("validation", labels=24)
    for place, image in enumerate(other.images):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
    for model, words in (("flag", ("FALSE", "TRUE")), ("int", ("0", "1")), ("int", ("0.0", "1.0"))):
        rows = [f"{place}.png,{words[int(label == 'deep')]}" for place, label in enumerate(other.labels)]
        (tmp_path / "data.csv").write_text("\n".join(["path,label", *rows]))
        assert "24 images" in call("evaluate", tmp_path / model, tmp_path / "data.csv")


def test_predict_answers_the_good_and_names_the_bad(pictures):
    call("fit", pictures / "data", pictures / "model", "--encoder", "mocov2-mini@0.25", "--folds", 2)
    good = pictures / "data" / "parietal" / "0.png"
    bad = {"text.png": b"text", "empty.png": b"", "cut.dcm": Path(get_testdata_file("MR_truncated.dcm")).read_bytes()}
    for name, content in bad.items():
        (pictures / name).write_bytes(content)
    Image.fromarray(np.zeros((9, 9), np.float32)).save(pictures / "float.tif")
    (pictures / "folder.png").mkdir()
    names = [*bad, "float.tif", "folder.png", "nowhere.png"]
    result = RUN.invoke(
        fusion.commands.app, ["predict", *map(str, (pictures / "model", good, *(pictures / n for n in names)))]
    )
    assert result.exit_code == 1
    first, *rest = result.stdout.splitlines()
    assert first.split("\t")[:2] == [str(good), "parietal"]
    assert [line.split("\t")[0] for line in rest] == [str(pictures / name) for name in names]
    assert all("\tnot read: " in line for line in rest)


def test_slices_of_volumes_and_dicom_are_fitted(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["path,label,patient"]
    for k in range(8):
        voxels = rng.integers(0, 60, (24, 24, 3)).astype(np.int16) + 100 * (k % 2)
        nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / f"{k}.nii.gz")
        rows += [f"{k}.nii.gz:{z},{'ab'[k % 2]},p{k}" for z in range(2)]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    learned = ("fit", tmp_path / "data.csv", tmp_path / "model", "--encoder", "mocov2-mini@0.25", "--folds", 2)
    assert "window" in call(*learned, code=1)
    assert "Fitted concat on 16 images" in call(*learned, "--window", 0, 200)
    assert "a" in call("predict", tmp_path / "model", tmp_path / "0.nii.gz:2")
    for k in range(6):
        item = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
        pixels = item.pixel_array.copy()
        pixels[: 20 * (1 + k % 2)] += rng.integers(1, 90)
        item.PixelData = pixels.tobytes()
        (tmp_path / "dicom" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        item.save_as(tmp_path / "dicom" / "ab"[k % 2] / f"IM{k}")
    learned = ("fit", tmp_path / "dicom", tmp_path / "other", "--encoder", "mocov2-mini@0.25", "--folds", 2)
    assert "Fitted concat on 6 images" in call(*learned)


def test_a_model_is_not_lost_by_oversight(pictures):
    learned = ("fit", pictures / "data", pictures / "model", "--encoder", "mocov2-mini@0.25", "--folds", 2)
    call(*learned)
    before = (pictures / "model" / "model.json").read_bytes()
    said = call(*learned, "--seed", 1, code=1)
    assert "MODEL must be a folder without a model" in said
    assert "Name another, or add --overwrite." in said
    assert (pictures / "model" / "model.json").read_bytes() == before
    call(*learned, "--seed", 1, "--device", "cpu", "--overwrite")
    assert FusionClassifier.load(pictures / "model").seed == 1
    assert "device must be auto or one that is there (got 'moon')" in call(
        *learned, "--device", "moon", "--overwrite", code=1
    )
    assert "seed must be an integer from 0 (got -1)" in call(*learned, "--seed", -1, "--overwrite", code=1)


def test_images_that_cannot_be_read_are_left_out_where_it_is_told_so(pictures):
    model, data = pictures / "model", pictures / "data.csv"
    for name in ("0", "7"):
        (pictures / "data" / "parietal" / f"{name}.png").write_text(f"nothing {name}")
    learned = ("fit", data, model, "--encoder", "mocov2-mini@0.25", "--folds", 2)
    assert "1 of 10 are not" in call(*learned, code=1)
    said = call(*learned, "--skip-unreadable")
    assert "Fitted concat on 9 images" in said
    assert "left out, as they cannot be read, 1 of 10 images: " in said
    assert "parietal/0.png" in said
    assert "1 of 6 are not" in call("evaluate", model, data, code=1)
    assert "5 images" in call("evaluate", model, data, "--skip-unreadable")
    call("predict", model, data, "--out", pictures / "said.csv", code=1)
    assert "5 images" in call("evaluate", pictures / "said.csv", data, "--skip-unreadable")
    for path in pictures.rglob("*.png"):
        path.write_text(str(path))
    assert "10 of 10 are not" in call(*learned, "--overwrite", "--skip-unreadable", code=1)
