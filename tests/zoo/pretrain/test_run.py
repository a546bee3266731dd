"""A pretraining run: killed, it goes on to the same weights; the shipped ones learnt."""

import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.zoo.pretrain.toy import OPTIONS, RECIPE
from zoo.pretrain import recipe, run

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


def test_a_method_that_is_unknown_is_named_before_anything_is_fetched(tmp_path):
    text = RECIPE.format(method="restorative", options=OPTIONS["restorative"])
    (tmp_path / "recipe.yaml").write_text(text.replace("method: restorative", "method: other"))
    with pytest.raises(
        ValueError, match=r"^method must be one of contrastive, restorative \(got 'other'\)\. Edit .*yaml\."
    ):
        run.run(tmp_path / "recipe.yaml", tmp_path / "out", tmp_path / "images")
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_the_order_depends_on_seed_and_epoch_only():
    sampler = run._Shuffled(50, seed=3)
    first = list(sampler)
    torch.rand(7)
    assert list(sampler) == first
    assert sorted(first) == list(range(50))
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(sampler) == list(run._Shuffled(50, seed=4))


def test_weights_are_written_whole_and_in_half_precision(tmp_path):
    network = torch.nn.BatchNorm2d(3)
    path = run._export(network, tmp_path / "x.safetensors")
    found = load_file(path)
    assert {name: value.dtype for name, value in found.items()} == {
        "weight": torch.float16,
        "bias": torch.float16,
        "running_mean": torch.float16,
        "running_var": torch.float16,
        "num_batches_tracked": torch.int64,
    }
    assert [left.name for left in tmp_path.iterdir()] == ["x.safetensors"]
