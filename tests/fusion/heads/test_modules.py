"""Heads that train."""

import numpy as np
import pytest
import torch
from torch import nn

from fusion.data.folds import folds
from fusion.heads.modules import TRAINED
from fusion.heads.optimum import take_over
from fusion.heads.probe import FLOOR
from fusion.heads.solved import SOLVED
from tests.fusion.heads.small_blocks import WIDTHS, blocks, targets


def solved(name, kind, penalties=(0.1, 0.1)):
    y = targets(kind)
    return SOLVED[name]().fit(blocks(), y, folds(y, None, 3, 0), list(penalties))


def settled(name, kind, head):
    y = targets(kind)
    module = TRAINED[name](WIDTHS, y.shape[1] if y.ndim == 2 else int(y.max()) + 1, y.ndim == 2)
    take_over(module, head.arrays())
    return module


def answers(module, given):
    with torch.inference_mode():
        tensors = [None if x is None else torch.from_numpy(x) for x in given]
        return module.log_proba(module(tensors)).double().numpy()


@pytest.mark.parametrize("kind", ["classes", "binary", "labels"])
@pytest.mark.parametrize("name", SOLVED)
def test_a_module_with_the_solved_heads_numbers_answers_the_same(name, kind):
    head = solved(name, kind)
    module = settled(name, kind, head)
    first, second = blocks(40, seed=7)
    for given in ([first, second], [None, second], [first, None]):
        expected = head.log_proba(given)
        assert expected.min() > FLOOR + 1  # the module has no floor: compare where the solved head has not met it
        np.testing.assert_allclose(answers(module, given), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("name", SOLVED)
def test_only_the_solved_head_has_a_floor(name, kind):
    head = solved(name, kind, (100.0, 100.0))
    module = settled(name, kind, head)
    far = [blocks(40)[0] * 100, blocks(40)[1]]
    given = far if name == "concat" else [far[0], None]
    assert head.log_proba(given).min() > -60  # a few opinions of -12 and 12 put together, never -100s
    assert answers(module, given).min() < head.log_proba(given).min() - 10
    assert np.isfinite(answers(module, given)).all()


def test_a_class_that_a_probe_never_saw_is_as_improbable():
    given, y = blocks(), targets("classes")
    seen = y < 2
    head = SOLVED["concat"]().fit([x[seen] for x in given], y[seen], [], [0.1, 0.1])
    arrays = head.arrays()
    arrays["weight"] = np.vstack([arrays["weight"], np.zeros(15)])
    arrays["bias"] = np.append(arrays["bias"], FLOOR)
    module = TRAINED["concat"](WIDTHS, 3)
    take_over(module, arrays)
    found = answers(module, given)
    assert (found[:, 2] < -8).all()
    assert np.isfinite(found).all()


def test_weights_of_convex_heads_survive_the_way_there():
    head = solved("convex", "classes")
    head.weights = np.array([1.0, 0.0])
    module = settled("convex", "classes", head)
    np.testing.assert_allclose(module.balance.softmax(0).detach(), [1, 0], atol=1e-5)
    assert module.balance.isfinite().all()  # a weight of 0 could never come back
    given = [None, blocks(40)[1]]
    np.testing.assert_allclose(answers(module, given), head.log_proba(given), atol=1e-4)


@pytest.mark.parametrize("missing", [None, 0, 1])
def test_a_gate_of_zero_is_the_plain_mean(missing):
    mean = settled("mean", "classes", solved("mean", "classes"))
    gated = TRAINED["gated"](WIDTHS, 3)
    left = gated.load_state_dict(mean.state_dict(), strict=False)
    assert set(left.missing_keys) == {"gate.weight", "gate.bias"}
    given = [None if e == missing else x for e, x in enumerate(blocks(40))]
    np.testing.assert_allclose(answers(gated, given), answers(mean, given), atol=1e-6)


def test_a_gate_weighs_image_by_image():
    torch.manual_seed(0)
    gated, given = TRAINED["gated"](WIDTHS, 3), blocks(40)
    gated.standardise(given)
    nn.init.normal_(gated.gate.weight, std=3)
    alone = np.stack([answers(gated, [given[0], None]), answers(gated, [None, given[1]])])
    both = answers(gated, given)
    nearer = np.abs(both - alone).sum(2).argmin(0)
    assert set(nearer) == {0, 1}


@pytest.mark.parametrize("name", TRAINED)
def test_an_image_is_answered_by_itself(name):
    torch.manual_seed(0)
    module = TRAINED[name](WIDTHS, 3).eval()
    given = blocks(40)
    np.testing.assert_allclose(answers(module, [x[3:7] for x in given]), answers(module, given)[3:7], atol=1e-5)


def test_attention_does_not_look_at_a_missing_token():
    torch.manual_seed(0)
    module = TRAINED["attention"](WIDTHS, 3).eval()
    given = [torch.from_numpy(x) for x in blocks(40)]
    half = torch.tensor([True, False])
    with torch.inference_mode():
        one, other = (module.join([given[0], second], half) for second in (given[1], 1000 * given[1]))
        whole = module.join(given, torch.tensor([True, True]))
        assert torch.equal(one, other)
        assert torch.equal(one, module([given[0], None]))
        assert (whole - one).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["mean", "convex", "gated", "stack"])
def test_no_head_looks_at_a_missing_block(name):
    torch.manual_seed(0)
    module = TRAINED[name](WIDTHS, 3)
    given = [torch.from_numpy(x) for x in blocks(40)]
    with torch.inference_mode():
        nothing = module([given[0], None])
        nn.init.normal_(module.linears[1].weight)
        nn.init.normal_(module.linears[1].bias)
        assert torch.equal(nothing, module([given[0], None]))


def test_a_missing_block_is_the_training_mean_for_concat():
    module = TRAINED["concat"](WIDTHS, 3)
    given = blocks()
    module.standardise(given)
    mean = np.tile(given[1].mean(0), (len(given[0]), 1))
    np.testing.assert_allclose(answers(module, [given[0], None]), answers(module, [given[0], mean]), atol=1e-5)


def test_standardised_blocks_have_mean_0_and_deviation_1_and_constants_are_0():
    module = TRAINED["mean"](WIDTHS, 3)
    given = blocks()
    given[1][:, 4] = 0.3
    module.standardise(given)
    with torch.inference_mode():
        good, loud = (s(torch.from_numpy(x)) for s, x in zip(module.standards, given, strict=True))
    np.testing.assert_allclose(good.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(good.std(0, correction=0), 1, atol=1e-5)
    assert (loud[:, 4] == 0).all()
    assert module.standards[1].scale[4] == 1
    assert not {"standards.0.mean", "standards.0.scale"} & {name for name, _ in module.named_parameters()}


@pytest.mark.parametrize("given", [[None, None], [torch.zeros(2, 6)]])
def test_one_block_per_encoder_and_one_of_them_there(given):
    with pytest.raises(ValueError, match=r"blocks must be 2, not all of them missing. Keep one encoder"):
        TRAINED["mean"](WIDTHS, 3)(given)


@pytest.mark.parametrize("name", SOLVED)
def test_solved_heads_need_a_block_too(name):
    with pytest.raises(ValueError, match=r"blocks must not all be missing \(got none\). Keep one encoder"):
        solved(name, "classes").log_proba([None, None])


def test_log_probabilities_of_classes_and_of_labels():
    logits = torch.tensor([[1.0, 2.0, -1.0]])
    assert TRAINED["mean"](WIDTHS, 3).log_proba(logits).exp().sum() == pytest.approx(1)
    own = TRAINED["mean"](WIDTHS, 3, True).log_proba(logits).exp()
    torch.testing.assert_close(own, logits.sigmoid())
