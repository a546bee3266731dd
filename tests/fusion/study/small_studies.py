"""A study that runs in seconds, called or as a process of its own, and what it leaves."""

import csv
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from fusion.study import config as config_
from tests.conftest import ROOT

CONFIG = {
    "name": "tiny",
    "encoders": ["mocov2-mini@0.25", "mae-mini@0.25", ["mocov2-mini@0.25", "mae-mini@0.25"]],
    "strategies": ["probe", "lp-ft"],
    "only": {"mae-mini": ["probe"]},
    "training": {"epochs": 3, "batch": 8},
    "stop_images": 12,
    "reference": "probe",
    "labels": [24, 0.5],
    "seeds": [0],
    "contests": [{"name": "fused against single", "ours": {"fused": True}, "theirs": {"fused": False}}],
}


def config(**values):
    return config_.parse({**CONFIG, **values}, "test")


def as_file(path, **values):
    path.write_text(json.dumps({**CONFIG, **values}))  # JSON is YAML
    return path


def table(output, name="results.csv"):
    """The table without its timing columns."""
    with (output / name).open() as stream:
        return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in csv.DictReader(stream)]


def answers(output):
    return {path.name: np.load(path)["probabilities"] for path in sorted((output / "cells").glob("*.npz"))}


def assert_equal(output, other):
    assert table(output) == table(other)
    ours, theirs = answers(output), answers(other)
    assert ours.keys() == theirs.keys()
    for name, proba in ours.items():
        np.testing.assert_allclose(proba, theirs[name], atol=1e-6)


@contextmanager
def one_thread():
    """As in a process that was `started`: sums over other threads differ by a hair, and a fit makes more of it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def started(path, output, data, jobs):
    # What runs in the background of a script is begun with SIGINT ignored, and so is all that it begins.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = f"{heed}import sys; from fusion.commands import studies; studies()"
    arguments = ["run", str(path), "--data", str(data), "--output", str(output), "--jobs", str(jobs)]
    return subprocess.Popen(
        [sys.executable, "-c", command, *arguments],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(condition, process):
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)


def landed(output):
    return len(list((output / "cells").glob("*.json")))
