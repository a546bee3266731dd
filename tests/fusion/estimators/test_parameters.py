"""What may stand in the classifier's constructor."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

import zoo
from fusion import FusionClassifier, Phase, Training
from fusion.estimators import parameters
from tests.fusion.estimators.small_models import HELD, PAIR, SHORT, TRAIN


def test_clone_and_parameters_with_everything_set():
    strategy = {"mocov2-mini": [Phase({"quarter-2": 1.0})], "mae-mini": "probe"}
    model = FusionClassifier(PAIR, "mean", strategy, C=0.1, folds=3, training=SHORT, device="cpu", seed=2)
    assert clone(model).get_params() == model.get_params()
    assert model.get_params()["training"] is SHORT
    assert clone(model).set_params(training=Training(epochs=2)).training.epochs == 2
    first, again = (m.fit(TRAIN.images, TRAIN.labels) for m in (model, clone(model)))
    assert model.get_params()["strategy"] is strategy
    np.testing.assert_array_equal(first.predict_proba(HELD.images), again.predict_proba(HELD.images))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"head": "sum"}, r"head must be one of \['attention', 'concat', .*'stack'\] \(got 'sum'\)"),
        ({"strategy": "ful"}, r"strategy must be one of fusion.strategies\(\) \(got 'ful'\). Try full"),
        ({"strategy": ["full"]}, r"strategy must be a name, a list of phases, or one of these per encoder, 2 \(got \["),
        (
            {"strategy": {"mae-mini": "full"}},
            r"strategy must name every encoder, \['mocov2-mini@0.5', .*Name each once",
        ),
        ({"strategy": "quarter-2"}, r"suit mae-mini@0.25 \(got 'quarter-2': quarter 2 is cut off .*Load mae-mini@0.5"),
        ({"head": "gated", "C": [0.1, 1.0]}, r"C must be one value for head 'gated' \(got \[0.1, 1.0\]\)"),
        ({"encoders": []}, r"encoders must be a list of names.* \(got \[\]\)"),
        ({"encoders": "mocov2-mini"}, r"encoders must be a list of names.* \(got 'mocov2-mini'\)"),
        ({"encoders": ["mocov2-mimi"]}, r"name must be a known checkpoint .*Nearest: mocov2-mini"),
        ({"C": [0.1]}, r"C must be positive, one or one per encoder and depth, 2 \(got \[0.1\]\)"),
        (
            {"encoders": ["mae-mini@quarters", PAIR[0]], "C": [0.1, 1]},
            r"C must be positive, one or one per encoder and depth, 5 \(got \[0.1, 1\]\)",
        ),
        ({"encoders": ["mae-mini@1+0.5"]}, r"depths must rise, each given once .*Try mae-mini@0.5\+1"),
        (
            {"encoders": ["mae-mini@0.5+1", "mae-mini@1"]},
            r"encoders must differ in name or depth \(got \['mae-mini@0.5', ",
        ),
        ({"C": -1.0}, "C must be positive"),
        ({"C": np.array([0.1, 0.0])}, "C must be positive"),
        ({"encoders": PAIR[:1] * 2}, r"encoders must differ in name or depth \(got \['mocov2-mini@0.5', 'mocov2"),
        ({"device": "gpu"}, r"device must be auto or one that is there \(got 'gpu'\)\. Try device='auto'"),
        ({"seed": -1}, r"seed must be an integer from 0 \(got -1\)"),
        ({"training": {"epochs": 3}}, r"training must be a fusion.Training \(got \{'epochs': 3\}\)"),
        (
            {"training": Training(epochs=3, augment="mr")},
            r"training must be left out where nothing is trained .* \(got epochs, augment with strategy 'probe'\)",
        ),
        ({"class_weight": "even"}, r"class_weight must be 'balanced' or None \(got 'even'\)"),
        ({"folds": 11}, r"folds must be from 2 to the images of the rarest class, 10 \(got 11\)"),
        ({"folds": 1}, "folds must be an integer from 2"),
        ({"folds": "2"}, "folds must be an integer from 2"),
        ({"C": float("nan")}, "C must be positive"),
        ({"C": float("inf")}, "C must be positive"),
        ({"C": "1"}, "C must be positive"),
        ({"folds": 7}, r"folds must not exceed the groups, 6 \(got 7\)"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        FusionClassifier(**{"encoders": PAIR, **parameters}).fit(TRAIN.images, TRAIN.labels, TRAIN.groups)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"encoders": "automatic"}, "a list of names, or 'auto'"),
        ({"encoders": "auto", "candidates": "mae-mini"}, "candidates must be a list of names"),
        ({"encoders": "auto", "candidates": []}, "candidates must be a list of names"),
        ({"encoders": ["mae-mini"], "candidates": ["mae-mini"]}, "must come with encoders='auto'"),
        ({"encoders": "auto", "C": [0.1, 1.0]}, "C must be positive, one or one per encoder and depth, 1"),
    ],
)
def test_auto_given_wrongly(given, said):
    with pytest.raises(ValueError, match=said):
        FusionClassifier(**given).fit(TRAIN.images, TRAIN.labels)


@pytest.mark.parametrize(
    ("encoders", "said"),
    [
        (lambda e: [torch.nn.DataParallel(e)], r"\(got a DataParallel\)\. Pass its \.module\."),
        (lambda e: [torch.nn.Linear(2, 2)], r"\(got a Linear\)\. Load it by zoo\.load\."),
        (lambda e: [None], r"\(got a NoneType\)\. Load it by zoo\.load\."),
    ],
)
def test_what_is_no_encoder_is_refused_and_the_advice_helps(encoders, said):
    encoder = zoo.load("mae-mini@0.25")
    given = encoders(encoder)
    with pytest.raises(TypeError, match=rf"encoders must be names, zoo\.Encoder or fusion\.Taps {said}"):
        FusionClassifier(given, C=0.1).fit(TRAIN.images, TRAIN.labels)
    if hasattr(given[0], "module"):
        FusionClassifier([given[0].module], C=0.1).fit(TRAIN.images, TRAIN.labels)


def test_a_name_alone_is_answered_with_that_name():
    with pytest.raises(ValueError, match=r"Try \['dino-natural'\]"):
        FusionClassifier("dino-natural").fit(TRAIN.images, TRAIN.labels)


def test_a_rate_that_was_once_the_default_is_none_that_a_probe_must_refuse():
    def model(**settings):
        return FusionClassifier(PAIR, training=Training(class_weight=None, **settings))

    for settings in ({}, {"learning_rate": 1e-3, "statistics": True}):  # as models saved before state them
        parameters.check_effect(model(**settings), True, None)
    with pytest.raises(ValueError, match=r"training must be left out .*\(got learning_rate, patience with strategy"):
        parameters.check_effect(model(learning_rate=3e-4, patience=None), True, None)
