"""Names of quarters, images held out, and what a fit did to them."""

import numpy as np
import torch

from fusion.data.samples import Samples
from fusion.evaluation import metrics
from fusion.heads.losses import class_weights, losses
from fusion.tuning.strategies import plan
from tests.small_fits import COUNT, LABELS

QUARTERS = ["quarter-1", "quarter-2", "quarter-3", "quarter-4"]
ALL = dict.fromkeys(QUARTERS, 1.0)


def rates(strategy, encoder, epochs=4):
    """(epochs, rates) of each stretch of one encoder."""
    return [(stretch.epochs, dict(stretch.phases[0].rates)) for stretch in plan(strategy, [encoder], epochs)]


HELD = Samples(np.random.default_rng(7).integers(0, 256, (COUNT, 32, 32), dtype=np.uint8), LABELS)


def validated(network, held=HELD):
    """AUC and weighted loss on the validation images, by hand."""
    network.eval()
    with torch.no_grad():
        logits = network([encoder.preprocess(held.images) for encoder in network.encoders])
    loss = losses(logits, torch.from_numpy(held.labels), class_weights(LABELS, 3)).mean()
    auc = metrics.auc(held.labels, logits.double().softmax(1).numpy())(np.ones(len(held)))
    return auc, float(loss)
