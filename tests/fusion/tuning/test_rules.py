"""Penalties and rates of their own."""

import numpy as np
import pytest
import torch

from fusion import Phase
from fusion.heads.modules import TRAINED
from fusion.tuning.rules import RULES, Anchor, head_penalty, kernels, relative_norms, sp_penalty
from tests.small_fits import RESNET, VIT, own

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize(("kind", "alpha"), [("l2-sp", 0.1), ("l2-sp", 2.0), ("l1-sp", 0.1), ("l1-sp", 3.0)])
def test_sp_penalty_and_its_gradient(kind, alpha):
    now, origin = ([DRAW.normal(size=shape) for shape in [(3, 4), (2, 3, 1, 1)]] for _ in range(2))
    weights = [torch.tensor(w, requires_grad=True) for w in now]
    penalty = sp_penalty(kind, alpha, list(zip(weights, map(torch.tensor, origin), strict=True)))
    far = [w - w0 for w, w0 in zip(now, origin, strict=True)]
    expected = alpha * sum(np.abs(d).sum() if kind == "l1-sp" else (d**2).sum() / 2 for d in far)
    assert penalty.item() == pytest.approx(expected)
    for gradient, d in zip(torch.autograd.grad(penalty, weights), far, strict=True):
        np.testing.assert_allclose(gradient, alpha * (np.sign(d) if kind == "l1-sp" else d))


def test_at_the_pretrained_weights_nothing_pulls():
    w = torch.randn(3, 4, requires_grad=True)
    for kind in ("l1-sp", "l2-sp"):
        penalty = sp_penalty(kind, 0.1, [(w, w.detach().clone())])
        assert penalty.item() == 0
        assert not torch.autograd.grad(penalty, w)[0].any()


def test_the_head_term_and_its_gradient():
    w = torch.tensor(DRAW.normal(size=(3, 4)), requires_grad=True)
    penalty = head_penalty(0.3, [w])
    assert penalty.item() == pytest.approx(0.15 * w.detach().square().sum().item())
    torch.testing.assert_close(torch.autograd.grad(penalty, w)[0], 0.3 * w.detach())


def test_penalties_see_kernels_only(tmp_path):
    resnet = own(tmp_path, kwargs=RESNET)
    found = [name for name, _ in kernels(resnet)]
    assert found == [name for name, p in resnet.named_parameters() if p.ndim == 4]
    assert not any("bn" in name or "downsample.1" in name or name.endswith("bias") for name in found)
    vit = own(tmp_path, "vit", architecture="vit_tiny_patch16_224", kwargs=VIT)
    found = {name for name, _ in kernels(vit)}
    linear = {f"{n}.weight" for n, m in vit.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)}
    assert found == linear
    assert {"trunk.cls_token", "trunk.pos_embed"} <= {name for name, _ in vit.named_parameters()} - found


@pytest.mark.parametrize("head", TRAINED)
def test_the_anchor_adds_up_encoders_and_one_head(tmp_path, head):
    pair = [own(tmp_path), own(tmp_path, "other", 0.5, seed=3)]
    module = TRAINED[head]([e.num_features for e in pair], 3)
    anchor = Anchor(pair)
    with torch.no_grad():
        for encoder in pair:
            for parameter in encoder.parameters():
                parameter += 0.25
    sizes = [sum(w.numel() for _, w in kernels(encoder)) for encoder in pair]
    square = sum(float(w.detach().square().sum()) for _, w in kernels(module))
    assert {name for name, _ in kernels(module)} <= {n for n, p in module.named_parameters() if "bias" not in n}
    both = [Phase(penalty="l2-sp", alpha=2.0, beta=0.1), Phase(penalty="l1-sp", alpha=3.0, beta=0.5)]
    assert float(anchor.penalty([Phase(), Phase()], module)) == 0.0
    one = sizes[0] * 0.0625
    two = 3 * sizes[1] * 0.25
    assert anchor.penalty(both, module).item() == pytest.approx(one + two + 0.25 * square, rel=1e-5)
    assert anchor.penalty([both[0], Phase()], module).item() == pytest.approx(one + 0.05 * square, rel=1e-5)


def test_relative_norms_by_hand():
    batches = [{"a": 2.0, "b": 1.0, "c": 9.0}, {"a": 4.0, "b": 1.0, "c": 9.0}]
    assert relative_norms(batches, {"a": 1.5, "b": 1.0, "c": 0.0}) == pytest.approx({"a": 1.0, "b": 0.5, "c": 1.0})
    assert relative_norms([{"a": 0.0}], {"a": 1.0}) == {"a": 1.0}
    assert relative_norms([{"a": 0.0, "b": 1.0}], {"a": 1.0, "b": 1.0}) == {"a": 0.0, "b": 1.0}


def test_an_outlier_slows_all_others_unless_the_maximum_is_robust():
    sizes = {**dict.fromkeys("abcdefg", 1.0), "first": 1.0, "none": 0.0}
    batch = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 2.0, "e": 2.0, "f": 3.0, "g": 4.0, "first": 100.0, "none": 1.0}
    authors, robust = (relative_norms([batch], sizes, level) for level in RULES.values())
    assert max(authors[name] for name in "abcdefg") == pytest.approx(0.04)
    assert authors["first"] == robust["first"] == robust["none"] == robust["g"] == 1.0
    largest = np.quantile([1, 1, 2, 2, 2, 3, 4, 100], 0.75)
    assert robust == pytest.approx(
        {name: min(1.0, batch[name] / largest) for name in sizes if name != "none"} | {"none": 1}
    )
    same = relative_norms([{**batch, "first": 1e9}], sizes, RULES["auto-rgn-robust"])
    assert same == robust
    lone = relative_norms([dict.fromkeys(sizes, 0.0) | {"first": 2.0, "a": 1.0}], sizes, RULES["auto-rgn-robust"])
    assert (lone["first"], lone["a"], lone["b"]) == (1.0, 1.0, 0.0)
