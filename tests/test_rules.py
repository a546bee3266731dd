from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from fusion import Phase, Training
from fusion.heads.losses import class_weights, losses
from fusion.heads.modules import TRAINED
from fusion.tuning.rules import Anchor, head_penalty, kernels, relative_norms, sp_penalty
from fusion.tuning.settings import cosine
from tests.small_fits import RESNET, VIT, own

DRAW = np.random.default_rng(0)


def test_class_weights_by_hand():
    y = np.array([0] * 6 + [1] * 3 + [2])
    assert class_weights(y, 3).tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert class_weights(y, 3).tolist() == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=y))
    assert class_weights(y, 3)[y].mean().item() == pytest.approx(1)
    assert class_weights(np.array([0, 0, 0, 2]), 3)[[0, 2]].tolist() == pytest.approx([4 / 6, 2])
    labels = np.array([[1, 0], [1, 0], [0, 1], [1, 0]])
    assert class_weights(labels, 2).tolist() == pytest.approx([1 / 3, 3])
    assert torch.isfinite(class_weights(np.array([[1, 0], [1, 0]]), 2)).all()


def test_losses_by_hand():
    logits, y = DRAW.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    weight = np.array([0.5, 1.0, 4.0])
    nll = np.log(np.exp(logits).sum(1)) - logits[np.arange(5), y]
    found = losses(torch.from_numpy(logits), torch.from_numpy(y), torch.from_numpy(weight))
    np.testing.assert_allclose(found, weight[y] * nll)
    np.testing.assert_allclose(losses(torch.from_numpy(logits), torch.from_numpy(y), None), nll)
    labels = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0], [1, 0, 1]])
    p = 1 / (1 + np.exp(-logits))
    bce = -(weight * labels * np.log(p) + (1 - labels) * np.log(1 - p))
    found = losses(torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(weight))
    np.testing.assert_allclose(found, bce.mean(1))


def test_the_mean_over_halves_is_the_mean_over_the_whole():
    logits, y = torch.randn(8, 3), torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    weight = class_weights(y.numpy(), 3)
    halves = [losses(logits[part], y[part], weight).mean() for part in (slice(4), slice(4, 8))]
    torch.testing.assert_close(torch.stack(halves).mean(), losses(logits, y, weight).mean())


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


def test_the_schedule():
    rates = [cosine(step, 10, 0.2) for step in range(10)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[6] == pytest.approx(0.5)
    assert all(before > after for before, after in pairwise(rates[2:]))
    assert 0 < rates[-1] < 0.05
    assert cosine(0, 1, 0.0) == 1.0
    assert [cosine(step, 4, 0.0) for step in range(4)] == pytest.approx([1, 0.5 + 8**-0.5, 0.5, 0.5 - 8**-0.5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"epochs must be an integer from 1 \(got 0\). Try epochs=20."),
        ({"epochs": 2.5}, r"epochs must be an integer from 1 \(got 2.5\)"),
        ({"workers": -1}, r"workers must be an integer from 0 \(got -1\). Try workers=0."),
        ({"learning_rate": -1.0}, r"learning_rate must be a number from 0 \(got -1.0\). Try learning_rate=0.001."),
        ({"weight_decay": "0"}, r"weight_decay must be a number from 0 \(got '0'\)"),
        ({"batch": 0}, r"batch must be an integer from 1 \(got 0\). Try batch=32."),
        ({"trackers": "tensorboard"}, r"trackers must be a list"),
        ({"precision": "half"}, r"precision one of .* \(got .*'half'"),
        ({"patience": 0}, r"patience must be a positive integer or None \(got 0\). Try patience=5."),
        ({"warmup": 1.0}, r"warmup and drop_encoder must be in \[0, 1\) \(got \(1.0, 0.0\)\)"),
        ({"drop_encoder": -0.1}, r"warmup and drop_encoder must be in \[0, 1\) \(got \(0.1, -0.1\)\)"),
        ({"monitor": "f1"}, r"monitor must be auc or loss, .*\(got 'f1', 'balanced'\)"),
        ({"class_weight": "even"}, r"class_weight balanced or None \(got 'auc', 'even'\)"),
        ({"trackers": ["tensorboard"]}, r"trackers must have a folder \(got checkpoint=None\). Pass checkpoint=DIR."),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Training(**settings)
