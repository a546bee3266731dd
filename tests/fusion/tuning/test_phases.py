"""Which weights, how fast, how long."""

import copy

import numpy as np
import pytest
import torch
import yaml

import zoo
from fusion import Phase
from fusion.heads.modules import TRAINED
from fusion.tuning.phases import Stretch, groups, movers, timeline
from fusion.tuning.strategies import plan
from tests.fusion.tuning.small_encoders import ALL, rates
from tests.small_fits import RESNET, VIT, own
from zoo.networks import cutting


@pytest.mark.parametrize(
    ("architecture", "kwargs", "depth", "blocks"),
    [
        ("resnet18", RESNET, 1.0, 8),
        ("resnet18", RESNET, 0.75, 6),
        ("vit_tiny_patch16_224", VIT, 1.0, 4),
        ("densenet121", "in_chans: 1, growth_rate: 4, block_config: [2, 3, 4, 2]", 1.0, 11),
        ("vgg11_bn", "in_chans: 1", 1.0, 8),
    ],
)
def test_layer_decay_is_beits_formula(tmp_path, architecture, kwargs, depth, blocks):
    card = own(tmp_path).card.model_copy(update={"architecture": architecture, "name": "net"})
    network = cutting.build(architecture, yaml.safe_load(f"{{{kwargs}}}"))  # shapes will do
    encoder = zoo.Encoder(cutting.cut(network, depth), card, depth)
    found = rates("layer-decay", encoder)[0][1]
    names = {id(p): name for name, p in encoder.named_parameters()}
    assert len([name for name in found if name != "stem"]) == blocks
    for group in encoder.blocks():
        number = 0 if group["name"] == "stem" else int(group["name"].removeprefix("block-"))
        assert found.pop(group["name"]) == pytest.approx(0.65 ** (blocks + 1 - number), rel=1e-12)
    assert not found
    moving = movers(plan("layer-decay", [encoder], 4)[0], [encoder], torch.nn.Linear(2, 2))
    by_tensor = {names[id(p)]: group["rate"] for group in moving[1:] for p in group["params"]}
    assert by_tensor.keys() == set(names.values())
    first, *_, last = (name for name, _ in encoder.named_parameters())
    assert by_tensor[last] == pytest.approx(0.65)
    assert by_tensor[first] == pytest.approx(0.65 ** (blocks + (architecture != "vgg11_bn")))


def test_two_encoders_side_by_side():
    a, b = Phase({"quarter-1": 1.0}, 3), Phase({"quarter-2": 1.0}, 2)
    c, done, solve = Phase({"quarter-3": 1.0}, 4), Phase(), Phase(solve=True, epochs=0)
    assert timeline([[a, b], [c]]) == [Stretch(3, (a, c)), Stretch(1, (b, c)), Stretch(1, (b, done))]
    assert timeline([[solve, a], [c]]) == [Stretch(0, (solve, done)), Stretch(3, (a, c)), Stretch(1, (done, c))]
    assert timeline([[a, solve, b], [c]]) == [
        Stretch(3, (a, c)),
        Stretch(0, (solve, done)),
        Stretch(1, (b, c)),
        Stretch(1, (b, done)),
    ]
    assert timeline([[a], [c, solve]])[-1] == Stretch(0, (done, solve))
    both = timeline([[solve, a], [solve, c]])
    assert both[0] == Stretch(0, (solve, solve))
    assert [stretch.solve for stretch in both] == [True, False, False]


def test_the_rate_of_the_head():
    assert Stretch(1, (Phase(), Phase(ALL))).head == 1.0
    assert Stretch(1, (Phase({"head": 0.5}), Phase({"head": 0.1}))).head == 0.5
    assert Stretch(1, (Phase({"head": 0.1}), Phase())).head == 0.1


def test_the_most_exact_name_counts_and_the_rest_is_frozen(encoder):
    phase = Phase({"quarter-1": 0.5, "stem": 0.1, "block-2": 0.0, "block-8": 2.0})
    names = {id(p): name.removeprefix("trunk.") for name, p in encoder.named_parameters()}
    head = TRAINED["concat"]([16], 3)
    moving = movers(Stretch(1, (phase,)), [encoder], head)
    assert [group["name"] for group in moving] == ["head", "tiny@1 stem", "tiny@1 block-1", "tiny@1 block-8"]
    assert [group["rate"] for group in moving] == [1.0, 0.1, 0.5, 2.0]
    held = [{names[id(p)] for p in group["params"]} for group in moving[1:]]
    assert held[0] == {"conv1.weight", "bn1.weight", "bn1.bias"}
    assert all(name.startswith("layer1.0.") for name in held[1])
    assert all(name.startswith("layer4.1.") for name in held[2])
    free = {names[id(p)] for p in encoder.parameters() if p.requires_grad}
    assert free == held[0] | held[1] | held[2]


def test_every_parameter_is_in_one_group(encoder):
    found = [id(p) for group in groups(Phase(ALL), encoder) for p in group.params]
    assert sorted(found) == sorted(id(p) for p in encoder.parameters())


@pytest.mark.parametrize(("architecture", "kwargs"), [("resnet18", RESNET), ("vit_tiny_patch16_224", VIT)])
def test_auto_rgn_knows_norms_by_their_kind(tmp_path, architecture, kwargs):
    encoder = own(tmp_path, "net", architecture=architecture, kwargs=kwargs)
    norms = {
        f"{name}.{key}"
        for name, module in encoder.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.LayerNorm)
        for key, _ in module.named_parameters(recurse=False)
    }
    moving = movers(Stretch(1, (Phase(ALL, rule="auto-rgn"),)), [encoder], torch.nn.Linear(2, 2))
    found = {group["name"].rpartition(" ")[2] for group in moving[1:]}
    assert all(len(group["params"]) == 1 for group in moving[1:])
    assert found == {name for name, _ in encoder.named_parameters()} - norms
    assert not found & norms
    assert norms
    if architecture == "resnet18":
        assert {"trunk.layer2.0.downsample.1.weight", "trunk.bn1.bias"} <= norms
    assert not any(p.requires_grad for name, p in encoder.named_parameters() if name in norms)


def test_a_second_plan_frees_what_the_first_has_frozen(encoder):
    twin = copy.deepcopy(encoder)
    head = torch.nn.Linear(2, 2)
    movers(plan("quarter-1", [twin], 1)[0], [twin], head)
    assert np.sum([p.requires_grad for p in twin.parameters()]) < len(list(twin.parameters()))
    movers(plan("full", [twin], 1)[0], [twin], head)
    assert all(p.requires_grad for p in twin.parameters())


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ({"lora": 2, "penalty": "l2-sp"}, r"phase must have solve or lora alone \(got \['lora', 'penalty'\]\)"),
        ({"lora": 2, "rates": {"quarter-2": 0.1}}, r"phase must have solve or lora alone"),
        ({"solve": True, "rates": {"quarter-2": 0.1}}, r"phase must have solve or lora alone"),
        ({"lora": 0, "rates": {}}, r"lora a rank from 1"),
        ({"rates": ["quarter-2"]}, r"rates must be numbers by group"),
        ({"rates": {"quarter-2": float("nan")}}, r"rates must be >= 0"),
    ],
)
def test_a_phase_that_would_ignore_a_part_of_itself_is_refused(encoder, phase, message):
    with pytest.raises(ValueError, match=message):
        plan([phase], [encoder], 4)
