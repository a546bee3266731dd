"""Fits on a network of one's own that take a second; run as a script, a fit in a process of its own.

python -m tests.small_fits resume FOLDER STOP    # dies (SIGKILL) in the middle of epoch STOP
python -m tests.small_fits steps FOLDER BATCH    # under `accelerate launch` too; writes the loss of every step
"""

import copy
import functools
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import zoo
from fusion import Training
from fusion.data.folds import folds
from fusion.data.samples import Samples
from fusion.features import extract
from fusion.heads.modules import TRAINED
from fusion.heads.optimum import take_over
from fusion.heads.solved import SOLVED
from fusion.tuning import strategies
from fusion.tuning.loop import Fit
from fusion.tuning.network import Fused
from zoo.networks import cutting

COUNT, CLASSES = 24, 3
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32), dtype=np.uint8)
LABELS = np.random.default_rng(1).permutation(np.arange(COUNT) % CLASSES)
TRAIN = Samples(IMAGES, LABELS)
CARD = """---
zoo:
  architecture: {architecture}
  kwargs: {kwargs}
  method: none
  family: {family}
  domain: test
  pool: avg
  depth: {{optimal: 1.0, evidence: prior}}
  input: {{channels: 1, size: 32, mean: [0.5], std: [0.25], grey: luminance}}
  weights: {{repo: null, file: {name}.safetensors}}
  terms: {{card: apache-2.0, upstream: apache-2.0}}
  source: {{paper: null, url: null}}
---
"""
RESNET = "in_chans: 1, channels: [8, 8, 16, 16]"
VIT = "in_chans: 1, img_size: 32, patch_size: 8, embed_dim: 32, depth: 4, num_heads: 2"


def own(folder, name="tiny", depth=1.0, *, family="contrastive", architecture="resnet18", kwargs=RESNET, seed=0):
    """An encoder with random weights, from a card in `folder`."""
    card = Path(folder) / f"{name}.md"
    text = CARD.format(name=name, family=family, architecture=architecture, kwargs=f"{{{kwargs}}}")
    if not card.exists():
        card.write_text(text)
        made = json.dumps(zoo.registry.cards.read(card).kwargs)
        save_file(_weights(architecture, made, seed), card.with_suffix(".safetensors"))
    return zoo.load(name, depth, card=card)


@functools.cache
def _weights(architecture, kwargs, seed):
    """As if it had been trained: norms that are not 0 or 1, statistics that are its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cutting.build(architecture, json.loads(kwargs), device="cpu").train()
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
        with torch.no_grad():
            for _ in range(20):
                network.forward_features(torch.randn(8, 1, 32, 32))
    return network.state_dict()


def fused(encoders, head="concat", classes=CLASSES, multilabel=False, seed=1):
    """Copies of the encoders under a new head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = TRAINED[head]([encoder.num_features for encoder in encoders], classes, multilabel)
    made.standardise([extract.extract(encoder, IMAGES) for encoder in encoders])
    return Fused([copy.deepcopy(encoder) for encoder in encoders], made)


def solve(network, train=TRAIN, C=0.1):
    """The head at its optimum, as the classifier does it."""
    blocks = [extract.extract(encoder, train.images) for encoder in network.encoders]
    head = SOLVED["concat"]().fit(blocks, train.labels, folds(train.labels, None, 2, 0), [C] * len(blocks))
    take_over(network.head, head.arrays())


class Course:
    """A fit, and what it did: the network's numbers before it and after every step, and what `watch` was told."""

    def __init__(self, network, strategy, train=TRAIN, validation=None, *, seed=0, each=None, solver=solve, **settings):
        self.network, self.steps = network, []
        self.settings = Training(**{"batch": 8, "epochs": 4, "patience": None, "weight_decay": 0.0, **settings})
        stretches = strategies.plan(strategy, list(network.encoders), self.settings.epochs)
        self.fit = Fit(network, stretches, train, validation, self.settings, seed=seed, device="cpu", watch=self._saw)
        self.each = each
        self.states = [snapshot(network)]
        self.history = self.fit.run(solver, {"strategy": str(strategy)})

    def _saw(self, step):
        names = {id(p): name for name, p in self.network.named_parameters()}
        groups = self.fit.optimiser.param_groups
        rates = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
        self.steps.append({**step, "tensors": rates})
        self.states.append(snapshot(self.network))
        if self.each:
            self.each(self, step)


def snapshot(network):
    """Every number of a network, as it is now."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def same(first, second):
    """Whether two snapshots are bit-identical."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def resumable(folder, each=None, checkpoint=True):
    """Two encoders, one with random depth, gradual, augmented, an encoder missing in half of the steps."""
    pair = [
        own(folder, "left", seed=2, kwargs=RESNET + ", drop_path_rate: 0.5"),
        own(folder, "right", 0.5, family="restorative", seed=3),
    ]
    place = Path(folder) / "fit" if checkpoint else None
    more = {"augment": "mr", "drop_encoder": 0.5, "patience": 5, "checkpoint": place, "weight_decay": 0.01}
    held = Samples(IMAGES[::-1].copy(), LABELS)
    return Course(fused(pair), "gradual-last-first", validation=held, seed=5, each=each, **more)


def _resume(folder, stop):
    def die(course, step):
        if step["epoch"] == stop and step["step"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    resumable(folder, die)


def _steps(folder, batch):
    more = {"statistics": False, "epochs": 2, "augment": "mr", "learning_rate": 1e-4}
    course = Course(fused([own(folder)]), "l2-sp", batch=batch, **more)
    if course.fit.accelerator.is_main_process:
        told = {"processes": course.fit.accelerator.num_processes, "losses": [step["loss"] for step in course.steps]}
        (Path(folder) / f"batch-{batch}.json").write_text(json.dumps(told))
        time.sleep(3)  # the others hold on to its store until they have left


if __name__ == "__main__":
    {"resume": _resume, "steps": _steps}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
