"""Every strategy on the shipped task, Colin27 only: its loss falls, and it beats its own untrained head."""

import numpy as np
import pytest
import torch

import fusion
from fusion import FusionClassifier, Training, brain_regions
from fusion.evaluation import metrics
from fusion.features import extract
from fusion.heads import losses as losses_
from fusion.heads.modules import TRAINED

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
    model = FusionClassifier([f"mocov2-mini@{depth}"], strategy=strategy, training=settings, C=0.03)
    model.fit(train.images, train.labels, train.groups, validation=(held.images, held.labels))
    losses = [row["loss"] for row in model.history_ if row["loss"] is not None]
    assert losses[-1] < losses[0]
    assert auc(model, held) > model.history_[0]["validation_auc"] + 0.1


def test_the_probe_beats_the_untrained_head(parts):
    train, held = parts
    model = FusionClassifier(["mocov2-mini@0.75"], C=0.03).fit(train.images, train.labels, train.groups)
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
