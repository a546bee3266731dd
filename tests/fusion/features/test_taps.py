"""An encoder tapped at several depths: its names, its blocks, and the one pass that gives them."""

import numpy as np
import pytest
import torch

import zoo
from fusion import Taps
from fusion.features import extract, taps
from tests.small_fits import IMAGES, RESNET, VIT, own


@pytest.mark.parametrize(
    ("name", "stem", "depths"),
    [
        ("mae-mini", "mae-mini", None),
        ("mae-mini@0.5", "mae-mini", (0.5,)),
        ("lab/net@0.25+1", "lab/net", (0.25, 1.0)),
        ("mae-mini@.1+0.2+.30", "mae-mini", (0.1, 0.2, 0.3)),
        ("mae-mini@quarters", "mae-mini", (0.25, 0.5, 0.75, 1.0)),
    ],
)
def test_a_name_says_its_depths(name, stem, depths):
    assert taps.split(name) == (stem, depths)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mae-mini@0.5+0.5", r"depths must rise, each given once \(got 0.5\+0.5\)\. Try mae-mini@0.5\.$"),
        ("mae-mini@1+0.25", r"depths must rise, each given once \(got 1\+0.25\)\. Try mae-mini@0.25\+1\.$"),
        ("mae-mini@0.5+", r"depth must be a number in \(0, 1\] \(got ''\)"),
        ("mae-mini@0.5+2", r"depth must be a number in \(0, 1\] \(got '2'\)"),
        (
            "mae-mini@0.51+0.6",
            r"depths must end different blocks of mae-mini \(got 0.51\+0.6, which end at 0.625 alike",
        ),
        ("mae-mini@quarter", r"depth must be a number in \(0, 1\] \(got 'quarter'\)"),
    ],
)
def test_depths_that_are_none_or_do_not_rise_or_end_alike_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        taps.load(name)


def test_a_name_is_a_text():
    with pytest.raises(TypeError, match=r"name must be a text \(got 3\)"):
        taps.split(3)


def test_an_encoder_is_loaded_once_up_to_the_deepest():
    found = taps.load("mocov2-mini@0.25+0.75")
    assert (found.name, found.depths) == ("mocov2-mini@0.25+0.75", (0.25, 0.75))
    assert found.blocks == ["mocov2-mini@0.25", "mocov2-mini@0.75"]
    assert found.encoder.identity() == zoo.load("mocov2-mini@0.75").identity()
    single = taps.load("mocov2-mini@0.3", window=(0, 200))
    assert (single.name, single.blocks, single.depths) == ("mocov2-mini@0.3", ["mocov2-mini@0.3"], (0.3,))
    assert single.encoder.card.input.window == [0, 200]
    assert taps.load("mocov2-mini@quarters").name == "mocov2-mini@0.25+0.5+0.75+1"


@pytest.mark.parametrize(("architecture", "kwargs"), [("resnet18", None), ("vit_tiny_patch16_224", VIT)])
def test_one_pass_gives_what_the_truncated_encoders_do(architecture, kwargs, tmp_path):
    more = {"architecture": architecture} | ({"kwargs": kwargs} if kwargs else {})
    depths, passes = (0.25, 0.6, 1.0), []
    found = Taps(own(tmp_path, **more), depths)
    first = next(m for m in found.encoder.trunk.modules() if isinstance(m, torch.nn.Conv2d))
    first.register_forward_hook(lambda *_: passes.append(1))
    blocks = extract.blocks(found, IMAGES, batch=len(IMAGES))
    assert len(passes) == 1
    for depth, block in zip(depths, blocks, strict=True):
        np.testing.assert_array_equal(block, extract.extract(own(tmp_path, depth=depth, **more), IMAGES))
    assert found.widths == tuple(block.shape[1] for block in blocks)


def test_an_encoder_may_reach_deeper_than_its_taps(tmp_path):
    found = Taps(own(tmp_path), [0.25, 0.5])
    assert found.widths == (8, 8)
    for depth, block in zip(found.depths, extract.blocks(found, IMAGES), strict=True):
        np.testing.assert_array_equal(block, extract.extract(own(tmp_path, depth=depth), IMAGES))
    inside = Taps(own(tmp_path), [0.5])
    np.testing.assert_array_equal(extract.blocks(inside, IMAGES)[0], extract.blocks(found, IMAGES)[1])
    assert inside.widths == (8,)


def test_a_name_keeps_depths_apart_that_round_alike(tmp_path):
    sixth = Taps(own(tmp_path, architecture="resnet26", kwargs=f"{RESNET}, layers: [3, 3, 3, 3]"), (1 / 12, 1 / 6))
    name = taps.joined("tiny", sixth.depths)
    assert Taps(sixth.encoder, taps.split(name)[1]).places == sixth.places == [0, 1]


@pytest.mark.parametrize("depths", [(), 0.5, (0.5, "deep"), (0, 1), (float("nan"),), None])
def test_depths_are_numbers(depths, tmp_path):
    with pytest.raises(ValueError, match=r"depths must be numbers in \(0, 1\] .*Try \(0.25, 1\)"):
        Taps(own(tmp_path), depths)


def test_an_encoder_is_loaded_and_deep_enough():
    with pytest.raises(TypeError, match=r"encoder must be a zoo.Encoder \(got 'mae-mini'\)\. Load it by zoo.load"):
        Taps("mae-mini", (0.25, 1))
    with pytest.raises(ValueError, match=r"depths must be up to 0.5, where mae-mini@0.5 ends \(got 0.25\+1\)\. Load"):
        Taps(zoo.load("mae-mini@0.5"), (0.25, 1))


def test_a_name_says_where_features_are_taken(tmp_path):
    encoder = own(tmp_path)
    assert (Taps(encoder, (0.25,)).name, Taps(encoder, (0.25,)).blocks) == ("tiny@0.25", ["tiny@0.25"])
    assert (Taps(encoder, (0.25, 1)).name, taps.whole(encoder).name) == ("tiny@0.25+1", "tiny@1")
    encoder.name = "tiny@0.25+1"  # as a fitted model has it
    assert taps.whole(encoder).name == "tiny@1"
    encoder.name = "mine"
    assert (taps.whole(encoder).name, Taps(encoder, (0.25,)).name) == ("mine", "mine@0.25")
    assert Taps(zoo.untrained("mocov2-mini", 0.5, seed=3), (0.25, 0.5)).name == "untrained-mocov2-mini@0.25+0.5#3"
