"""The settings of a fit, and the schedule."""

from itertools import pairwise

import pytest

from fusion import Training
from fusion.tuning.settings import cosine, default_rate
from zoo.registry import cards


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
        (
            {"statistics": "still"},
            r"statistics must be strategy, batch or frozen \(got 'still'\)\. Try statistics='batch'\.",
        ),
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


def test_older_settings_say_the_modes_in_other_words():
    assert (Training(statistics=True), Training(statistics=False)) == (Training(), Training(statistics="frozen"))
    assert Training().statistics == "strategy"


def test_transformers_have_a_smaller_rate_of_their_own():
    found = {name: default_rate(cards.find(name).architecture) for name in cards.names()}
    assert {found[name] for name in ("mocov2-mini", "mae-mini", "supervised-natural-vgg19", "mocov2-chest")} == {1e-3}
    assert {found[name] for name in ("dino-natural", "mae-chest-vitb", "evax-chest", "dinov2-natural")} < {1e-4, 3e-4}
    assert default_rate("swin_tiny_patch4_window7_224") == default_rate("vit_base_patch16_224")
