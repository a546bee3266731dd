"""Each strategy, on a network small enough to see every number move."""

import copy
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from accelerate.state import PartialState
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from fusion import FusionClassifier, Phase, Training
from fusion.data.samples import Samples
from fusion.features import extract
from fusion.heads.losses import class_weights, losses
from fusion.tuning.settings import default_rate
from tests.fusion.tuning.small_encoders import HELD, validated
from tests.marks import slow_but
from tests.small_fits import COUNT, IMAGES, LABELS, RESNET, TRAIN, VIT, Course, fused, own, same, snapshot, solve

ONE, TWO, THREE, FOUR = ({f"quarter-{q}": 1.0} for q in (1, 2, 3, 4))
ALL = ONE | TWO | THREE | FOUR


# Which quarters move, epoch by epoch.
MOVES = {
    "full": [{1, 2, 3, 4}] * 4,
    "lp-ft": [{1, 2, 3, 4}] * 4,
    "gradual-last-first": [{4}, {3, 4}, {2, 3, 4}, {1, 2, 3, 4}],
    "gradual-first-last": [{1}, {1, 2}, {1, 2, 3}, {1, 2, 3, 4}],
    "l1-sp": [{1, 2, 3, 4}] * 4,
    "l2-sp": [{1, 2, 3, 4}] * 4,
    "auto-rgn": [{1, 2, 3, 4}] * 4,
    "auto-rgn-robust": [{1, 2, 3, 4}] * 4,
    "lp-auto-rgn": [{1, 2, 3, 4}] * 4,
    "quarter-1": [{1}] * 4,
    "quarter-2": [{2}] * 4,
    "quarter-3": [{3}] * 4,
    "quarter-4": [{4}] * 4,
    "best-quarter": [{2}] * 4,
    "truncated": [{1, 2, 3}] * 4,
    "layer-decay": [{1, 2, 3, 4}] * 4,
}

QUICK = ("full", "auto-rgn", "lp-auto-rgn", "best-quarter")

SOLVED_FIRST, MEASURED = {"lp-ft", "lp-auto-rgn"}, {"auto-rgn", "auto-rgn-robust", "lp-auto-rgn"}

STEPS = COUNT // 8


def quarter(name):
    """Of the small ResNet; None for what the head holds."""
    part = name.removeprefix("encoders.0.trunk.").split(".")[0]
    return None if name.startswith("head") else int(part[5:]) if part.startswith("layer") else 1


def is_norm(name):
    return any(part.startswith("bn") or part == "downsample" for part in name.split(".")) and not name.endswith(
        "downsample.0.weight"
    )


def share(step, steps, warmup):
    """The schedule, written down a second time: a rise in equal parts, then half a cosine."""
    rise = int(np.round(warmup * steps))
    rising = np.arange(1, rise + 1) / (rise + 1)
    return [*rising, *(0.5 + 0.5 * np.cos(np.linspace(0, np.pi, steps - rise, endpoint=False)))][step]


def batch_of(network, epoch, step, seed=0, size=8, train=TRAIN):
    """Pixels for each encoder and targets of a step, without the loader."""
    order = np.random.default_rng([seed, epoch]).permutation(len(train))[step * size : (step + 1) * size]
    return [e.preprocess(train.images[order]) for e in network.encoders], torch.from_numpy(train.labels[order])


def at(network, state):
    """A copy of the network in another state."""
    twin = copy.deepcopy(network).eval()
    twin.load_state_dict(state)
    return twin


@pytest.mark.parametrize("name", slow_but(MOVES, *QUICK, "gradual-last-first"))
def test_what_moves_in_which_epoch_and_how_fast(tmp_path, name):
    encoder = own(tmp_path, depth=0.75 if name == "truncated" else 1.0)
    course = Course(fused([encoder]), name, learning_rate=2e-3, warmup=0.2)
    parameters = {key for key, _ in course.network.named_parameters()}
    solved, measured = name in SOLVED_FIRST, name in MEASURED
    statistics = name not in {*SOLVED_FIRST, *MEASURED}  # Auto-RGN leaves norm layers alone
    assert len(course.steps) == 4 * STEPS
    assert [row["epoch"] for row in course.history] == [0, 0, 1, 2, 3, 4] if solved else [0, 1, 2, 3, 4]
    for number, (step, (before, after)) in enumerate(zip(course.steps, pairwise(course.states), strict=True)):
        epoch, lone = number // STEPS, len({step["stretch"] for step in course.steps}) == 1
        assert (step["epoch"], step["step"]) == (epoch, number % STEPS)
        place, total = (number, 4 * STEPS) if lone else (number % STEPS, STEPS)
        speed = 2e-3 * share(place, total, 0.2)
        moving = {key for key in parameters if quarter(key) is None or quarter(key) in MOVES[name][epoch]}
        moving = {key for key in moving if not (measured and is_norm(key))}
        assert step["tensors"].keys() == moving
        for key, value in before.items():
            if key in moving:
                if name == "layer-decay" and quarter(key) is not None:
                    assert step["tensors"][key] == pytest.approx(speed * decay(key), rel=1e-6)
                elif not measured or quarter(key) is None:
                    assert step["tensors"][key] == pytest.approx(speed, rel=1e-6)
                if step["tensors"][key] > 0 and not (solved and number == 0):
                    assert not torch.equal(value, after[key]), key
            elif key in parameters or key.startswith("head"):
                assert torch.equal(value, after[key]), key
            else:
                goes = statistics and quarter(key) in MOVES[name][epoch]
                assert torch.equal(value, after[key]) != goes, key


@pytest.mark.parametrize("mode", ["batch", "frozen"])
@pytest.mark.parametrize("name", slow_but([*MOVES, "lora"], *QUICK, "lora"))
def test_statistics_of_what_moves_go_along_or_stay_in_every_strategy(tmp_path, name, mode):
    encoder = own(tmp_path, depth=0.75 if name == "truncated" else 1.0)
    course = Course(fused([encoder]), name, statistics=mode, epochs=1, batch=COUNT // 2)
    first, last = course.states[0], snapshot(course.network)
    moved = {1, 2, 3, 4} if name == "lora" else set.union(*MOVES[name])
    means = [key for key in first if key.endswith("running_mean")]
    assert {quarter(key) for key in means} == ({1, 2, 3} if name == "truncated" else {1, 2, 3, 4})
    for key in means:
        assert torch.equal(first[key], last[key]) != (mode == "batch" and quarter(key) in moved), key
    if name in MEASURED:
        norms = [key for key, _ in course.network.named_parameters() if key.startswith("encoders") and is_norm(key)]
        assert norms
        assert all(torch.equal(first[key], last[key]) for key in norms)  # the weights beside them stay as they are


def test_modes_of_a_fit_are_told_apart_and_those_of_before_are_known(encoder, tmp_path):
    more = {"epochs": 1, "batch": COUNT}
    Course(fused([encoder]), "quarter-4", checkpoint=tmp_path / "fit", **more)
    said = json.loads((tmp_path / "fit" / "fit.json").read_text())["training"]
    assert (said["statistics"], said["learning_rate"]) == (True, 1e-3)  # as fits wrote it that had no other modes
    for mode in ("batch", "frozen"):
        with pytest.raises(ValueError, match=r"must hold this fit \(.* with another training\)"):
            Course(fused([encoder]), "quarter-4", checkpoint=tmp_path / "fit", statistics=mode, **more)


def test_without_a_rate_each_encoder_has_that_of_its_architecture(encoder, tmp_path):
    vit = own(tmp_path, "vit", architecture="vit_tiny_patch16_224", kwargs=VIT)
    slow, fast = default_rate("vit_tiny_patch16_224"), default_rate("resnet18")
    more = {"epochs": 1, "batch": COUNT, "warmup": 0}
    both = Course(fused([encoder, vit]), "full", checkpoint=tmp_path / "fit", **more).steps[0]["tensors"]
    assert [both[key] for key in both if key.startswith("encoders.1")] == pytest.approx(
        [slow] * len(list(vit.parameters()))
    )
    assert {both[key] for key in both if not key.startswith("encoders.1")} == {fast}
    assert json.loads((tmp_path / "fit" / "fit.json").read_text())["training"]["shares"] == [1.0, slow / fast]
    assert set(Course(fused([vit]), "full", **more).steps[0]["tensors"].values()) == {slow}
    given = Course(fused([encoder, vit]), "full", learning_rate=2e-3, **more).steps[0]["tensors"]
    assert set(given.values()) == {2e-3}


def decay(key):
    """The rate of the layer decay of the small ResNet with 8 blocks."""
    parts = key.removeprefix("encoders.0.trunk.").split(".")
    block = 2 * int(parts[0][5:]) - 1 + int(parts[1]) if parts[0].startswith("layer") else 0
    return 0.65 ** (9 - block)


def test_the_rates_are_what_adam_steps_by(encoder):
    """Its first step is the learning rate itself, wherever there is a gradient."""
    phases = [Phase({"quarter-1": 0.1, "stem": 0.01, "quarter-4": 2.0, "head": 0.5})]
    course = Course(fused([encoder]), phases, learning_rate=1e-2, warmup=0)
    before, after = course.states[:2]
    for part, rate in {"conv1": 0.01, "layer1": 0.1, "layer4": 2.0, "linear": 0.5}.items():
        start = ("head." if part == "linear" else "encoders.0.trunk.") + part
        keys = [key for key, _ in course.network.named_parameters() if key.startswith(start)]
        steps = [float((after[key] - before[key]).abs().max()) for key in keys]
        assert max(steps) == pytest.approx(1e-2 * rate, rel=0.01), part


@pytest.mark.parametrize(("place", "kwargs"), [("settings", RESNET), ("phase", RESNET)])
def test_statistics_stand_still_where_asked(tmp_path, place, kwargs):
    phases = [Phase(ALL, statistics=place != "phase")]
    course = Course(fused([own(tmp_path, kwargs=kwargs)]), phases, statistics=place != "settings")
    buffers = {name for name, _ in course.network.named_buffers()}
    assert any(name.endswith("num_batches_tracked") for name in buffers)
    first, last = course.states[0], course.states[-1]
    assert all(torch.equal(first[name], last[name]) for name in buffers)
    assert not torch.equal(first["encoders.0.trunk.bn1.weight"], last["encoders.0.trunk.bn1.weight"])


@pytest.mark.parametrize(
    "name", ["full", "quarter-2", "l1-sp", "l2-sp", "auto-rgn", "layer-decay", "lora", "truncated"]
)
def test_a_vision_transformer_too(tmp_path, name):
    depth = 0.75 if name == "truncated" else 1.0
    encoder = own(tmp_path, "vit", depth, architecture="vit_tiny_patch16_224", kwargs=VIT)
    course = Course(fused([encoder]), name, epochs=2)
    assert not same(snapshot(course.network), course.states[0])
    assert snapshot(course.network).keys() == course.states[0].keys()
    assert np.isfinite([row["loss"] for row in course.history[1:]]).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_lp_ft_begins_at_scikit_learns_optimum(encoder, classes):
    C, y = 0.3, np.random.default_rng(3).permutation([0] * 12 + [1] * 8 + [classes - 1] * 4)
    training = Training(epochs=1, batch=COUNT, patience=None, learning_rate=1e-12)
    model = FusionClassifier(
        [encoder], strategy="lp-ft", C=C, folds=2, training=training, device="cpu", compare_baselines=False
    ).fit(IMAGES, y)
    x = extract.extract(encoder, IMAGES).astype(np.float64)
    scaler = StandardScaler().fit(x)
    state = {key: value.double() for key, value in model.head_.module.state_dict().items()}
    # The head as it acts on raw features, and by the chain rule back on standardised ones.
    raw = state["linear.weight"] / state["standards.0.scale"]
    offset = state["linear.bias"] - raw @ state["standards.0.mean"]
    scale, mean = torch.from_numpy(scaler.scale_), torch.from_numpy(scaler.mean_)
    weight, bias = (raw * scale).requires_grad_(), (offset + raw @ mean).requires_grad_()
    each = torch.from_numpy(COUNT / (classes * np.bincount(y)))[y]
    logits = torch.from_numpy(scaler.transform(x)) @ weight.T + bias
    if classes == 2:  # one logit, the difference: its penalty is on the difference's weights
        assert state["linear.weight"][0].abs().max() < 1e-10
    nll = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="none")
    objective = (each * nll).sum() + weight.square().sum() / (2 * C)
    found = torch.autograd.grad(objective, [weight, bias])
    free = slice(1, None) if classes == 2 else slice(None)
    assert torch.cat([g[free].flatten() for g in found]).norm() <= 1e-4
    solver = LogisticRegression(C=C, class_weight="balanced", tol=1e-9, max_iter=10_000).fit(scaler.transform(x), y)
    with torch.no_grad():
        answered = model.head_.module([torch.from_numpy(x).float()]).double().numpy()
    decision = solver.decision_function(scaler.transform(x))
    found = answered[:, 1] - answered[:, 0] if classes == 2 else answered
    np.testing.assert_allclose(found, decision, atol=1e-4)


def test_lp_ft_hands_its_loss_over(encoder):
    course = Course(fused([encoder]), "lp-ft", batch=COUNT, epochs=1)
    network = at(course.network, course.states[0])
    solve(network)
    assert not torch.equal(network.head.linear.weight, course.states[0]["head.linear.weight"])
    log_proba = network.head.log_proba(network([encoder.preprocess(IMAGES)])).detach().double().numpy()
    expected = -log_proba[np.arange(COUNT), LABELS].mean()  # classes are even here
    assert course.steps[0]["loss"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["l1-sp", "l2-sp"])
def test_sp_penalties_anchor_at_the_pretrained_weights_in_every_phase(encoder, kind, tmp_path):
    phases = [
        Phase(ALL, 1, penalty=kind, alpha=0.7, beta=0.3),
        Phase(THREE | FOUR, 2, penalty=kind, alpha=0.7, beta=0.3),
    ]
    more = {"statistics": False, "checkpoint": tmp_path / "fit", "learning_rate": 1e-2}

    def stop(course, step):
        if step["epoch"] == 2:
            raise InterruptedError

    stopped = Interrupted(encoder, phases, stop, more)
    resumed = Course(fused([encoder]), phases, **more)
    steps = [*stopped.steps[: 2 * STEPS], *resumed.steps]
    states = [*stopped.states[: 2 * STEPS], stopped.states[2 * STEPS], *resumed.states[1:]]
    assert [step["epoch"] for step in steps] == [0] * STEPS + [1] * STEPS + [2] * STEPS
    origin, seen = stopped.states[0], []
    for step, state in zip(steps, states, strict=False):
        network = at(resumed.network, state)
        x, y = batch_of(network, step["epoch"], step["step"])
        fit = losses(network(x), y, class_weights(LABELS, 3)).mean().item()
        seen.append(closed_form(kind, state, origin, 0.7, 0.3))
        assert step["loss"] == pytest.approx(fit + seen[-1], rel=1e-5)
    assert seen[STEPS] > seen[0] > 0
    assert seen[2 * STEPS] > seen[0]


class Interrupted(Course):
    """A fit that ends by an exception of `each`."""

    def __init__(self, encoder, phases, each, settings):
        with pytest.raises(InterruptedError):
            super().__init__(fused([encoder]), phases, each=each, **settings)


def closed_form(kind, state, origin, alpha, beta):
    """The penalty, from the paper: kernels only, and for the head always its square."""
    numbers = {key: value.double().numpy() for key, value in state.items()}
    kernels = [key for key in numbers if key.startswith("encoders") and numbers[key].ndim == 4]
    distances = [numbers[key] - origin[key].double().numpy() for key in kernels]
    assert len(kernels) == 21  # 17 of ResNet-18 and 4 of downsampling, as the first has one here
    pull = alpha * sum(np.abs(d).sum() if kind == "l1-sp" else 0.5 * (d**2).sum() for d in distances)
    return pull + beta / 2 * (numbers["head.linear.weight"] ** 2).sum()


def test_auto_rgn_measures_anew_at_every_epoch(tmp_path):
    network = fused([own(tmp_path, kwargs=RESNET + ", drop_path_rate: 0.5")])  # which would be noise in training mode
    name = "encoders.0.trunk.layer4.1.conv2.weight"
    with torch.no_grad():
        network.get_parameter(name).zero_()
    course = Course(network, "auto-rgn", batch=4, epochs=3, learning_rate=1e-2, warmup=0)
    told = []
    for epoch in range(3):
        step, state = course.steps[6 * epoch], course.states[6 * epoch]
        expected, weightless = relative(at(course.network, state), epoch)
        assert weightless == ({name} if epoch == 0 else set())
        speed = 1e-2 * share(6 * epoch, 18, 0)
        found = {key: value / speed for key, value in step["tensors"].items()}
        assert {key for key in found if key.startswith("head")} == {"head.linear.weight", "head.linear.bias"}
        assert all(found.pop(key) == pytest.approx(1) for key in list(found) if key.startswith("head"))
        assert found == pytest.approx(expected, rel=1e-4)
        assert max(rate for key, rate in found.items() if key not in weightless) == pytest.approx(1)
        assert min(found.values()) < 0.9
        told.append(found)
        others = [
            {k: s["tensors"][k] / s["tensors"]["head.linear.bias"] for k in found}
            for s in course.steps[6 * epoch + 1 : 6 * epoch + 6]
        ]
        assert all(rates == pytest.approx(found) for rates in others)
    assert told[0] != pytest.approx(told[1], rel=1e-2)
    assert told[1] != pytest.approx(told[2], rel=1e-2)


def relative(network, epoch):
    """Lee et al.: mean of |g| / |w| over five batches, over the largest; a weight of zeros counts full."""
    tensors = {key: p for key, p in network.named_parameters() if key.startswith("encoders") and not is_norm(key)}
    ratios = dict.fromkeys(tensors, 0.0)
    for step in range(5):
        x, y = batch_of(network, epoch, step, size=4)
        loss = losses(network(x), y, class_weights(LABELS, 3)).mean()
        for key, gradient in zip(tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True):
            ratios[key] += float(gradient.double().norm()) / 5
    sizes = {key: float(p.detach().double().norm()) for key, p in tensors.items()}
    ratios = {key: ratio / sizes[key] for key, ratio in ratios.items() if sizes[key]}
    weightless = tensors.keys() - ratios.keys()
    return {key: ratios[key] / max(ratios.values()) if key in ratios else 1.0 for key in tensors}, weightless


@pytest.mark.parametrize("monitor", ["auc", "loss"])
def test_the_best_weights_come_back(encoder, monitor):
    course = Course(fused([encoder]), "full", validation=HELD, patience=3, monitor=monitor, epochs=5)
    aucs, found = ([row[f"validation_{what}"] for row in course.history] for what in ("auc", "loss"))
    auc, loss = validated(course.network)
    assert auc == pytest.approx(max(aucs) if monitor == "auc" else aucs[int(np.argmin(found))], abs=1e-6)
    if monitor == "loss":
        assert loss == pytest.approx(min(found), rel=1e-5)
    assert any(same(state, snapshot(course.network)) for state in course.states)
    assert np.argmax(aucs) != len(aucs) - 1 or np.argmin(found) != len(found) - 1, "the last must not be the best"


def test_patience_ends_a_phase_not_the_fit(encoder):
    more = {"patience": 1, "monitor": "loss", "learning_rate": 1e-30, "statistics": False}
    course = Course(fused([encoder]), "gradual-last-first", validation=HELD, epochs=12, **more)
    assert [(row["stretch"], row["epoch"]) for row in course.history] == [(0, 0), (0, 1), (1, 2), (2, 3), (3, 4)]


def test_what_follows_a_solve_is_measured_from_there(encoder):
    """A head that was good by chance before must not hide what fine-tuning gains after the solve."""

    def spoil(network):
        with torch.no_grad():
            network.head.linear.weight.neg_()
            network.head.linear.bias.neg_()

    network = fused([encoder])
    solve(network, HELD, C=10.0)
    course = Course(
        network, "lp-ft", HELD, HELD, solver=spoil, epochs=4, patience=4, learning_rate=3e-4, batch=COUNT, warmup=0
    )
    aucs = [row["validation_auc"] for row in course.history]
    assert aucs[0] > max(aucs[2:])
    assert max(aucs[2:]) > aucs[1]
    assert validated(course.network)[0] == pytest.approx(max(aucs[1:]), abs=1e-6)


def test_the_device_of_an_earlier_fit_is_not_kept(encoder):
    training = Training(epochs=1, batch=COUNT, patience=None)
    for device, cpu in (("cpu", True), ("auto", False)):
        FusionClassifier(
            [encoder], strategy="quarter-4", training=training, device=device, compare_baselines=False
        ).fit(IMAGES, LABELS)
        assert PartialState()._cpu == cpu


def test_a_missing_encoder_does_not_move(tmp_path):
    pair = [own(tmp_path), own(tmp_path, "other", 0.5, seed=4)]
    course = Course(fused(pair), "full", drop_encoder=0.7, epochs=6, statistics=False)
    gone = [dropped(step) for step in course.steps]
    assert set(gone) == {None, 0, 1}
    for missing, (before, after) in zip(gone, pairwise(course.states), strict=True):
        for e in (0, 1):
            still = all(torch.equal(before[k], after[k]) for k in before if k.startswith(f"encoders.{e}."))
            assert still == (missing == e)


def dropped(step):
    """The encoder that is missing in a step, by seed, epoch and step."""
    draw = np.random.default_rng([0, step["epoch"], step["step"]])
    return int(draw.integers(2)) if draw.random() < 0.7 else None


def test_weights_of_classes_and_labels_reach_the_loss(encoder):
    y = np.array([0] * 12 + [1] * 8 + [2] * 4)
    course = Course(fused([encoder]), "full", Samples(IMAGES, y), statistics=False, epochs=1)
    network = at(course.network, course.states[0])
    x, target = batch_of(network, 0, 0, train=Samples(IMAGES, y))
    nll = -network(x).log_softmax(1).detach().numpy()[np.arange(8), target]
    assert course.steps[0]["loss"] == pytest.approx(np.mean(np.array([24 / 36, 1.0, 2.0])[target] * nll), rel=1e-5)
    even = Course(fused([encoder]), "full", Samples(IMAGES, y), statistics=False, epochs=1, class_weight=None)
    assert even.steps[0]["loss"] == pytest.approx(nll.mean(), rel=1e-5)
    labels = np.random.default_rng(2).integers(0, 2, (COUNT, 3)) * [1, 1, 0] + (np.arange(COUNT) % 6 == 0)[:, None]
    several = Samples(IMAGES, np.minimum(labels, 1))
    course = Course(fused([encoder], multilabel=True), "full", several, statistics=False, epochs=1)
    x, target = batch_of(network, 0, 0, train=several)
    p, t = 1 / (1 + np.exp(-network(x).detach().double().numpy())), target.numpy()
    positive = several.labels.sum(0)
    bce = -((COUNT - positive) / positive * t * np.log(p) + (1 - t) * np.log(1 - p))
    assert course.steps[0]["loss"] == pytest.approx(bce.mean(), rel=1e-5)
