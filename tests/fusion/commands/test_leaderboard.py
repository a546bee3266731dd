"""What `fusion fit` says of its model beside the figures of others."""

import json

import numpy as np
import pytest
from PIL import Image

import zoo
from fusion.commands.leaderboard import advice
from tests.fusion.command import call

GREY = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
MINI = [zoo.load("mae-mini@0.25")]


@pytest.fixture
def data(tmp_path):
    """Eight noisy pictures of each of two classes, one of them bright."""
    rng = np.random.default_rng(1)
    for label, base in (("bright", 160), ("dark", 60)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(8):
            pixels = np.clip(rng.normal(base, 30, (64, 64)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{i}.png")
    return tmp_path / "data"


def test_fit_prints_the_table_and_its_sentence(data, tmp_path):
    out = tmp_path / "out.json"
    given = ("fit", data, tmp_path / "model", "--encoder", "mae-mini@0.25", "--folds", 2, "--json", out)
    said = call(*given)
    board = json.loads(out.read_text())["leaderboard"]
    assert [row["name"] for row in board["rows"]] == ["mae-mini@0.25", "thumbnail", "random weights"]
    assert board["sentence"] in " ".join(said.split())
    assert f"{board['rows'][1]['auc']['value']:.3f}" in said
    said = call(*given, "--no-leaderboard", "--overwrite")
    assert "thumbnail" not in said
    assert json.loads(out.read_text())["leaderboard"] is None


def test_colour_that_no_encoder_sees_is_said(tmp_path):
    colour = np.stack([GREY, GREY // 2, GREY // 4], -1)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    told = advice([tmp_path / "colour.png"], MINI)
    assert told.startswith("These pictures are coloured, and the encoders see them in grey at 64 px: a card of")
    assert advice([colour], MINI) == told
    assert any(card.name in told for card in zoo.search(domain="mixed-medical"))
    seeing = zoo.untrained("supervised-natural")
    assert advice([colour], [*MINI, seeing]) is None


def test_large_pictures_are_said_and_small_grey_ones_are_not(tmp_path):
    Image.fromarray(np.tile(GREY, (4, 5))).save(tmp_path / "large.png")
    Image.fromarray(np.stack([GREY] * 3, -1)).save(tmp_path / "small.jpg")  # grey, as a picture of three channels
    assert "up to 320 px, and the encoders see them in grey at 64 px" in advice([tmp_path / "large.png"], MINI)
    assert advice([tmp_path / "small.jpg", GREY], MINI) is None
    assert advice(["brain.nii.gz:4", tmp_path / "missing.png"], MINI) is None
