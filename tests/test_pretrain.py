import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fusion import brain_regions
from tests.conftest import ROOT
from zoo.pretrain import patches, recipe, sources
from zoo.pretrain.methods import restorative

RECIPE = """
name: {method}-toy
method: {method}
architecture: resnet18
kwargs: {{in_chans: 1, channels: [8, 8, 16, 16]}}
patches: {{mr: 192}}
mean: 0.44
std: 0.29
epochs: 4
batch_size: 64
learning_rate: 0.001
weight_decay: 0.0001
seed: 0
options: {options}
"""
OPTIONS = {
    "contrastive": "{dimensions: 16, temperature: 0.2, queue: 128, momentum: 0.99, jitter: 0.6, crop: 0.3}",
    "restorative": "{mask: 0.5, square: 8, jitter: 0.6}",
}
# The real run on real patches of the sample task; only the download is left out.
SCRIPT = """
import sys, pathlib, torch
import fusion
from zoo.pretrain import patches, run, sources
torch.set_num_threads(1)
sources.fetch = lambda folder: []
patches.cut = lambda folder, counts, seed: fusion.brain_regions("train").images[::20][:192]
run.run(*map(pathlib.Path, sys.argv[1:]))
"""


def start(config, output):
    command = [sys.executable, "-c", SCRIPT, str(config), str(output), "unused"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize("method", OPTIONS)
def test_a_killed_run_goes_on_and_ends_in_the_same_weights(method, tmp_path):
    config = tmp_path / "recipe.yaml"
    config.write_text(RECIPE.format(method=method, options=OPTIONS[method]))
    whole = start(config, tmp_path / "whole")
    assert whole.wait() == 0, whole.stderr.read().decode()
    killed = start(config, tmp_path / "killed")
    while not (tmp_path / "killed" / "last.ckpt").exists() and killed.poll() is None:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = start(config, tmp_path / "killed")
    assert again.wait() == 0, again.stderr.read().decode()
    first, second = (load_file(tmp_path / run / f"{method}-toy.safetensors") for run in ("whole", "killed"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert first["conv1.weight"].dtype == torch.float16


def test_the_loss_of_the_shipped_encoders_fell():
    for name in ("mocov2-mini", "mae-mini"):
        log = (ROOT / "zoo/pretrain/recipes" / f"{name}.csv").read_text().splitlines()
        column = log[0].split(",").index("loss_epoch")
        losses = [float(row.split(",")[column]) for row in log[1:] if row.split(",")[column]]
        assert len(losses) == recipe.read(ROOT / "zoo/pretrain/recipes" / f"{name}.yaml").epochs
        assert losses[-1] < losses[1]


def test_the_recipes_hold_no_test_brain():
    assert not [name for name in patches.READERS if "mni" in name]
    with np.load(ROOT / "fusion/data/sets/_brain_regions/colin27.npz") as file:
        held = set(file["z"][file["plane"][file["part"] == "validation"]].tolist())
    used = {z for a, b in patches.COLIN_TRAINING for z in range(a, b)}
    assert not held & used


def test_restoration_is_standardised_masked_and_jittered():
    clean = torch.from_numpy(brain_regions("train", labels=60).images[:8, None] / 255.0).float()
    target = restorative.standardise(clean)
    torch.testing.assert_close(target.mean((1, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)
    torch.manual_seed(0)
    masked = restorative.mask(clean, 0.5, 8)
    tiles = (masked != clean).unfold(2, 8, 8).unfold(3, 8, 8).flatten(4).any(-1).float()
    assert 0.3 < tiles.mean() < 0.6
    assert torch.equal(restorative.mask(clean, 0.0, 8), clean)
    torch.testing.assert_close(restorative.jitter(clean, 0.0), clean, atol=2e-4, rtol=0)
    assert (restorative.jitter(clean, 0.6) - clean).abs().mean() > 0.02


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("seed: 0\n", "", "differs in"), ("method: restorative", "method: other", "contrastive or restorative")],
)
def test_a_bad_recipe_is_refused(old, new, message, tmp_path):
    text = RECIPE.format(method="restorative", options=OPTIONS["restorative"])
    (tmp_path / "recipe.yaml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        recipe.read(tmp_path / "recipe.yaml")


def test_unknown_patches_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"patches must name known sources \(got \['mni152'\]\)"):
        patches.cut(tmp_path, {"mni152": 1}, 0)


def test_a_source_with_another_digest_is_refused(tmp_path):
    (tmp_path / "member").write_bytes(b"other")
    with pytest.raises(OSError, match="member must have sha256 0"):
        sources._take(tmp_path / "member", tmp_path / "target", "0" * 64)
    assert not (tmp_path / "target").exists()


def test_patches_are_cut_from_foreground():
    plane = np.zeros((200, 200), np.float32)
    plane[100:] = 0.5
    drawn = patches._draw([plane], 20, np.random.default_rng(0))
    assert drawn.shape == (20, 64, 64)
    assert all((patch > 13).mean() >= 0.4 for patch in drawn)
    with pytest.raises(ValueError, match="patches must be at most 0 for this source"):
        patches._draw([np.zeros((100, 100), np.float32)], 1, np.random.default_rng(0))
