"""The loopback Hub must stand before `huggingface_hub` is imported: the client reads its endpoint only once."""

import os
import tempfile

from tests.hub.loopback import LoopbackHub

_HUB = LoopbackHub()
os.environ |= {
    "HF_ENDPOINT": _HUB.endpoint,
    "HF_HOME": tempfile.mkdtemp(prefix="sslzoo-hub-"),
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "no_proxy": "127.0.0.1,localhost",
}
# A console that is made under COLUMNS keeps that width, whatever a test sets.
for name in ("ZOO_CARDS", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "COLUMNS"):
    os.environ.pop(name, None)
if "PYTEST_XDIST_WORKER" in os.environ:  # workers side by side, each with a thread per core, wait for one another
    os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path  # noqa: E402

import huggingface_hub.constants  # noqa: E402
import huggingface_hub.utils._cache_assets  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from zoo.networks import cutting  # noqa: E402
from zoo.registry import cards  # noqa: E402

ROOT = Path(__file__).parents[1]

TINY = """---
zoo:
  architecture: resnet18
  kwargs: {in_chans: 1, channels: [8, 8, 16, 16]}
  method: none
  family: contrastive
  domain: test
  pool: avg
  depth: {optimal: 0.75, evidence: prior}
  input: {channels: 1, size: 32, mean: [0.5], std: [0.25], grey: luminance}
  weights: {repo: null, file: tiny-test.safetensors}
  terms: {card: apache-2.0, upstream: apache-2.0}
  source: {paper: null, url: null}
---
# tiny-test
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty loopback Hub with empty caches, without faults; it must not fail by itself."""
    _HUB.reset()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))  # for other processes
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "assets"))
    for module in (huggingface_hub.constants, huggingface_hub.utils._cache_assets):  # the latter is the one it reads
        monkeypatch.setattr(module, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    yield _HUB
    errors = _HUB.errors
    _HUB.reset()
    assert not errors, errors[0]


@pytest.fixture
def tiny(tmp_path):
    """A card of one's own with random weights beside it; returns the card's path."""
    card = tmp_path / "tiny-test.md"
    card.write_text(TINY)
    record = cards.read(card)
    torch.manual_seed(0)
    network = cutting.build(record.architecture, record.kwargs, device="cpu")
    save_file(network.state_dict(), tmp_path / "tiny-test.safetensors")
    return card
