"""Every strategy on the shipped task, Colin27 only: its loss falls, and it beats its own untrained head."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import fusion
import zoo
from fusion import FusionClassifier, Phase, Training, brain_regions, strategies
from fusion.evaluation import metrics
from fusion.features import extract
from fusion.heads import losses as losses_
from fusion.heads.modules import TRAINED
from fusion.tuning.phases import Stretch
from fusion.tuning.rules import RULES
from fusion.tuning.strategies import plan, pulled, why_not
from tests.fusion.tuning.small_encoders import ALL, QUARTERS, rates
from tests.small_fits import own


@pytest.fixture
def cut(tmp_path):
    return own(tmp_path, depth=0.75)


@pytest.fixture
def other(tmp_path):
    return own(tmp_path, "other", 0.5, family="restorative", seed=3)


def refused(strategy, *encoders, message, epochs=4):
    with pytest.raises(ValueError, match=message):
        plan(strategy, list(encoders), epochs)


def test_the_names():
    assert strategies() == [
        *("full", "probe", "lp-ft", "gradual-last-first", "gradual-first-last", "l1-sp", "l2-sp", "auto-rgn"),
        *("auto-rgn-robust", "lp-auto-rgn", *QUARTERS, "best-quarter", "truncated", "layer-decay", "lora"),
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
    assert [plan(name, [encoder], 4)[0].phases[0].rule for name in ("auto-rgn", "auto-rgn-robust")] == list(RULES)
    assert [(s.solve, s.phases[0].rule) for s in plan("lp-auto-rgn", [encoder], 4)] == [
        (True, None),
        (False, "auto-rgn"),
    ]
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
    refused(
        "quarter-4",
        cut,
        message=r"suit tiny@0.75 \(got 'quarter-4': quarter 4 is cut off at depth 0.75\)\. Load tiny@1\.",
    )


def test_truncated_wants_a_cut_encoder(encoder, tmp_path):
    refused(
        "truncated", encoder, message=r"suit tiny@1 \(got 'truncated': depth 1 is not truncated\)\. Load tiny@0.75\."
    )
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
    refused(
        "best-quarter",
        shallow,
        message=r"\(got 'best-quarter': quarter 3 is cut off at depth 0.5\)\. Load restored@0.75",
    )
    taught = own(tmp_path, "taught", family="supervised")
    refused(
        "best-quarter",
        taught,
        message=r"no best quarter is known for the family supervised\)\. Try strategy='quarter-2' or",
    )


@pytest.mark.parametrize(
    ("name", "family", "depth", "why"),
    [
        ("truncated", "supervised", 0.75, None),
        ("truncated", "supervised", 0.8, "depth 0.8 is not truncated"),
        ("best-quarter", "supervised", 1.0, "no best quarter is known for the family supervised"),
        ("best-quarter", "contrastive", 0.5, None),
        ("best-quarter", "contrastive", 0.25, "quarter 2 is cut off at depth 0.25"),
        ("quarter-3", "supervised", 7 / 12, None),  # the third quarter is begun
        ("quarter-3", "supervised", 6 / 12, "quarter 3 is cut off at depth 0.5"),
        ("quarter-1", "supervised", 1 / 12, None),
        ("full", "supervised", 1 / 12, None),
    ],
)
def test_why_an_encoder_cannot_have_a_strategy_by_name(name, family, depth, why):
    assert why_not(name, family, depth) == why


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
        (
            [{"rates": ALL, "penalty": "l2"}],
            r"l1-sp or l2-sp, rule auto-rgn or auto-rgn-robust \(got 'l2', None\)",
        ),
        (
            [{"rates": ALL, "rule": "rgn"}],
            r"l1-sp or l2-sp, rule auto-rgn or auto-rgn-robust \(got None, 'rgn'\)",
        ),
    ],
)
def test_a_strategy_that_cannot_be_is_refused(encoder, strategy, message):
    refused(strategy, encoder, message=message)


def test_another_strength_of_a_penalty(encoder, cut):
    for name in ("l1-sp", "l2-sp"):
        found = pulled(name, [encoder, cut], 0.01)
        assert [plan(each, [e], 4)[0].phases[0] for each, e in zip(found, (encoder, cut), strict=True)] == [
            replace(phase, alpha=0.01) for phase in plan(name, [encoder, cut], 4)[0].phases
        ]
    assert pulled("l2-sp", [encoder], 0.01) != pulled("l2-sp", [encoder], 0.1)
    with pytest.raises(ValueError, match=r"alpha must be of a strategy with a penalty \(got 'full'\)\. Try l2-sp"):
        pulled("full", [encoder], 0.01)
    with pytest.raises(ValueError, match=r"alpha and beta must be >= 0"):
        pulled("l2-sp", [encoder], -1.0)


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


def test_a_name_beside_another(encoder, other):
    stretches = plan(["lp-ft", "gradual-first-last"], [encoder, other], 5)
    assert [(s.epochs, s.solve, [sorted(p.rates) for p in s.phases]) for s in stretches] == [
        (0, True, [[], []]),
        (2, False, [QUARTERS, ["quarter-1"]]),
        (3, False, [QUARTERS, ["quarter-1", "quarter-2"]]),
    ]


DEEP = {"quarter-4"}  # needs the whole network


def auc(model, part):
    truth = np.searchsorted(model.classes_, part.labels)
    return metrics.auc(truth, model.predict_proba(part.images))(np.ones(len(truth)))


@pytest.fixture(scope="module")
def parts():
    return brain_regions("train", labels=120), brain_regions("validation", labels=300)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [name for name in fusion.strategies() if name != "probe"])
def test_the_loss_falls_and_training_beats_the_untrained_head(strategy, parts):
    train, held = parts
    depth = 1 if strategy in DEEP else 0.75
    settings = Training(epochs=6, learning_rate=3e-3, patience=None)
    model = FusionClassifier(
        [f"mocov2-mini@{depth}"], strategy=strategy, training=settings, C=0.03, compare_baselines=False
    )
    model.fit(train.images, train.labels, train.groups, validation=(held.images, held.labels))
    losses = [row["loss"] for row in model.history_ if row["loss"] is not None]
    assert losses[-1] < losses[0]
    assert auc(model, held) > model.history_[0]["validation_auc"] + 0.1


def test_the_probe_beats_the_untrained_head(parts):
    train, held = parts
    model = FusionClassifier(["mocov2-mini@0.75"], C=0.03, compare_baselines=False).fit(
        train.images, train.labels, train.groups
    )
    blocks = [extract.extract(model.encoders_[0], part.images) for part in parts]
    torch.manual_seed(0)
    head = TRAINED["concat"]([128], 6)
    head.standardise(blocks[:1])
    truth = [torch.from_numpy(np.searchsorted(model.classes_, part.labels)) for part in parts]
    with torch.inference_mode():
        before = [head([torch.from_numpy(block)]) for block in blocks]
    after = torch.from_numpy(model.head_.log_proba(blocks[:1]))
    assert losses_.losses(after, truth[0], None).mean() < losses_.losses(before[0], truth[0], None).mean()
    untrained = metrics.auc(truth[1].numpy(), before[1].softmax(1).double().numpy())(np.ones(len(truth[1])))
    assert auc(model, held) > untrained + 0.1
