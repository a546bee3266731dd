"""Depth is exact: the truncated network's output equals a hook on the same block of the whole network."""

import functools
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import timm
import torch

from tests.conftest import TINY
from tests.marks import slow_but
from zoo.networks import cutting, families
from zoo.networks.encoder import Encoder
from zoo.registry import cards

ARCHITECTURES = {
    "resnet50": {},
    "densenet121": {},
    "vgg19": {},
    "vgg16_bn": {},
    "vit_base_patch16_224": {"img_size": 64},
    "vit_small_patch14_dinov2": {"img_size": 56},
    "vit_small_patch14_reg4_dinov2": {"img_size": 56},
    "eva02_tiny_patch14_224": {"img_size": 56},
    "swin_tiny_patch4_window7_224": {"img_size": 64},
    "convnext_atto": {},
}
DEPTHS = [k / 8 for k in range(1, 9)]
TWINS = ("vgg19", "vit_base_patch16_224", "vit_small_patch14_dinov2")  # another of each of these families is quick
PARAMETERS = slow_but(ARCHITECTURES, *(ARCHITECTURES.keys() - TWINS))


def card_for(architecture, pool="avg"):
    size = ARCHITECTURES[architecture].get("img_size", 64)
    pixels = cards.Input(channels=3, size=size, mean=[0.0] * 3, std=[1.0] * 3)
    changes = {"architecture": architecture, "kwargs": ARCHITECTURES[architecture], "pool": pool, "input": pixels}
    return cards.parse(TINY, "tiny-test", Path("tiny-test.md")).model_copy(update=changes)


@functools.cache
def whole(architecture):
    torch.manual_seed(0)
    kwargs = ARCHITECTURES[architecture]
    network = timm.create_model(architecture, num_classes=0, **kwargs).eval()
    for module in network.modules():  # statistics and scales as after training, so that a lost norm shows
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


@functools.cache
def truncated(architecture, pool, depth):
    network, state = cutting.build(architecture, ARCHITECTURES[architecture]), whole(architecture).state_dict()
    cut = cutting.cut(network, depth)
    encoder = Encoder(cut, card_for(architecture, pool), depth)
    encoder.load_state_dict({key: state[source] for key, source in cut.sources.items()}, strict=True, assign=True)
    cutting.materialise(encoder)
    return encoder.eval(), cut


def taps(network, blocks, x):
    """What the whole network computes at the end of each block, by forward hooks, without any code of ours."""
    caught = {}

    def catch(block):
        return lambda *given: caught.update({block: given[2].clone()})

    handles = [network.get_submodule(place(network, block)).register_forward_hook(catch(block)) for block in blocks]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    return caught


def place(network, block):
    """The module whose output is the block's."""
    if "denselayer" in block:
        quarter, layer = block.split(".")[1:]
        number, count = int(layer[10:]), len(network.features.get_submodule(quarter))
        following = {
            1: "features.transition1.norm",
            2: "features.transition2.norm",
            3: "features.transition3.norm",
            4: "features.norm5",
        }[int(quarter[10:])]
        return f"features.{quarter}.denselayer{number + 1}.norm1" if number < count else following
    return block


@pytest.mark.parametrize("architecture", PARAMETERS)
def test_truncated_output_is_the_full_networks_tap_bit_for_bit(architecture):
    card, network = card_for(architecture), whole(architecture)
    x = torch.randn(2, 3, card.input.size, card.input.size)
    made = {depth: truncated(architecture, "avg", depth) for depth in DEPTHS}
    tapped = taps(network, {cut.blocks[-1][-1] for _, cut in made.values()}, x)
    for depth, (encoder, cut) in made.items():
        with torch.no_grad():
            found, pyramid = encoder.trunk.forward_features(x), encoder.pyramid(x)
        expected = tapped[cut.blocks[-1][-1]]
        if depth == 1 and architecture.startswith(("vit", "swin")):
            expected = network.norm(expected)
        assert torch.equal(found, expected), depth
        assert torch.equal(pyramid[-1], encoder._as_map(expected)), depth
        assert [level.shape[1] for level in pyramid] == list(encoder.channels)
        assert len(pyramid) == -(-depth * 4 // 1)


@pytest.mark.parametrize("architecture", PARAMETERS)
@pytest.mark.parametrize("pool", ["avg", pytest.param("cls+avg", marks=pytest.mark.slow)])
def test_one_pass_gives_the_features_of_every_depth(architecture, pool):
    if pool != "avg" and not architecture.startswith("vit"):
        pytest.skip("no class token, or (EVA-02) a norm behind the pool that is as wide as one of them only")
    card = card_for(architecture, pool)
    x = torch.randn(2, 3, card.input.size, card.input.size)
    encoder, _ = truncated(architecture, pool, 1.0)
    with torch.no_grad():
        found, maps = encoder.at_depths(x), encoder.maps(x)
    assert len(found) == len(maps) == len(encoder.depths)
    for depth, features, level in list(zip(encoder.depths, found, maps, strict=True))[:: 1 if len(found) < 20 else 7]:
        alone, _ = truncated(architecture, pool, depth)
        with torch.no_grad():
            assert torch.equal(alone(x), features), depth
            assert torch.equal(alone.pyramid(x)[-1], level) or depth == 1, depth
        assert alone.depths == encoder.depths[: len(alone.depths)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_of_a_later_block_is_kept(architecture):
    kwargs = ARCHITECTURES[architecture]
    for depth in DEPTHS:
        network = cutting.build(architecture, kwargs)
        order = [name for blocks in families.family(network).quarters(network) for name in blocks]
        cut = cutting.cut(network, depth)
        kept = sum(map(len, cut.blocks))
        later = tuple(f"{name}." for name in order[kept:])
        leftovers = [s for s in cut.sources.values() if s.startswith(later)]
        norms = ("norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var", "norm1.num_batches_tracked")
        allowed = [s for s in leftovers if architecture == "densenet121" and s.endswith(norms)]
        assert leftovers == allowed, depth
        assert len(allowed) in (0, 5)
        persistent = {*dict(cut.trunk.named_parameters()), *(k for k in cut.trunk.state_dict())}
        assert {f"trunk.{key}" for key in persistent} <= set(cut.sources)


# Without VGG: its own features go through two dense layers, which no card pools with.
@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if not name.startswith("vgg")])
def test_features_at_depth_one_are_timms_own(architecture):
    network = whole(architecture)
    pool = "cls" if getattr(network, "global_pool", "") == "token" else "avg"
    card = card_for(architecture, pool)
    encoder, _ = truncated(architecture, pool, 1.0)
    x = torch.randn(2, 3, card.input.size, card.input.size)
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(x), pre_logits=True)
        torch.testing.assert_close(encoder(x), expected, rtol=1e-5, atol=1e-6)
    assert encoder.num_features == network.num_features


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_built_on_meta_equals_one_built_normally(architecture):
    kwargs = ARCHITECTURES[architecture]
    normal = whole(architecture)
    empty = cutting.build(architecture, kwargs)
    assert all(p.is_meta for p in empty.parameters())
    empty.load_state_dict(normal.state_dict(), strict=True, assign=True)
    cutting.materialise(empty)
    ours, theirs = dict(empty.named_buffers()), dict(normal.named_buffers())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    x = torch.randn(2, 3, kwargs.get("img_size", 64), kwargs.get("img_size", 64))
    with torch.no_grad():
        assert torch.equal(empty.eval().forward_features(x), normal.forward_features(x))


@pytest.mark.parametrize(
    ("architecture", "depth", "parameters"),
    [("resnet50", 0.75, 8_543_296), ("densenet121", 0.75, 4_267_392 + 2_048), ("resnet50", 1.0, 23_508_032)],
)
def test_parameter_counts(architecture, depth, parameters):
    cut = cutting.cut(cutting.build(architecture, {}), depth)
    assert sum(p.numel() for p in cut.trunk.parameters()) == parameters


def test_vit_base_keeps_nine_blocks_and_no_final_norm():
    cut = cutting.cut(cutting.build("vit_base_patch16_224", {}), 0.75)
    assert sum(map(len, cut.blocks)) == len(cut.trunk.blocks) == 9
    assert not any("norm.weight" in key.split("blocks")[0] for key in cut.sources)


def test_unknown_architectures_are_refused():
    with pytest.raises(ValueError, match=r"must be a name that timm lists, built from numbers \(got 'resnet51'"):
        cutting.build("resnet51", {})
    with pytest.raises(ValueError, match=r"architecture must be one of .*got EfficientNet"):
        cutting.build("efficientnet_b0", {})
    with pytest.raises(ValueError, match="architecture must be one timm builds"):
        cutting.build("resnet18", {"no_such_argument": 1})


def test_a_tensor_left_without_numbers_is_an_error():
    with pytest.raises(RuntimeError, match=r"every tensor must hold numbers \(without: \['conv1.weight'"):
        cutting.materialise(cutting.build("resnet18", {}))


@pytest.mark.parametrize(
    ("architecture", "kwargs", "got"),
    [
        ("hf-hub:evil/arch", {}, "'hf-hub:evil/arch'"),
        ("local-dir:/etc", {}, "'local-dir:/etc'"),
        ("resnet18", {"checkpoint_path": "x.pth"}, "the argument checkpoint_path"),
        ("resnet18", {"pretrained": True}, "the argument pretrained"),
        ("resnet18", {"pretrained_cfg": {"url": "http://x"}}, "the argument pretrained_cfg"),
    ],
)
def test_a_card_makes_timm_read_nothing(architecture, kwargs, got):
    with pytest.raises(ValueError, match=rf"must be a name that timm lists, built from numbers \(got {got}\)"):
        cutting.build(architecture, kwargs)


@pytest.mark.parametrize(
    ("architecture", "kwargs"),
    [
        ("vit_base_patch16_224", {"depth": 200_000}),
        ("resnet18", {"layers": [2, 2, 60_000, 2]}),
        ("resnet18", {"channels": [8, 8, 60_000, 60_000]}),
        ("vit_base_patch16_224", {"img_size": 65_536}),
        ("swin_tiny_patch4_window7_224", {"img_size": 4096, "window_size": 64}),
    ],
)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_card_may_not_ask_for_any_amount(architecture, kwargs, device):
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ValueError, match=r"architecture must be one timm builds .*ask for .*more than"):
        cutting.build(architecture, kwargs, device)
    assert time.monotonic() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


@pytest.mark.parametrize(
    ("architecture", "kwargs"),
    [
        ("resnet18", {"act_layer": "nonsense"}),
        ("resnet18", {"norm_layer": "nonsense"}),
        ("resnet18", {"layers": [1, 1, 1]}),
        ("resnet18", {"block": "x"}),
        ("resnet18", {"output_stride": 5}),
        ("resnet18", {"num_classes": 3}),
        ("resnet18", {"in_chans": "three"}),
        ("vit_base_patch16_224", {"patch_size": 0}),
        ("vit_base_patch16_224", {"num_heads": 0}),
        ("vit_base_patch16_224", {"depth": 0}),
        ("vit_base_patch16_224", {"embed_dim": -8}),
        ("convnext_atto", {"dims": [8, 8, 8, -8]}),
        ("densenet121", {"block_config": {}}),
        ("swin_tiny_patch4_window7_224", {"window_size": 0}),
        ("vgg19", {"cfg": [64, "M"]}),
    ],
)
def test_whatever_arguments_provoke_in_timm_is_one_sentence(architecture, kwargs):
    with pytest.raises(ValueError, match=r"^architecture must be one timm builds \(got '\w+': .*\)\. Edit the card\.$"):
        cutting.build(architecture, kwargs)


@pytest.mark.slow
def test_the_bound_is_of_one_build_in_one_thread():
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: cutting.build("resnet50", {}), range(100)))) == 100  # 32,000 tensors in all
