"""A small checkpoint on the loopback Hub, with its card: what the tests of fetching and verification need."""

import numpy as np
from safetensors.numpy import save

from zoo.fetching import digests, opened
from zoo.registry import cards

REPO, REVISION, FILE = "lab/small", "a" * 40, "model.safetensors"
CARD = """---
zoo:
  architecture: resnet18
  method: none
  family: contrastive
  domain: test
  pool: avg
  depth: {{optimal: 0.75, evidence: prior}}
  input: {{channels: 3, size: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
  weights: {{repo: {repo}, revision: "{revision}", file: {file}{more}}}
  terms: {{card: apache-2.0, upstream: apache-2.0}}
  source: {{paper: null, url: null}}
---
# small-test
"""


def tensors(seed=0, count=12, size=2000):
    """Tensors of several types and sizes, an empty one and a scalar among them."""
    draw = np.random.default_rng(seed)
    made = {f"layer{i}.weight": draw.normal(size=(i + 1, size // (i + 1))).astype("f4") for i in range(count)}
    return made | {"half": draw.normal(size=77).astype("f2"), "count": np.array(7), "none": np.zeros((0, 3), "f4")}


def publish(hub, folder, *, seed=0, pinned=True, beside=False, revision=REVISION, **shape):
    """Serve a small checkpoint; returns its card and its bytes.

    pinned: the card pins the digests, which lie in a file of its own; beside: the repo has a digests.json.
    """
    data = save(tensors(seed, **shape), metadata={"format": "pt"})
    own = folder / "own.safetensors"
    own.write_bytes(data)
    listed = digests.dump(opened.digest(own))
    own.unlink()
    more = f', digests: "{digests.sha256(listed)}"' if pinned else ""
    served = {FILE: data} | ({"digests.json": listed} if beside else {})
    hub.serve(REPO, revision, served)
    path = folder / "small-test.md"
    path.write_text(CARD.format(repo=REPO, revision=revision, file=FILE, more=more))
    if pinned and not beside:
        (folder / "digests").mkdir(exist_ok=True)
        (folder / "digests" / "small-test.json").write_bytes(listed)
    return cards.read(path), data


def whole(data):
    """Each tensor's bytes, cut from the whole file."""
    from zoo.fetching import header

    spans = header.parse(data[: header.stop(data[:8])]).spans
    return {name: data[span.start : span.stop] for name, span in spans.items()}
