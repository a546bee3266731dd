import json
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

import fusion.commands
from fusion import brain_regions

RUN = CliRunner()


def call(app, *arguments, code=0):
    result = RUN.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


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
    assert "must hold a saved model" in call(fusion.commands.app, "predict", "nowhere", "x.png", code=1)
    assert "data must be a folder or a CSV" in call(fusion.commands.app, "fit", "nowhere", code=1)


def test_fit_evaluate_predict(pictures):
    model, out = pictures / "model", pictures / "out.json"
    call(
        fusion.commands.app,
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
    call(fusion.commands.app, "evaluate", model, pictures / "data.csv", "--split", "test", "--json", out)
    figures = json.loads(out.read_text())
    assert figures["images"] == 6
    assert 0 <= figures["auc"]["low"] <= figures["auc"]["value"] <= 1
    image = pictures / "data" / "parietal" / "0.png"
    broken = pictures / "[red]broken.png"  # no markup
    broken.write_bytes(b"nothing")
    said = call(fusion.commands.app, "predict", model, broken, image, "--json", out, code=1)
    assert "[red]broken.png not read" in said
    answer = json.loads(out.read_text())
    assert [row["label"] for row in answer["predictions"]] == ["parietal"]
    assert list(answer["unreadable"]) == [str(broken)]


def test_fit_on_a_csv_with_patients(pictures):
    arguments = ("fit", pictures / "data.csv", pictures / "model", "--split", "train", "--folds", 2)
    assert "Fitted concat on 10 images, 2 classes" in call(fusion.commands.app, *arguments)


def test_fit_fine_tunes(pictures):
    tuned = ("fit", pictures / "data.csv", pictures / "model", "--split", "train", "--encoder", "mocov2-mini@0.25")
    settings = ("--strategy", "quarter-1", "--set", "epochs=1", "--set", "patience=null", "--set", "learning_rate=1e-3")
    assert "Fitted concat on 10 images" in call(fusion.commands.app, *tuned, *settings)
    record = json.loads((pictures / "model" / "model.json").read_text())
    assert record["parameters"]["training"]["learning_rate"] == 0.001
    assert any("layer1" in name for name in record["moved"])
    assert "FIELD=VALUE with a field of" in call(fusion.commands.app, *tuned, "--set", "epoch=1", code=1)
    said = call(fusion.commands.app, *tuned, "--strategy", "gradual", code=1)
    assert "Try gradual-last-first or gradual-first-last" in said


def test_fit_refuses_a_patient_in_two_splits(pictures):
    table = pictures / "data.csv"
    table.write_text(table.read_text().replace("p7,test", "p0,test"))
    said = call(fusion.commands.app, "fit", table, pictures / "model", "--split", "train", code=1)
    assert "must be in one split" in said
    assert "p0" in said


def test_fit_names_a_corrupt_image(pictures):
    (pictures / "data" / "parietal" / "3.png").write_bytes(b"nothing")
    said = call(fusion.commands.app, "fit", pictures / "data", pictures / "model", code=1)
    assert "1 of 16 are not" in said
    assert not (pictures / "model").exists()


@pytest.mark.slow
def test_the_commands_are_installed():
    code = "import sys; from fusion.commands import app; sys.argv = ['x', '--help']; app()"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
