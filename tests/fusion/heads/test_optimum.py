"""A module at the optimum of its objective."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from fusion.data.folds import folds
from fusion.heads import optimum
from fusion.heads import probe as probe_
from fusion.heads import solved as solved_
from fusion.heads.losses import EVEN
from fusion.heads.modules import TRAINED
from fusion.heads.optimum import ModuleHead, take_over
from tests.fusion.heads.small_blocks import WIDTHS, blocks, targets

KINDS = ["classes", "binary", "labels"]


def fitted(name, kind, penalty=0.1, seed=0):
    y = targets(kind)
    return ModuleHead(name, seed=seed).fit(blocks(), y, folds(y, None, 3, 0), [penalty, penalty], hold=False)


def objective(module, kind, penalty=0.1):
    """The probe's objective, written out: balanced log-loss, and half of the squared weights over C, per image."""
    y = torch.from_numpy(targets(kind))
    logits = module([torch.from_numpy(x) for x in blocks()])
    if y.ndim == 2:
        odds = (len(y) - y.sum(0)) / y.sum(0)
        loss = binary_cross_entropy_with_logits(logits, y.float(), pos_weight=odds, reduction="none").sum(1)
    else:
        counts = torch.bincount(y)
        loss = cross_entropy(logits, y, reduction="none") * (len(y) / (len(counts) * counts))[y]
    weights = [p for name, p in module.named_parameters() if "bias" not in name and name != "balance"]
    return loss.mean() + torch.stack([p.square().sum() for p in weights]).sum() / (2 * penalty * len(y))


@pytest.mark.parametrize("kind", ["classes", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])])
@pytest.mark.parametrize("name", ["gated", "attention", "concat"])
def test_the_fit_is_an_optimum_of_the_stated_objective(name, kind, monkeypatch):
    reached = float(objective(fitted(name, kind).module, kind).detach())
    monkeypatch.setattr(optimum, "_STEPS", 1000)
    module = fitted(name, kind).module
    module.zero_grad()
    least = objective(module, kind)
    least.backward()
    assert max(float(p.grad.abs().max()) for p in module.parameters()) < 5e-3
    assert reached == pytest.approx(float(least.detach()), rel=5e-3)
    assert reached < float(objective(begun(name, kind), kind).detach()) - 0.05


def begun(name, kind):
    y = targets(kind)
    torch.manual_seed(0)
    module = TRAINED[name](WIDTHS, y.shape[1] if y.ndim == 2 else int(y.max()) + 1, y.ndim == 2)
    module.standardise(blocks())
    return module


@pytest.mark.parametrize("penalty", [0.01, 0.1, 1.0])
def test_concat_by_descent_is_the_solved_probe(penalty):
    y = targets("classes")
    solved = solved_.SolvedConcat().fit(blocks(), y, folds(y, None, 3, 0), [penalty, penalty], hold=False)
    found = fitted("concat", "classes", penalty).log_proba(blocks())
    np.testing.assert_allclose(found, solved.log_proba(blocks()), atol=5e-3)


def test_of_two_classes_each_has_weights_so_that_c_counts_double():
    """scikit-learn has one weight for two classes; w / 2 and -w / 2 are half as long, squared."""
    y = targets("binary")
    solved = solved_.SolvedConcat().fit(blocks(), y, folds(y, None, 3, 0), [0.2, 0.2])
    np.testing.assert_allclose(
        fitted("concat", "binary", 0.1).log_proba(blocks()), solved.log_proba(blocks()), atol=5e-3
    )


def test_each_label_is_a_probe_of_its_own():
    """Balanced by its positives alone: against scikit-learn's weights the loss is larger by 2 * share of negatives."""
    y, x = targets("labels"), np.concatenate(blocks(), 1)
    found = fitted("concat", "labels", 0.1).log_proba(blocks())
    for k in range(y.shape[1]):
        probe = probe_.fit_probe(x, y[:, k], 2, 0.1 * 2 * (1 - y[:, k].mean()))
        np.testing.assert_allclose(found[:, k], probe.log_proba(x)[:, 1], atol=5e-3)


def test_another_label_does_not_change_the_penalty_of_the_first():
    y, split = targets("labels"), folds(targets("labels"), None, 3, 0)
    three = ModuleHead("concat").fit(blocks(), y, split, [0.1, 0.1]).log_proba(blocks())
    two = ModuleHead("concat").fit(blocks(), y[:, :2], split, [0.1, 0.1]).log_proba(blocks())
    np.testing.assert_allclose(three[:, :2], two, atol=5e-3)


def test_classes_count_the_same_however_rare():
    y = np.where(np.arange(150) % 15 == 0, 0, 1)
    given = [x - x.mean(0) for x in blocks()]
    proba = np.exp(ModuleHead("concat").fit(given, y, [], [1e-6, 1e-6]).log_proba(given))
    np.testing.assert_allclose(proba, 0.5, atol=0.01)  # without weights only biases are left: even odds, not 1 to 14


@pytest.mark.parametrize("name", ["gated", "attention"])
def test_trained_probes_learn_and_answer_without_an_encoder(name):
    y = targets("classes")
    head = fitted(name, "classes")
    fresh = blocks(seed=3)
    assert (head.log_proba(fresh).argmax(1) == y).mean() > 0.6
    assert (head.log_proba([fresh[0], None]).argmax(1) == y).mean() > 0.6
    assert (head.log_proba([None, fresh[1]]).argmax(1) == y).mean() < 0.5


@pytest.mark.parametrize("name", ["gated", "attention"])
def test_what_is_left_out_answers_by_itself_and_moves_no_joint_answer(name, monkeypatch):
    monkeypatch.setattr(optimum, "_STEPS", 50)
    monkeypatch.setattr(optimum, "kept", lambda alone, figure: (True, False, False))
    y, (good, loud) = targets("classes"), blocks()
    halves = [good[:, :3], good, loud]
    head = ModuleHead(name).fit(halves, y, folds(y, None, 3, 0), None, hold=False)
    assert head.strengths[0] > 0
    assert head.strengths[1:] == (0, 0)
    assert list(head.on) == [True, True, True]
    spared = head.log_proba([None, good, None])
    assert (spared.argmax(1) == y).mean() > 0.6
    assert np.isfinite(head.log_proba([None, good, loud])).all()
    np.testing.assert_array_equal(head.log_proba(halves), head.log_proba([halves[0], None, None]))
    again = ModuleHead.restore(name, head.arrays(), False)
    for given in (halves, [None, good, None]):
        np.testing.assert_array_equal(again.log_proba(given), head.log_proba(given))


@pytest.mark.parametrize("name", ["concat", "mean", "stack"])
def test_what_a_solved_head_left_out_the_module_does_not_look_at(name):
    y, (good, loud) = targets("classes"), blocks()
    noise = np.concatenate([loud, np.random.default_rng(2).normal(size=(150, 300))], 1).astype(np.float32)
    arrays = solved_.SOLVED[name]().fit([good, noise], y, folds(y, None, 3, 0), None).arrays()
    module = TRAINED[name]([6, 309], 3)
    assert ModuleHead(name, module).on == [True, True]
    take_over(module, arrays)
    assert ModuleHead(name, module).on == [True, False]
    left = ModuleHead(name, module).log_proba([None, noise])
    assert np.ptp(left, axis=0).max() < 1e-6


@pytest.mark.parametrize("name", ["gated", "attention"])
def test_the_same_seed_gives_the_same_head_and_leaves_the_random_state(name, monkeypatch):
    monkeypatch.setattr(optimum, "_STEPS", 30)
    state = torch.get_rng_state()
    first, again = fitted(name, "classes"), fitted(name, "classes")
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(first.log_proba(blocks()), again.log_proba(blocks()))
    other = fitted(name, "classes", seed=1)
    assert not np.array_equal(first.log_proba(blocks()), other.log_proba(blocks()))


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_without_a_penalty_the_one_with_the_best_out_of_fold_auc_is_taken(kind, monkeypatch):
    monkeypatch.setattr(optimum, "_STEPS", 20)
    y, split = targets(kind), folds(targets(kind), None, 3, 0)
    head = ModuleHead("gated").fit(blocks(), y, split, None)
    job = optimum._Optima("gated", blocks(), y, split, EVEN, 0)
    figures = {c: job.auc(c, (True, True)) for c in (0.01, 0.1, 1.0)}
    best = max(figures, key=figures.get)
    assert len(set(figures.values())) > 1
    np.testing.assert_array_equal(head.log_proba(blocks()), fitted("gated", kind, best).log_proba(blocks()))


def test_these_heads_have_one_penalty():
    with pytest.raises(ValueError, match=r"C must be one value for head 'gated' \(got \[0.1, 1.0\]\). Try C=0.1"):
        ModuleHead("gated").fit(blocks(), targets("classes"), [], [0.1, 1.0])


def test_a_class_that_a_fold_lacks_is_no_obstacle():
    y = np.where(np.arange(150) < 20, 2, np.arange(150) % 2)
    order = np.arange(150)
    split = [(order[order >= 20], order[:20]), (order[order < 75], order[75:])]
    assert np.isfinite(optimum._Optima("gated", blocks(), y, split, EVEN, 0).held(0.1, (True, True))).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TRAINED)
def test_a_head_survives_its_arrays(name, kind):
    y = targets(kind)
    torch.manual_seed(1)
    module = TRAINED[name](WIDTHS, y.shape[1] if y.ndim == 2 else int(y.max()) + 1, y.ndim == 2)
    module.standardise(blocks())
    head = ModuleHead(name, module)
    again = ModuleHead.restore(name, head.arrays(), y.ndim == 2)
    assert (again.module.widths, again.module.classes) == (WIDTHS, module.classes)
    assert again.module.multilabel == (kind == "labels")
    for given in (blocks(), [blocks()[0], None]):
        np.testing.assert_array_equal(again.log_proba(given), head.log_proba(given))
    for key, value in head.arrays().items():
        np.testing.assert_array_equal(again.arrays()[key], value)


@pytest.mark.parametrize("name", TRAINED)
def test_one_encoder_alone_is_a_head_too(name):
    module = TRAINED[name](WIDTHS[:1], 3)
    module.standardise(blocks()[:1])
    head = ModuleHead(name, module)
    again = ModuleHead.restore(name, head.arrays(), False)
    np.testing.assert_array_equal(again.log_proba(blocks()[:1]), head.log_proba(blocks()[:1]))


def test_settling_copies_numbers_and_shares_none():
    y = targets("classes")
    arrays = solved_.SolvedMean().fit(blocks(), y, folds(y, None, 3, 0), [0.1, 0.1]).arrays()
    kept = {key: value.copy() for key, value in arrays.items()}
    module = TRAINED["mean"](WIDTHS, 3)
    take_over(module, arrays)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    for key, value in kept.items():
        np.testing.assert_array_equal(arrays[key], value)
