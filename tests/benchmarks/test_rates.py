"""How fast an encoder may be fine-tuned: one learning rate for all, swept over two and a half decades, by architecture.

OMP_NUM_THREADS=1 RATES=FOLDER python -m pytest tests/benchmarks/test_rates.py -m benchmark -s

The package ships two ResNets and no vision transformer, so a small one is pretrained first as `mocov2-mini` was, on
the training slabs of the shipped task alone; it and every finished fit are kept in FOLDER, and a killed run goes on.
The test brain stays closed: figures are of 300 validation images, of the last weights.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from pytorch_lightning import Trainer, seed_everything
from safetensors.torch import save_file
from torch.utils.data import DataLoader

import zoo
from fusion import FusionClassifier, Training, brain_regions
from fusion.evaluation import metrics
from zoo.pretrain import recipe
from zoo.pretrain.methods import contrastive

RATES = {6: (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2), 20: (3e-4, 1e-3, 3e-3)}  # by epochs, of five steps each
ENCODERS = {6: ("mocov2-mini@0.75", "mae-mini@0.75", "mocov2-vit@0.75"), 20: ("mocov2-mini@0.75", "mocov2-vit@0.75")}
SEEDS, LABELS, HELD = (0, 1, 2), 180, 300
VIT = {"in_chans": 1, "img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 8, "num_heads": 4}
RECIPE = recipe.Recipe(
    name="mocov2-vit",
    method="contrastive",
    architecture="vit_tiny_patch16_224",
    kwargs=VIT,
    patches={},
    mean=0.44,
    std=0.29,
    epochs=6,
    batch_size=128,
    learning_rate=5e-4,
    weight_decay=1e-4,
    seed=0,
    options={"dimensions": 128, "temperature": 0.15, "queue": 2048, "momentum": 0.99, "jitter": 0.6, "crop": 0.3},
)
CARD = f"""---
zoo:
  architecture: {RECIPE.architecture}
  kwargs: {json.dumps(VIT)}
  method: mocov2
  family: contrastive
  domain: brain-mr
  pool: avg
  depth: {{optimal: 0.75, evidence: prior}}
  input: {{channels: 1, size: 64, mean: [0.44], std: [0.29], grey: luminance}}
  weights: {{repo: null, file: mocov2-vit.safetensors}}
  terms: {{card: apache-2.0, upstream: apache-2.0}}
  source: {{paper: null, url: null}}
---
"""


def pretrained(folder):
    """The card of the small vision transformer, made where it is not there yet."""
    card = folder / "mocov2-vit.md"
    if not card.exists():
        images, views = brain_regions("train").images, contrastive.views(RECIPE, 64)
        seed_everything(RECIPE.seed)
        network = timm.create_model(RECIPE.architecture, num_classes=0, **VIT)
        module = contrastive.Contrastive(network, RECIPE)
        loader = DataLoader(images, RECIPE.batch_size, True, drop_last=True, collate_fn=lambda some: _pair(views, some))
        options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        Trainer(max_epochs=RECIPE.epochs, accelerator="cpu", default_root_dir=folder, **options).fit(module, loader)
        save_file(
            {key: value.contiguous() for key, value in network.state_dict().items()}, card.with_suffix(".safetensors")
        )
        card.write_text(CARD)
    return card


def fitted(folder, name, rate, epochs, seed):
    """AUC on the validation images after `full` at one rate, and the last loss."""
    path = folder / f"{name}-{rate:g}-{seed}-{epochs}.json"
    if not path.exists():
        train, held = brain_regions("train", labels=LABELS, seed=seed), brain_regions("validation", labels=HELD)
        card = pretrained(folder)
        encoder = zoo.load(card.stem, 0.75, card=card) if name.startswith(card.stem) else zoo.load(name)
        settings = Training(epochs=epochs, learning_rate=rate, patience=None, statistics="batch")
        model = FusionClassifier([encoder], strategy="full", training=settings, seed=seed, compare_baselines=False)
        model.fit(train.images, train.labels, train.groups)
        truth = np.searchsorted(model.classes_, held.labels)
        auc = metrics.auc(truth, model.predict_proba(held.images))(np.ones(len(truth)))
        path.write_text(json.dumps({"auc": float(auc), "loss": model.history_[-1]["loss"]}))
    return json.loads(path.read_text())


@pytest.mark.benchmark
@pytest.mark.parametrize("epochs", RATES)
def test_rates_by_architecture(epochs, capsys):
    folder, rates = Path(os.environ.get("RATES", "rates")), RATES[epochs]
    folder.mkdir(parents=True, exist_ok=True)
    found = {(e, r): [fitted(folder, e, r, epochs, s)["auc"] for s in SEEDS] for r in rates for e in ENCODERS[epochs]}
    with capsys.disabled():
        print(f"\n| {epochs} epochs | " + " | ".join(f"{rate:g}" for rate in rates) + " |\n|---|" + "--:|" * len(rates))
        for name in ENCODERS[epochs]:
            cells = [f"{np.mean(found[name, rate]):.3f} ± {np.std(found[name, rate], ddof=1):.3f}" for rate in rates]
            print(f"| `{name}` | {' | '.join(cells)} |")
    assert all(max(np.mean(found[name, rate]) for rate in rates) > 0.7 for name in ENCODERS[epochs])


def _pair(views, images):
    both = [views(image) for image in images]
    return [torch.stack([pair[side] for pair in both]) for side in (0, 1)]
