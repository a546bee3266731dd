import copy

import numpy as np
import pytest
import torch
import yaml

import zoo
from fusion import Phase, strategies
from fusion.heads.modules import TRAINED
from fusion.tuning.phases import Stretch, groups, movers, timeline
from fusion.tuning.strategies import plan
from tests.small_fits import RESNET, VIT, own
from zoo.networks import cutting

QUARTERS = ["quarter-1", "quarter-2", "quarter-3", "quarter-4"]
ALL = dict.fromkeys(QUARTERS, 1.0)


@pytest.fixture
def encoder(tmp_path):
    return own(tmp_path)


@pytest.fixture
def cut(tmp_path):
    return own(tmp_path, depth=0.75)


@pytest.fixture
def other(tmp_path):
    return own(tmp_path, "other", 0.5, family="restorative", seed=3)


def rates(strategy, encoder, epochs=4):
    """(epochs, rates) of each stretch of one encoder."""
    return [(stretch.epochs, dict(stretch.phases[0].rates)) for stretch in plan(strategy, [encoder], epochs)]


def refused(strategy, *encoders, message, epochs=4):
    with pytest.raises(ValueError, match=message):
        plan(strategy, list(encoders), epochs)


def test_the_names():
    assert strategies() == [
        *("full", "probe", "lp-ft", "gradual-last-first", "gradual-first-last", "l1-sp", "l2-sp", "auto-rgn"),
        *(*QUARTERS, "best-quarter", "truncated", "layer-decay", "lora"),
    ]


@pytest.mark.parametrize("name", strategies())
@pytest.mark.parametrize("epochs", [1, 7])
def test_every_name_has_a_plan_of_all_epochs(name, epochs, encoder, cut):
    stretches = plan(name, [cut if name == "truncated" else encoder], epochs)
    least = len([stretch for stretch in stretches if not stretch.solve])
    assert sum(stretch.epochs for stretch in stretches) == (max(epochs, least) if least else 0)
    assert all((stretch.epochs == 0) == stretch.solve for stretch in stretches)


def test_what_each_name_moves(encoder, cut):
    assert rates("full", encoder) == rates("l1-sp", encoder) == rates("auto-rgn", encoder) == [(4, ALL)]
    assert rates("probe", encoder) == [(0, {})]
    assert rates("lp-ft", encoder) == [(0, {}), (4, ALL)]
    assert rates("truncated", cut) == [(4, dict.fromkeys(QUARTERS[:3], 1.0))]
    assert [rates(name, encoder) for name in QUARTERS] == [[(4, {name: 1.0})] for name in QUARTERS]
    assert rates("lora", encoder) == [(4, {})]
    assert plan("lora", [encoder], 4)[0].phases[0].lora == 8
    assert [plan(name, [encoder], 4)[0].phases[0].penalty for name in ("l1-sp", "l2-sp")] == ["l1-sp", "l2-sp"]
    assert plan("auto-rgn", [encoder], 4)[0].phases[0].rule == "auto-rgn"
    assert [stretch.phases[0].statistics for stretch in plan("lp-ft", [encoder], 4)] == [True, False]


def test_gradual_opens_one_quarter_more_at_a_time(encoder, cut):
    last, first = rates("gradual-last-first", encoder), rates("gradual-first-last", encoder)
    assert [set(moving) for _, moving in last] == [set(QUARTERS[-n:]) for n in (1, 2, 3, 4)]
    assert [set(moving) for _, moving in first] == [set(QUARTERS[:n]) for n in (1, 2, 3, 4)]
    assert {rate for _, moving in last + first for rate in moving.values()} == {1.0}
    assert [set(moving) for _, moving in rates("gradual-last-first", cut)] == [
        {"quarter-3"},
        {"quarter-3", "quarter-2"},
        {"quarter-3", "quarter-2", "quarter-1"},
    ]


@pytest.mark.parametrize(
    ("epochs", "expected"), [(4, [1, 1, 1, 1]), (8, [2, 2, 2, 2]), (11, [2, 2, 2, 5]), (2, [1, 1, 1, 1])]
)
def test_phases_share_the_epochs_and_the_last_takes_the_remainder(encoder, epochs, expected):
    assert [stretch.epochs for stretch in plan("gradual-last-first", [encoder], epochs)] == expected


def test_phases_with_epochs_of_their_own_keep_them(encoder):
    phases = [Phase(ALL), {"epochs": 3}, {"solve": True}, {"rates": {"stem": 1}}, Phase(ALL)]
    assert [stretch.epochs for stretch in plan(phases, [encoder], 10)] == [2, 3, 0, 2, 3]
    assert [stretch.epochs for stretch in plan(phases, [encoder], 2)] == [1, 3, 0, 1, 1]
    assert [stretch.epochs for stretch in plan([Phase(ALL, epochs=9)], [encoder], 2)] == [9]


def test_a_quarter_that_is_not_held_is_refused(cut):
    refused("quarter-4", cut, message=r"quarter-4 must be a quarter that tiny@0.75 holds \(got .*Load tiny@1 or deeper")


def test_truncated_wants_a_cut_encoder(encoder, tmp_path):
    refused("truncated", encoder, message=r"truncated must be .* up to 0.75 \(got tiny@1\). Load tiny@0.75")
    assert plan("truncated", [own(tmp_path, depth=0.25)], 4)


def test_the_best_quarter_is_the_familys(encoder, tmp_path):
    restorative = own(tmp_path, "restored", family="restorative")
    assert rates("best-quarter", encoder) == [(4, {"quarter-2": 1.0})]
    assert rates("best-quarter", restorative) == [(4, {"quarter-3": 1.0})]
    assert plan("best-quarter", [encoder, restorative], 4)[0].phases == (
        Phase({"quarter-2": 1.0}, 4),
        Phase({"quarter-3": 1.0}, 4),
    )
    shallow = own(tmp_path, "restored", 0.5, family="restorative")
    refused("best-quarter", shallow, message=r"quarter-3 must be a quarter that restored@0.5 holds")
    taught = own(tmp_path, "taught", family="supervised")
    refused("best-quarter", taught, message=r"families \['contrastive', 'restorative'\] \(taught@1 is supervised\)")


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


def test_layer_decay_of_a_large_encoder():
    encoder = zoo.untrained("dino-histology", 0.25)  # ViT-S/16, three of twelve blocks
    found = rates("layer-decay", encoder)[0][1]
    assert found == pytest.approx({"stem": 0.65**4, "block-1": 0.65**3, "block-2": 0.65**2, "block-3": 0.65})


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("ful", r"strategy must be one of fusion.strategies\(\) \(got 'ful'\). Try full."),
        ("gradual", "Try gradual-.* or gradual-"),
        ("xyz", "Try full or probe or .*lora"),
        (3, r"strategy must be a name, a list of phases, or one of these per encoder, 1 \(got 3\)"),
        ([], r"strategy must be a name or a list of phases \(got \[\]\)"),
        ([[]], r"strategy must be a name or a list of phases \(got \[\]\)"),
        ([3], r"strategy must be a name or a list of phases \(got 3\)"),
        (["full", "full"], r"or one of these per encoder, 1 \(got \['full', 'full'\]\)"),
        ([{"rate": ALL}], r"phase must have keys of \['rates', 'epochs', .*\(got \['rate'\]\)"),
        ([[{"rates": ALL}, {"lr": 1, "epoch": 2}]], r"phase must have keys of .*\(got \['epoch', 'lr'\]\)"),
        ([{"rates": {"quarter-5": 1}}], r"rates must name groups of tiny@1: .*\(got \['quarter-5'\]\). Try 'quarter-"),
        ([{"rates": {"block-9": 1}}], r"got \['block-9'\]\). Try 'block-"),
        ([{"rates": {"quarter-1": -0.1}}], r"rates must be >= 0, and > 0 for the head \(got {'quarter-1': -0.1}\)"),
        ([{"rates": {"quarter-1": 1, "head": 0}}], r"> 0 for the head \(got {'quarter-1': 1, 'head': 0}\)"),
        ([{"rates": ALL, "epochs": 0}], r"epochs must be a positive integer, and none for solve \(got 0\)"),
        ([{"rates": ALL, "epochs": 1.5}], r"epochs must be a positive integer, and none for solve \(got 1.5\)"),
        ([{"solve": True, "epochs": 2}], r"epochs must be .* none for solve \(got 2\)"),
        ([{"rates": ALL, "penalty": "l2"}], r"penalty must be l1-sp or l2-sp, rule auto-rgn \(got 'l2', None\)"),
        ([{"rates": ALL, "rule": "rgn"}], r"penalty must be l1-sp or l2-sp, rule auto-rgn \(got None, 'rgn'\)"),
    ],
)
def test_a_strategy_that_cannot_be_is_refused(encoder, strategy, message):
    refused(strategy, encoder, message=message)


def test_groups_of_a_cut_encoder_are_those_it_holds(cut):
    refused([{"rates": {"quarter-4": 1}}], cut, message="load the encoder deeper")
    refused([{"rates": {"block-7": 1}}], cut, message="rates must name groups of tiny@0.75: quarter-1, .*quarter-3")


def test_a_strategy_per_encoder_as_a_list_or_by_name(encoder, other):
    pair = [encoder, other]
    listed = plan(["full", "quarter-2"], pair, 4)
    assert listed == [Stretch(4, (Phase(ALL, 4), Phase({"quarter-2": 1.0}, 4)))]
    assert plan({"other": "quarter-2", "tiny": "full"}, pair, 4) == listed
    assert plan({"other@0.5": "quarter-2", "tiny@1": [Phase(ALL)]}, pair, 4) == listed
    assert plan([[Phase(ALL)], "quarter-2"], pair, 4) == listed
    assert plan("full", pair, 4)[0].phases == (Phase(ALL, 4), Phase(dict.fromkeys(QUARTERS[:2], 1.0), 4))
    assert plan([{"rates": {"stem": 1}}], pair, 4)[0].phases == (Phase({"stem": 1}, 4),) * 2
    for wrong in ({"tiny": "full"}, {"tiny": "full", "else": "full"}, {"tiny": "full", "tiny@1": "full"}):
        refused(wrong, *pair, message=r"strategy must name every encoder, \['tiny@1', 'other@0.5'\] \(got ")
    refused(["full"], *pair, message=r"one of these per encoder, 2 \(got \['full'\]\)")


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


def test_a_name_beside_another(encoder, other):
    stretches = plan(["lp-ft", "gradual-first-last"], [encoder, other], 5)
    assert [(s.epochs, s.solve, [sorted(p.rates) for p in s.phases]) for s in stretches] == [
        (0, True, [[], []]),
        (2, False, [QUARTERS, ["quarter-1"]]),
        (3, False, [QUARTERS, ["quarter-1", "quarter-2"]]),
    ]


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
