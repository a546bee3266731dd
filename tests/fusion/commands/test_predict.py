"""`fusion predict` at work: folders, CSVs, all probabilities, patients; single files are in `test_models`."""

import csv

import numpy as np
import pytest
from PIL import Image

from fusion import FusionClassifier, brain_regions
from tests.fusion.command import call


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model of a class whose name is a formula, and images of three patients, one of which cannot be read."""
    place = tmp_path_factory.mktemp("predict")
    part = brain_regions("train", labels=24)
    names = np.where(part.labels == "deep", "=deep", "other")
    FusionClassifier(["mocov2-mini@0.25"], folds=2).fit(part.images, names).save(place / "model")
    (place / "scans").mkdir()
    for number, image in enumerate(brain_regions("validation").images[::160][:5]):
        Image.fromarray(image).save(place / "scans" / f"{number}.png")
    (place / "scans" / "broken.png").write_bytes(b"nothing")
    rows = ["path,patient", *(f"scans/{name}.png,P{name}" for name in (0, 1)), "scans/2.png,P1", "scans/3.png,P1"]
    (place / "asked.csv").write_text("\n".join([*rows, "scans/broken.png,P1", "scans/nowhere.png,P9"]))
    return place


def test_a_folder_is_answered_with_all_probabilities(place, tmp_path):
    out, model = tmp_path / "new" / "out.csv", FusionClassifier.load(place / "model")
    said = call("predict", place / "model", place / "scans", "--out", out, code=1)
    assert "Answered 5 of 6 rows; 1 images could not be read." in said
    assert "broken.png not read: " in said
    *rows, broken = read(out)
    assert list(rows[0]) == ["path", "patient", "predicted", "'=deep", "other", "error"]
    paths = [place / "scans" / f"{number}.png" for number in range(5)]
    assert [row["path"] for row in rows] == list(map(str, paths))
    proba = model.predict_proba(paths)
    assert [[float(row["'=deep"]), float(row["other"])] for row in rows] == proba.tolist()
    assert [row["predicted"].lstrip("'") for row in rows] == model.predict(paths).tolist()
    assert not any(row["error"] for row in rows)
    assert broken["error"].startswith("image must be")
    assert {broken[name] for name in ("patient", "predicted", "'=deep", "other")} == {""}


def test_a_patient_is_the_mean_of_their_images(place, tmp_path):
    out, model = tmp_path / "out.csv", FusionClassifier.load(place / "model")
    call("predict", place / "model", place / "asked.csv", "--per", "patient", "--out", out, code=1)
    rows = {row["patient"]: row for row in read(out)}
    assert {name: row["images"] for name, row in rows.items()} == {"P0": "1", "P1": "3", "P9": "0"}
    mean = model.predict_proba([place / "scans" / f"{number}.png" for number in (1, 2, 3)]).mean(0)
    assert [float(rows["P1"]["'=deep"]), float(rows["P1"]["other"])] == pytest.approx(mean)
    assert rows["P1"]["predicted"].lstrip("'") == model.decide(mean[None])[0]
    assert rows["P1"]["error"].startswith("1 of 4 images could not be read: scans/broken.png: ")
    assert rows["P9"]["predicted"] == ""
    lines = call("predict", place / "model", place / "asked.csv", "--per", "patient", code=1)
    assert "P0" in lines
    assert "P9" not in lines


def test_every_label_of_a_model_of_several_is_written(tmp_path):
    part = brain_regions("train", labels=24)
    held = np.stack([part.labels != "cerebellum", part.labels == "deep"], 1).astype(int)
    named = [[name for name, on in zip(("brain", "deep"), row, strict=True) if on] for row in held]
    FusionClassifier(["mocov2-mini@0.25"], C=10.0, folds=2).fit(part.images, named).save(tmp_path / "model")
    (tmp_path / "scans").mkdir()
    for number, image in enumerate(part.images):
        Image.fromarray(image).save(tmp_path / "scans" / f"{number}.png")
    call("predict", tmp_path / "model", tmp_path / "scans", "--out", tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")
    assert {row["predicted"] for row in rows} > {"", "brain|deep"}
    for row in rows:
        above = [name for name in ("brain", "deep") if float(row[name]) >= 0.5]
        assert row["predicted"] == "|".join(above)


def test_what_cannot_be_asked_is_one_sentence(place):
    asked = ("predict", place / "model", place / "scans")
    assert "--per must be image or patient (got 'slab')" in call(*asked, "--per", "slab", code=1)
    assert "--per patient must come with a CSV" in call(*asked, "--per", "patient", code=1)
    assert "--out must be a file" in call(*asked, "--out", place, code=1)
