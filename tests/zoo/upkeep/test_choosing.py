"""Which of several sets of weights is taken: one of them said so, or whoever asks says so."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.zoo.upkeep.hostile import saved
from zoo.networks import cutting
from zoo.upkeep import conversion, unpickling

ARCHITECTURE = {"architecture": "resnet18", "kwargs": {"in_chans": 1, "channels": [8, 8, 16, 16]}}
HEADS = {"fc.weight": (2, 16), "fc.0.bias": (2,), "head.mlp.0.weight": (2, 16), "projector.1.num_batches_tracked": ()}


def state(value=None):
    torch.manual_seed(0)
    found = cutting.build(ARCHITECTURE["architecture"], ARCHITECTURE["kwargs"], device="cpu").state_dict()
    return found if value is None else {key: torch.full_like(tensor, value) for key, tensor in found.items()}


def below(prefix, tensors):
    return {prefix + key: value for key, value in tensors.items()}


@pytest.fixture
def convert(tmp_path):
    """Converts a checkpoint; returns its first convolution's value and what is said of the choice."""

    def run(content, **options):
        source, output = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
        flat = unpickling.collect(content, 1 << 30)  # as a pickle is written out, without a process for each
        save_file({name: tensor.clone() for name, tensor in flat.items()}, source)
        conversion.convert(source, output, **ARCHITECTURE, **options)
        return load_file(output)["conv1.weight"].flatten()[0].item(), conversion.report(output)

    return run


@pytest.mark.parametrize(
    ("raw", "averaged"),
    [
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("state_dict", "ema_state_dict"),
        ("model", "ema"),
        ("state_dict", "model_averaged"),
        ("net", "ema_model.module"),
    ],
)
def test_of_raw_and_ema_weights_the_ema_is_taken_and_said(convert, raw, averaged):
    content = {"epoch": 3}
    for place, value in ((raw, 1.0), (averaged, 2.0)):
        outer, _, inner = place.partition(".")
        content[outer] = below(f"{inner}." if inner else "", state(value))
    value, told = convert(content)
    assert value == 2.0
    assert f"Taken: what lies below '{averaged}.', by the layout timm, averaged weights." in told
    assert f"{raw}. (126 tensors)" in told
    assert convert(content, ema=False)[0] == 1.0
    assert convert(content, prefix=raw)[0] == 1.0
    assert convert(content, prefix=f"{averaged}.")[0] == 2.0


@pytest.mark.parametrize(
    ("first", "second"),
    [("student", "teacher"), ("encoder_q", "encoder_k"), ("online_network", "target_network"), ("left", "right")],
)
def test_of_two_sets_that_nothing_tells_apart_none_is_taken(convert, first, second):
    content = {"state_dict": below(f"{first}.", state(1.0)) | below(f"{second}.", state(2.0))}
    with pytest.raises(zoo.WeightsError, match=r"one set of weights must fit \(got 2 that differ: .*Choose with --"):
        convert(content)
    assert convert(content, prefix=f"{second}.")[0] == 2.0  # the advice
    if first != "left":
        assert convert(content, ema=True)[0] == 2.0
        assert convert(content, ema=False)[0] == 1.0


def test_two_copies_of_one_set_are_one(convert):
    assert convert({"model": state(3.0), "state_dict": state(3.0)})[0] == 3.0


@pytest.mark.parametrize(
    "prefix",
    [
        *(
            "module.",
            "model.",
            "encoder.",
            "net.",
            "_orig_mod.",
            "encoder_q.",
            "module.backbone.",
            "module.base_encoder.",
        ),
        *("module._orig_mod.", "online_encoder.net.", "a.b.c.d."),
    ],
)
@pytest.mark.parametrize("outer", ["state_dict", "network", ""])
def test_any_common_prefix_comes_off_and_heads_are_named(convert, prefix, outer):
    heads = {key: torch.zeros(shape) for key, shape in HEADS.items()}
    flat = below(prefix, state(4.0) | heads) | {"projection_head.0.weight": torch.zeros(3, 3), "queue": torch.zeros(5)}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(7)}}, "param_groups": [{"lr": 0.1}]}
    value, told = convert({outer: flat, "optimizer": optimizer, "epoch": 1} if outer else flat)
    assert value == 4.0
    nest = f"{outer}." if outer else ""
    for name in (f"{nest}projection_head. (1 tensors)", f"{nest}{prefix}head. (1 tensors)"):
        assert name in told
    if "backbone" not in prefix:  # one of the layouts begins with it
        assert f"Taken: what lies below '{nest}{prefix}', by the layout timm" in told


def test_what_belongs_to_no_head_is_not_dropped(convert):
    with pytest.raises(
        zoo.WeightsError, match=r"below 'module.'.*left over: module\.adapter\.weight.*--layout and --prefix"
    ):
        convert(below("module.", state(1.0) | {"adapter.weight": torch.zeros(2)}))
    with pytest.raises(zoo.WeightsError, match="names must be the network's under one layout"):
        convert(below("module.", state(1.0)), prefix="encoder.")


@pytest.mark.slow
def test_the_same_file_gives_the_same_bytes(tmp_path):
    source = saved(tmp_path / "in.pth", {"state_dict": below("module.", state(1.0))})
    made = []
    for number in range(4):
        conversion.convert(source, tmp_path / f"{number}.safetensors", **ARCHITECTURE)
        made.append((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(set(made)) == 1
