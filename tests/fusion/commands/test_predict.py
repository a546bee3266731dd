"""`fusion predict` at work: folders, CSVs, all probabilities, patients, and what `evaluate` says of these.

Single files are in `test_models`.
"""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

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


@pytest.fixture
def several(tmp_path):
    """A model of images that may have several labels, or none, and those that it learned from."""
    part = brain_regions("train", labels=24)
    held = np.stack([part.labels != "cerebellum", part.labels == "deep"], 1).astype(int)
    named = [[name for name, on in zip(("brain", "deep"), row, strict=True) if on] for row in held]
    FusionClassifier(["mocov2-mini@0.25"], C=10.0, folds=2).fit(part.images, named).save(tmp_path / "model")
    (tmp_path / "scans").mkdir()
    for number, image in enumerate(part.images):
        Image.fromarray(image).save(tmp_path / "scans" / f"{number}.png")
    return tmp_path


def test_every_label_of_a_model_of_several_is_written(several):
    call("predict", several / "model", several / "scans", "--out", several / "out.csv")
    rows = read(several / "out.csv")
    assert {row["predicted"] for row in rows} > {"", "brain|deep"}
    for row in rows:
        above = [name for name in ("brain", "deep") if float(row[name]) >= 0.5]
        assert row["predicted"] == "|".join(above)


def test_what_cannot_be_asked_is_one_sentence(place):
    asked = ("predict", place / "model", place / "scans")
    assert "--per must be image or patient (got 'slab')" in call(*asked, "--per", "slab", code=1)
    assert "--per patient must come with a CSV" in call(*asked, "--per", "patient", code=1)
    assert "--out must be a file" in call(*asked, "--out", place, code=1)


def labelled(place, name, several=False):
    """New images of the validation slab with their labels, as a CSV; and the model's answers to them."""
    part = brain_regions("validation", labels=24)
    (place / name).mkdir()
    rows = ["path,label,patient"]
    for number, (image, label) in enumerate(zip(part.images, part.labels, strict=True)):
        Image.fromarray(image).save(place / name / f"{number}.png")
        told = "=deep" if label == "deep" else "other"
        told = {"deep": "brain|deep", "cerebellum": ""}.get(label, "brain") if several else told
        rows.append(f"{name}/{number}.png,{told},P{number // 2}")
    (place / f"{name}.csv").write_text("\n".join(rows))
    return place / f"{name}.csv"


def judged(place, model, data, *options):
    call("evaluate", model, data, "--json", place / "figures.json", *options)
    return {**json.loads((place / "figures.json").read_text()), "data": None}


def test_written_probabilities_are_judged_as_the_model_is(place):
    data, out = labelled(place, "judged"), place / "said.csv"
    call("predict", place / "model", data, "--out", out)
    assert judged(place, out, data) == judged(place, place / "model", data)
    out.write_text(out.read_text().replace("predicted", "label"))  # without decisions it is the likeliest class
    likeliest, own = judged(place, out, data), judged(place, place / "model", data)
    assert likeliest["auc"] == own["auc"]
    assert likeliest["balanced_accuracy"] != own["balanced_accuracy"]


def test_anybodys_probabilities_are_judged(place):
    """As a model of another package has them: paths of its own folder, columns in another order, more rows."""
    data, rng = labelled(place, "theirs"), np.random.default_rng(0)
    truth = np.array([row["label"] == "=deep" for row in read(data)])
    deep = np.clip(0.5 + 0.2 * (2 * truth - 1) + rng.normal(0, 0.2, 24), 0, 1).round(3)
    rows = [f"theirs/{k}.png,{1 - p:.3f},{p:.3f}" for k, p in enumerate(deep)]
    out = place / "theirs-said.csv"
    out.write_text("\n".join(["path,other,=deep", *reversed(rows), "train/0.png,1,0"]))
    found = judged(place, out, data)
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(truth, deep))
    assert found["groups"] == 12
    assert "whose model may have seen these images" in call("evaluate", out, data)
    out.write_text("\n".join(["path,other,=deep", *rows[:-2]]))
    assert "must hold a row for each image of the data (not so for 2: " in call("evaluate", out, data, code=1)
    assert "--allow-seen must come with a saved model" in call("evaluate", out, data, "--allow-seen", code=1)
    assert "must be a folder or a CSV to be matched by path" in call("evaluate", out, "brain-regions", code=1)
    out.write_text(out.read_text().replace("other", "another"))
    assert "labels of training (got ['other']). Known: ['another', '=deep']" in call(
        "evaluate", out, rewritten(data, 22), code=1
    )


def rewritten(data, count):
    """Only the first images of the data."""
    data.write_text("\n".join(data.read_text().splitlines()[: 1 + count]))
    return data


def test_probabilities_of_several_labels_are_judged_alike(several):
    data = labelled(several, "judged", several=True)
    call("predict", several / "model", data, "--out", several / "said.csv")
    assert judged(several, several / "said.csv", data) == judged(several, several / "model", data)
