"""`fusion fit`, `evaluate` and `predict` from end to end."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fusion import FusionClassifier, brain_regions
from tests.fusion.command import call


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
    assert "must hold a saved model" in call("predict", "nowhere", "x.png", code=1)
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
    call("evaluate", model, pictures / "data.csv", "--split", "test", "--json", out)
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


def test_fit_on_a_csv_with_patients(pictures):
    arguments = ("fit", pictures / "data.csv", pictures / "model", "--split", "train", "--folds", 2)
    assert "Fitted concat on 10 images, 2 classes" in call(*arguments)


def test_fit_fine_tunes(pictures):
    tuned = ("fit", pictures / "data.csv", pictures / "model", "--split", "train", "--encoder", "mocov2-mini@0.25")
    settings = ("--strategy", "quarter-1", "--set", "epochs=1", "--set", "patience=null", "--set", "learning_rate=1e-3")
    assert "Fitted concat on 10 images" in call(*tuned, *settings)
    record = json.loads((pictures / "model" / "model.json").read_text())
    assert record["parameters"]["training"]["learning_rate"] == 0.001
    assert any("layer1" in name for name in record["moved"])
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
