"""Ctrl-C ends every command that computes, at once; fetches, uploads and studies have tests of their own."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.conftest import ROOT
from tests.zoo.pretrain.toy import OPTIONS, RECIPE

# What runs in the background of a script is begun with SIGINT ignored, and so is all that it begins.
CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from torch import nn

compute, told = nn.Conv2d.forward, []


def forward(self, x):
    if not told:
        told.append(print("busy", flush=True))
    return compute(self, x)


nn.Conv2d.forward = forward
{}
try:
    app(sys.argv[1:])
except BaseException:
    print("left", flush=True)
    raise
"""
FUSION, ZOO = "from fusion.commands import app", "from zoo.cli import app"
PRETRAIN = """
import torch, fusion
from zoo.cli import app
from zoo.pretrain import patches, sources
torch.set_num_threads(1)
sources.fetch = lambda folder: []
patches.cut = lambda folder, counts, seed: fusion.brain_regions("train").images[::20][:192]
"""
COMMANDS = {
    "fit": (FUSION, ["fit", "brain-regions", "{}/made"]),
    "fit, trained": (FUSION, ["fit", "brain-regions", "{}/made", "--strategy", "full", "--set", "epochs=50"]),
    "select": (FUSION, ["select", "--output", "{}/made"]),
    "compare": (FUSION, ["compare", "mocov2-mini", "mae-mini", "--output", "{}/made"]),
    "demo": (FUSION, ["demo", "{}/made"]),
    "verify": (ZOO, ["verify", *["mocov2-mini", "mae-mini"] * 500, "--json", "{}/made"]),
    **{
        f"pretrain, {method}": (PRETRAIN, ["pretrain", f"{{}}/{method}.yaml", "--output", "{}/run"])
        for method in OPTIONS
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_a_command_at_once_and_leaves_no_half_of_a_result(name, tmp_path):
    setup, words = COMMANDS[name]
    for method, options in OPTIONS.items():
        recipe = RECIPE.format(method=method, options=options).replace("epochs: 4\n", "epochs: 900\n")
        (tmp_path / f"{method}.yaml").write_text(recipe)
    command = [sys.executable, "-c", CHILD.format(setup), *(word.format(tmp_path) for word in words)]
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)
    guard = threading.Timer(120, child.kill)  # what says nothing ends the reading of its lines
    guard.start()
    try:
        assert any(line.endswith("busy\n") for line in child.stdout), child.stderr.read()
        time.sleep(0.5)
        assert child.poll() is None, "it must be at work still"
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert any(line.endswith("left\n") for line in child.stdout)
        assert time.monotonic() - began < 3
        _, said = child.communicate(timeout=30)  # a busy machine takes seconds to take torch down
    finally:
        guard.cancel()
        child.kill()
    assert child.returncode != 0
    assert "Traceback" not in said
    assert not (tmp_path / "made").exists()
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".part", ".safetensors")]
