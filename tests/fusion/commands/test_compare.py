"""`fusion compare` and `fusion changes` from end to end."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import fusion
import fusion.commands
from fusion.commands import compare as commands_compare
from fusion.data.sets import sources
from fusion.report import charts, style
from fusion.report.page import number
from fusion.similarity import compare as compare_
from tests.fusion.command import call
from tests.fusion.report.reader import words


def test_compare_from_end_to_end(tmp_path, opened):
    output, out = tmp_path / "deep" / "out", tmp_path / "out.json"
    names = ("mocov2-mini@0.5", "mae-mini@0.25")
    said = call("compare", *names, "--limit", 24, "--output", output, "--json", out)
    assert opened == ["colin27.npz"]
    part = fusion.brain_regions("validation")
    drawn = part.images[np.random.default_rng(0).permutation(len(part.images))[:24]]
    expected = fusion.compare(*names, drawn)
    found = json.loads(out.read_text())
    np.testing.assert_allclose(found["values"], expected.values, atol=1e-9)
    assert found["depths"] == [list(depths) for depths in expected.depths]
    assert [found[key] for key in ("measure", "first", "second", "images")] == ["cka", *names, 24]
    assert found["batch_sizes"]["sizes"] == [4, 8, 16]
    assert sorted(path.name for path in output.iterdir()) == ["cka.png", "cka.svg", "report.html", "values.csv"]
    with (output / "values.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["value"]) for row in rows] == np.ravel(found["values"]).tolist()
    assert [(row["first_depth"], row["second_depth"]) for row in rows[:3]] == [
        *(("0.125", "0.125"), ("0.125", "0.25")),
        ("0.25", "0.125"),
    ]
    figure = charts.heat_map(dataclasses.replace(expected, values=np.array(found["values"])))
    for suffix in ("svg", "png"):
        style.save(figure, tmp_path / f"own.{suffix}")
    assert (output / "cka.svg").read_text() == (tmp_path / "own.svg").read_text()
    with Image.open(output / "cka.png") as image, Image.open(tmp_path / "own.png") as other:
        assert image.tobytes() == other.tobytes()
    page = words((output / "report.html").read_text())
    assert "24 images, drawn from the validation part of brain-regions." in page
    command = "fusion compare mocov2-mini@0.5 mae-mini@0.25 --data brain-regions --measure cka --limit 24"
    assert command in page
    assert "best match at" in said
    assert "same depth" not in said  # they have not the same blocks
    best = expected.depths[1][int(expected.values[0].argmax())]
    assert f"0.125 {best:g} {number(expected.values[0].max())}" in said


def test_compare_with_the_same_blocks_prints_the_diagonal(tmp_path):
    given = ("compare", "mae-mini@0.25", "mae-mini@0.25", "--measure", "biased-cka", "--limit", 16)
    said = call(*given, "--output", tmp_path)
    assert "depth same depth best match at value" in said
    assert "0.125 1.000 0.125 1.000" in said
    assert (tmp_path / "biased-cka.png").exists()


def test_images_are_in_a_drawn_order(table):
    part, _ = sources.open_all(str(table), "validation", None)
    assert part.labels.tolist() == sorted(part.labels)
    mixed, said = commands_compare._opened(str(table), "all", None)
    assert said == f"20 images, all of {table}, all of its splits (train, test)."
    assert mixed.labels.tolist() != sorted(part.labels)
    assert sorted(map(str, mixed.images)) == sorted(map(str, part.images))
    assert all(label in path.name for label, path in zip(mixed.labels, mixed.images, strict=True))


@pytest.mark.slow
def test_changes_of_a_saved_model(tmp_path, monkeypatch):
    train = fusion.brain_regions("train", labels=24)
    settings = fusion.Training(epochs=1, patience=None, learning_rate=0.01)
    pair = ["mocov2-mini@0.25", "mae-mini@0.25"]
    fusion.FusionClassifier(pair, strategy="full", training=settings, folds=2, compare_baselines=False).fit(
        train.images, train.labels
    ).save(tmp_path / "model")
    call("changes", tmp_path / "model", "--limit", 64, "--output", tmp_path / "out")
    with (tmp_path / "out" / "values.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    titles = list(dict.fromkeys((row["first"], row["second"]) for row in rows))
    assert titles == [
        *((name, f"{name}, fine-tuned") for name in pair),
        tuple(pair),
        tuple(f"{name}, fine-tuned" for name in pair),
    ]
    assert len(rows) == 4 * 2 * 2
    own = [float(r["value"]) for r in rows if r["second"].startswith("mae") and r["first"].startswith("mae")]
    assert 0 < min(own) < max(own) < 1
    assert len(list((tmp_path / "out").glob("cka-*.png"))) == 4
    assert "fusion changes" in (tmp_path / "out" / "report.html").read_text()
    monkeypatch.setattr(compare_, "_size", lambda encoder: encoder.name)
    said = call("changes", tmp_path / "model", "--limit", 64, "--output", tmp_path / "sizes")
    assert "Encoders whose images differ in size are not compared with one another." in said
    assert len(list((tmp_path / "sizes").glob("cka-*.png"))) == 2
    call("changes", tmp_path / "none", "--output", tmp_path / "never", code=1)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("named", "taken", "count"),
    [
        (("train", "test"), "train", 18),
        (("train", "val", "test"), "validation", 4),
        (("train", "val"), "validation", 4),
    ],
)
def test_the_test_part_stays_closed_unless_asked_for(named, taken, count, table, tmp_path):
    lines = table.read_text().splitlines()
    if "val" in named:
        lines = [line.replace("train", "val") if line[-7] in "78" else line for line in lines]
    if "test" not in named:
        lines = [line for line in lines if not line.endswith("test")]
    table.write_text("\n".join(lines))
    call("fit", table, tmp_path / "model", "--encoder", "mae-mini@0.125", "--folds", 2)
    for command in (("compare", "mae-mini@0.125", "mae-mini@0.125"), ("changes", tmp_path / "model")):
        said = call(*command, "--data", table, "--output", tmp_path / "out")
        assert f"{count} images, all of {table}, split {taken}." in said
    if "test" in named:
        assert len(commands_compare._opened(str(table), "test", None)[0]) == 2


def test_only_a_test_part_is_refused_with_a_step_that_works(table, tmp_path):
    table.write_text(table.read_text().replace("train", "test"))
    given = ("compare", "mae-mini@0.125", "mae-mini@0.125", "--data", table, "--output", tmp_path / "out")
    assert f"splits of {table} must hold train (got ['test']). Name another by --split" in call(*given, code=1)
    assert "20 images, all of" in call(*given, "--split", "all")
