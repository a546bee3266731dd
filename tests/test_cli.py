import json
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

import fusion.cli
import hub_upload
import zoo
import zoo.cli
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
            rows.append(f"data/{label}/{i}.png,{label},{label[0]}{i % 4},{'train' if i < 5 else 'test'}")
    (tmp_path / "data.csv").write_text("\n".join(rows))
    return tmp_path


def test_list_show_and_load(tmp_path):
    out = tmp_path / "out.json"
    call(zoo.cli.app, "list", "--json", out)
    assert [row["name"] for row in json.loads(out.read_text())] == zoo.names()
    assert "mocov2-mini" in call(zoo.cli.app, "show", "mocov2-mini", "--json", out)
    assert json.loads(out.read_text())["family"] == "contrastive"
    printed = call(zoo.cli.app, "load", "mocov2-mini", "--depth", 0.75, "--json", out)
    assert json.loads(out.read_text())["sha256"] in printed
    assert json.loads(out.read_text())["features"] == 128


def test_mistakes_are_one_sentence():
    said = call(zoo.cli.app, "load", "mocov2-mimi", code=1)
    assert said == "name must be a known checkpoint (got 'mocov2-mimi'). Nearest: mocov2-mini, mocov2-chest, mae-mini."
    assert "depth must be in (0, 1]" in call(zoo.cli.app, "load", "mocov2-mini", "--depth", 2, code=1)
    assert "must hold a saved model" in call(fusion.cli.app, "predict", "nowhere", "x.png", code=1)
    assert "data must be a folder or a CSV" in call(fusion.cli.app, "fit", "nowhere", code=1)


def test_fit_evaluate_predict(pictures):
    model, out = pictures / "model", pictures / "out.json"
    call(fusion.cli.app, "fit", pictures / "data", model, "--folds", 2, "--encoder", "mocov2-mini@0.5", "--json", out)
    assert json.loads(out.read_text())["encoders"] == ["mocov2-mini@0.5"]
    call(fusion.cli.app, "evaluate", model, pictures / "data.csv", "--split", "test", "--json", out)
    figures = json.loads(out.read_text())
    assert figures["images"] == 6
    assert 0 <= figures["auc"]["low"] <= figures["auc"]["value"] <= 1
    image = pictures / "data" / "parietal" / "0.png"
    broken = pictures / "broken.png"
    broken.write_bytes(b"nothing")
    said = call(fusion.cli.app, "predict", model, broken, image, "--json", out, code=1)
    assert "broken.png not read" in said
    answer = json.loads(out.read_text())
    assert [row["label"] for row in answer["predictions"]] == ["parietal"]
    assert list(answer["unreadable"]) == [str(broken)]


def test_fit_on_a_csv_with_patients(pictures):
    arguments = ("fit", pictures / "data.csv", pictures / "model", "--split", "train", "--folds", 2)
    assert "Fitted concat on 10 images, 2 classes" in call(fusion.cli.app, *arguments)


def test_fit_names_a_corrupt_image(pictures):
    (pictures / "data" / "parietal" / "3.png").write_bytes(b"nothing")
    said = call(fusion.cli.app, "fit", pictures / "data", pictures / "model", code=1)
    assert "1 of 16 are not" in said
    assert not (pictures / "model").exists()


def test_pretrain_names_a_bad_recipe(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    assert "must hold exactly" in call(zoo.cli.app, "pretrain", tmp_path / "recipe.yaml", code=1)


def test_zoo_upload_checks_before_it_sends(tiny):
    weights = tiny.with_name("tiny-test.safetensors")
    assert "tiny-test@1 loads: 16 features" in call(hub_upload.app, tiny, weights, "me/tiny", "--dry-run")
    weights.write_bytes(b"<html>")
    assert "it is an HTML page" in call(hub_upload.app, tiny, weights, "me/tiny", code=1)


def test_an_uploaded_card_is_pinned(tiny):
    text = hub_upload.pin(tiny.read_text(), "me/tiny", "1" * 40, "2" * 64)
    tiny.write_text(text)
    weights = zoo.cards.read(tiny).weights
    assert (weights.repo, weights.revision, weights.sha256) == ("me/tiny", "1" * 40, "2" * 64)


def test_the_commands_are_installed():
    for module in ("zoo.cli", "fusion.cli", "hub_upload"):
        code = f"import sys; from {module} import app; sys.argv = ['x', '--help']; app()"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
