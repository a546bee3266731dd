"""Fine-tuning beside what people write by hand: plain PyTorch on timm, PEFT, and fastai's gradual unfreezing.

OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_peers.py -m benchmark -s

The same weights (mocov2-mini, whole), the same 300 training patches, preprocessing, epochs, batch and learning rate;
nobody stops early or chooses by the validation slabs, so the last weights count. Seconds are the processor's, of the
fit, loading and preprocessing included.
"""

import time
from functools import partial

import numpy as np
import peft
import pytest
import timm
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import zoo
from fusion import FusionClassifier, Training, brain_regions

NAME, DEPTH = "mocov2-mini", 1.0
LABELS, SEEDS = 300, (0, 1)
EPOCHS, BATCH, RATE, DECAY = 10, 32, 1e-3, 0.01
OURS = ("full", "lora", "gradual-last-first", "lp-ft")
# As in fastai's text tutorial, after Howard and Ruder arXiv:1801.06146: the ratio of rates between first and last
# group, and the rates of its stages, of which RATE is the last: share of the epochs, open groups, times RATE.
RATIO = 2.6**4
STAGES = ((0.2, 1, 20.0), (0.3, 2, 10.0), (0.5, None, 1.0))


def network(classes):
    """timm's own network with the zoo's weights and a new classifier."""
    encoder = zoo.load(NAME, DEPTH)
    card = encoder.card
    made = timm.create_model(card.architecture, num_classes=classes, **card.kwargs)
    weights = {name.removeprefix("trunk."): value for name, value in encoder.state_dict().items()}
    left = made.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys
    assert set(left.missing_keys) == {"fc.weight", "fc.bias"}
    return made


def batches(images, numbers):
    x, y = zoo.load(NAME, DEPTH).preprocess(images), torch.from_numpy(numbers)
    return DataLoader(TensorDataset(x, y), BATCH, shuffle=True, drop_last=True)


def epochs(model, loader, count, optimiser, schedule):
    for _ in range(count):
        model.train()
        for x, y in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()
            schedule.step()
    return model


def plain(model, loader):
    """AdamW and a cosine on whatever may move."""
    moving = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(moving, RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * len(loader))
    return epochs(model, loader, EPOCHS, optimiser, schedule)


def lora(model, loader):
    """PEFT's adapters beside every convolution; the classifier trains whole."""
    targets = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules=targets, modules_to_save=["fc"])
    return plain(peft.get_peft_model(model, config), loader)


def unfrozen(model, loader):
    """fastai's course: the head, then `freeze_to(-2)`, then all; rates grow from group to group, one cycle each.

    As there, BatchNorm trains in frozen groups too. Its concatenated pooling and its wider head are left out, so that
    all methods here have one linear map.
    """
    body = [[model.conv1, model.bn1, model.layer1], [model.layer2], [model.layer3], [model.layer4]]
    groups = [nn.ModuleList(group) for group in [*body, [model.fc]]]
    for share, open_, factor in STAGES:
        first = 0 if open_ is None else len(groups) - open_
        for number, group in enumerate(groups):
            for module in group.modules():
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(number >= first or isinstance(module, nn.BatchNorm2d))
        rates = np.geomspace(RATE * factor / RATIO, RATE * factor, len(groups)).tolist()
        each = [[p for p in group.parameters() if p.requires_grad] for group in groups]
        optimiser = torch.optim.AdamW([{"params": params} for params in each], weight_decay=DECAY)
        count = round(share * EPOCHS)
        cycle = {"pct_start": 0.25, "div_factor": 25, "final_div_factor": 1e5 / 25}
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, count * len(loader), **cycle)
        epochs(model, loader, count, optimiser, schedule)
    return model


def theirs(train_, train, held, seed):
    torch.manual_seed(seed)
    classes, numbers = np.unique(train.labels, return_inverse=True)
    start = time.process_time()
    model = train_(network(len(classes)), batches(train.images, numbers)).eval()
    seconds = time.process_time() - start
    x = zoo.load(NAME, DEPTH).preprocess(held.images)
    with torch.inference_mode():
        proba = torch.cat([model(part).softmax(1) for part in x.split(64)])
    return classes, proba.double().numpy(), seconds


def ours(strategy, train, held, seed):
    training = Training(epochs=EPOCHS, learning_rate=RATE, batch=BATCH, weight_decay=DECAY, patience=None)
    start = time.process_time()
    model = FusionClassifier(
        [zoo.load(NAME, DEPTH)], strategy=strategy, training=training, seed=seed, compare_baselines=False
    )
    model.fit(train.images, train.labels, groups=train.groups)
    seconds = time.process_time() - start
    return model.classes_, model.predict_proba(held.images), seconds


METHODS = {
    "timm, plain PyTorch": partial(theirs, plain),
    "PEFT LoRA, plain loop": partial(theirs, lora),
    "fastai's course": partial(theirs, unfrozen),
    **{f"fusion {strategy}": partial(ours, strategy) for strategy in OURS},
}


def figures(method, train, held, seed):
    """Validation AUC (one class against the rest), balanced accuracy, seconds."""
    classes, proba, seconds = method(train, held, seed)
    auc = np.mean([roc_auc_score(held.labels == name, proba[:, k]) for k, name in enumerate(classes)])
    return auc, balanced_accuracy_score(held.labels, classes[proba.argmax(1)]), seconds


@pytest.mark.benchmark
def test_fine_tuning_beside_peers():
    held = brain_regions("validation")
    print(f"\n{LABELS} labels, {EPOCHS} epochs, batch {BATCH}, rate {RATE:g}, mean of seeds {SEEDS}")
    print(f"{'':>25} {'AUC':>7} {'balanced':>9} {'seconds':>8}")
    for name, method in METHODS.items():
        rows = [figures(method, brain_regions("train", labels=LABELS, seed=seed), held, seed) for seed in SEEDS]
        auc, balanced, seconds = np.mean(rows, axis=0)
        print(f"{name:>25} {auc:7.4f} {balanced:9.4f} {seconds:8.1f}", flush=True)
        assert 0.5 < auc <= 1, name
