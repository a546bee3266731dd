"""The heads on the validation slabs, at depths and penalties chosen there: what fusion/heads/README.md says of them.

python -m pytest tests/benchmarks/test_heads.py -m benchmark -s

With SSLZOO_MAE=WEIGHTS another file takes the place of mae-mini's, as for a recipe that is being tried.
"""

import os

import numpy as np
import pytest

import zoo
from fusion import brain_regions
from fusion.demo import protocol
from fusion.heads.solved import SOLVED


def encoder(name):
    other = os.environ.get("SSLZOO_MAE") if name == "mae-mini" else None
    return zoo.load(name, 1.0, weights=other)


@pytest.mark.benchmark
def test_heads_on_the_validation_slabs(monkeypatch):
    encoders = {name: encoder(name) for name in protocol.ENCODERS}
    train, held = brain_regions("train"), brain_regions("validation")
    levels = [protocol.extract(encoders, samples, lambda _: None) for samples in (train, held)]
    bench = protocol._Bench(*levels, train, held)
    figures = {head: [] for head in SOLVED}
    for budget in protocol.BUDGETS:
        index = protocol._where(brain_regions("train", labels=budget), train)
        options = [[[[(name, level)]] for level in range(4)] for name in encoders]
        best = [bench._best(name, own, budget=budget, index=index) for name, own in zip(encoders, options, strict=True)]
        inputs, grid = [[choice.inputs[0][0] for choice in best]], [[choice.penalties[0] for choice in best]]
        for head, row in figures.items():
            fused = bench._best("fusion", [inputs], budget=budget, index=index, head=head, grid=grid)
            row.append(fused.validation.auc.value)
    for head, row in figures.items():
        print(f"\n{head:>7}", *(f"{value:.4f}" for value in row), f"mean {np.mean(row):.4f}", end="")
    assert all(0.5 < value <= 1 for row in figures.values() for value in row)
