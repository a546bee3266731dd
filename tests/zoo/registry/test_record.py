"""What a card may say: plain values, of the right kind, within bounds."""

from pathlib import Path

import pytest

import zoo
from tests.conftest import TINY
from zoo.registry import cards
from zoo.registry.record import Input


def read(text):
    return cards.parse(text, "tiny-test", Path("tiny-test.md"))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("std: [0.25]", "std: [0.0]", "input.std"),
        ("std: [0.25]", "std: [-0.25]", "input.std"),
        ("std: [0.25]", "std: [1.0e-30]", "input.std"),
        ("std: [0.25]", "std: [.inf]", "input.std"),
        ("mean: [0.5]", "mean: [.nan]", "input.mean"),
        ("mean: [0.5]", "mean: [-.inf]", "input.mean"),
        ("mean: [0.5]", "mean: [1.0e+30]", "input.mean"),
        ("size: 32", "size: 0", "input.size"),
        ("size: 32", "size: 100000", "input.size"),
        ("std: [0.25]", "std: [0.25], range: [1.0, 0.0]", "input.range"),
        ("std: [0.25]", "std: [0.25], range: [0.0, 0.0]", "input.range"),
        ("std: [0.25]", "std: [0.25], range: [0.0, .inf]", "input.range"),
        ("std: [0.25]", "std: [0.25], window: [400.0, -1000.0]", "input.window"),
        ("std: [0.25]", "std: [0.25], window: [40.0, .nan]", "input.window"),
        ("std: [0.25]", "std: [0.25], crop_pct: 0.000001", "input.crop_pct"),
        ("optimal: 0.75", "optimal: .nan", "depth.optimal"),
        ("file: tiny-test.safetensors", "file: tiny-test.safetensors, size: -1", "weights.size"),
        ("in_chans: 1", "depth: 200000", "kwargs"),
        ("in_chans: 1", "layers: [2, 2, 2000, 2]", "kwargs"),
        ("in_chans: 1", "img_size: 1000000000", "kwargs"),
        ("in_chans: 1", "drop_rate: .nan", "kwargs"),
        ("in_chans: 1", "act_layer: 2001-01-01", "kwargs"),
        ("in_chans: 1", f"act_layer: {'x' * 200}", "kwargs"),
        ("in_chans: 1", "a: {b: {c: {d: {e: {f: 1}}}}}", "kwargs"),
        ("in_chans: 1", f"a: [{'1, ' * 300}1]", "kwargs"),
        ("card: apache-2.0", f"card: {'x' * 1000}", "terms.card"),
        ("paper: null", f"paper: {'x' * 1000}", "source.paper"),
    ],
)
def test_values_that_are_none_are_refused_where_they_stand(old, new, where):
    assert old in TINY
    with pytest.raises(zoo.CardError, match=rf"must follow the card format: {where}"):
        read(TINY.replace(old, new, 1))


def test_what_real_cards_say_stays_allowed():
    text = TINY.replace(
        "in_chans: 1", "img_size: 518, depths: [3, 3, 27, 3], ref_feat_shape: [14, 14], act_layer: gelu"
    )
    text = text.replace("std: [0.25]", "std: [0.25], range: [-1.0, 1.0], window: [-1000.0, 400.0]")
    card = read(text)
    assert card.input.window == [-1000.0, 400.0]
    assert card.kwargs["depths"] == [3, 3, 27, 3]
    with pytest.raises(ValueError, match="one per channel"):
        Input(channels=3, size=32, mean=[0.5], std=[0.5])
