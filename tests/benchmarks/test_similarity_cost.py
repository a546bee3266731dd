"""What comparing all blocks of two networks costs beside other packages, and how it depends on the batch.

What to install: tests/benchmarks/test_similarity.py; what is not installed is skipped.
PYTHONPATH=FOLDER OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_similarity_cost.py -m benchmark -s

An hour on two cores; 50,000 images need 6 GB of disc in the temporary folder. Ratios are of processor seconds, which
other work on the machine hardly changes. Images of 224 x 224 would take 12 times as long and as much memory for maps.
"""

import importlib
import json
import re
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file
from sklearn.preprocessing import normalize

import zoo
from fusion import brain_regions, compare
from fusion.features import extract
from fusion.similarity.measures import cka, minibatch_cka
from tests.benchmarks.test_similarity import loader
from tests.conftest import ROOT
from tests.fusion.similarity.test_measures import off_diagonal
from tests.small_fits import own

pytestmark = pytest.mark.benchmark

IMAGES, SIZE, BATCH, LIMIT = 512, 64, 64, 400
BLOCKS = [f"layer{stage}.{block}" for stage, count in enumerate((3, 4, 6, 3), 1) for block in range(count)]


# --- Seconds and memory, in processes of their own ---


def cards(folder, size):
    """Two ResNet-50 with random weights for images of `size`, by their cards."""
    for seed, name in enumerate(("left", "right")):
        own(folder, name, architecture="resnet50", kwargs="in_chans: 1", seed=seed)
        card = Path(folder) / f"{name}.md"
        card.write_text(card.read_text().replace("size: 32", f"size: {size}"))


passes = 0.0  # processor seconds in the layers of networks: what every comparison must spend


def timed(network):
    def counted(forward, *arguments, **more):
        global passes
        started = time.process_time()
        found = forward(*arguments, **more)
        passes += time.process_time() - started
        return found

    for layer in network.modules():
        if not list(layer.children()):
            layer.forward = partial(counted, layer.forward)
    return network


def encoders(folder):
    return [timed(zoo.load(name, 1.0, card=Path(folder) / f"{name}.md")) for name in ("left", "right")]


def networks(folder):
    """The same for who hooks."""
    for name in ("left", "right"):
        made = timm.create_model("resnet50", pretrained=False, num_classes=0, in_chans=1)
        made.load_state_dict(load_file(Path(folder) / f"{name}.safetensors"))
        yield timed(made.eval())


def prepared(folder):
    images = encoders(folder)[0].preprocess(brain_regions("train").images[:IMAGES])
    np.save(Path(folder) / "images.npy", images.numpy())


def batches(folder, *more):
    images = torch.from_numpy(np.load(Path(folder) / "images.npy"))
    return loader(images, BATCH, *(value.expand(IMAGES) for value in more))


def by_fusion(measure, package, folder, layers):
    images, pair = brain_regions("train").images[:IMAGES], encoders(folder)
    return lambda: package.compare(*pair, images, measure=measure, batch=BATCH).values


def by_torch_cka(package, folder, layers):
    found, data = package.CKA(*networks(folder), "left", "right", layers, layers), batches(folder)

    def compare():
        found.compare(data, data)
        return found.hsic_matrix

    return compare


def by_pytorch_cka(package, folder, layers):
    pair, data = list(networks(folder)), batches(folder)
    return lambda: package.compute_cka(*pair, data, layers=layers)[0]


def by_cka_pytorch(package, folder, layers):
    """By default ten times over the images."""
    found, data = package.CKACalculator(*networks(folder), layers), batches(folder, torch.zeros(1))
    return lambda: found.calculate_cka_matrix(data, **({"num_epochs": 1} if layers else {}))


def by_ckatorch(package, folder, layers):
    """Likewise; without default layers."""
    left, right = networks(folder)
    found, data = package.CKA(left, right, layers or [name for name, _ in left.named_modules()]), batches(folder)
    return lambda: found(data, **({"epochs": 1} if layers else {}))


POOLED, MAPS = "fusion, cka", "fusion, minibatch-cka"
RUNS = {
    POOLED: ("fusion", partial(by_fusion, "cka")),
    MAPS: ("fusion", partial(by_fusion, "minibatch-cka")),
    "torch_cka": ("torch_cka", by_torch_cka),
    "pytorch-cka": ("cka", by_pytorch_cka),
    "cka-pytorch": ("cka_pytorch", by_cka_pytorch),
    "ckatorch": ("ckatorch", by_ckatorch),
}


MORE = "processor", "beyond", "memory"


class Stopped(Exception):  # noqa: N818 - it is what happened
    pass


def peak():
    """MiB at most in memory since the process began; getrusage's would begin with what its parent held."""
    told = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", told)[1]) / 1024


def limited(*_):
    raise Stopped(f"after {LIMIT} s")


def run(name, layers, folder):
    """Compare, and say the seconds beyond loading, in ours with the preprocessing, and the memory beyond imports."""
    module, prepare = RUNS[name]
    package, said = importlib.import_module(module), ""
    signal.signal(signal.SIGALRM, limited)
    signal.alarm(LIMIT)
    rest = peak()
    compute = prepare(package, folder, BLOCKS if layers == "blocks" else None)
    wall, busy = time.monotonic(), time.process_time()
    try:
        found = np.asarray(compute())
        np.save(Path(folder) / f"{name}-{layers}.npy", found)
    except (Stopped, RuntimeError) as error:
        said = f"{type(error).__name__}: {error}"
    spent = time.process_time() - busy
    return {
        "seconds": time.monotonic() - wall,
        "processor": spent,
        "beyond": spent - passes,
        "memory": peak() - rest,
        "said": said,
    }


def apart(*arguments):
    """What the last line of a process of its own says."""
    command = [sys.executable, "-m", "tests.benchmarks.test_similarity_cost", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def exact(folder):
    """Minibatch CKA of the maps of all blocks in float64."""
    sides = []
    for encoder in encoders(folder):
        found = extract.batches(encoder, brain_regions("train").images[:IMAGES], encoder.maps, batch=BATCH)
        parts = [[off_diagonal(level.reshape(len(level), -1).astype("f8")) for level in batch] for batch in found]
        sides.append(normalize([np.concatenate(layer) for layer in zip(*parts, strict=True)]))
    return sides[0] @ sides[1].T


def test_seconds_and_memory_of_resnet50(tmp_path):
    cards(tmp_path, SIZE)
    prepared(tmp_path)
    print(f"\n{IMAGES} images of {SIZE} x {SIZE}, batches of {BATCH}, two ResNet-50; CPU s, of these beyond the layers")
    print(f"{'':>22} {'layers':>8} {'seconds':>8} {'CPU s':>8} {'beyond':>8} {'MiB':>8}")
    took, truth = {}, exact(tmp_path)
    for name, (module, _) in RUNS.items():
        for layers in ["blocks"] if module == "fusion" else ["blocks", "default"]:
            if find_spec(module) is None:
                continue
            one = took[name, layers] = apart("run", name, layers, tmp_path)
            row = " ".join(f"{one[key]:8.1f}" for key in ("seconds", "processor", "beyond", "memory"))
            print(f"{name:>22} {layers:>8} {row} {one['said'][:60]}", flush=True)
    for name, layers in took:
        if layers == "blocks" and name != POOLED and not took[name, layers]["said"]:
            error = np.abs(np.load(tmp_path / f"{name}-blocks.npy") - truth).max()
            print(f"{name:>22}: values of the 16 blocks to {error:.1e}")
            assert error < (1e-5 if name == MAPS else 1e-3), name
    ours = took.pop((POOLED, "blocks"))
    for (name, layers), one in took.items():
        if name != MAPS and not one["said"].startswith("RuntimeError"):
            print(f"{name:>22} {layers:>8} {' '.join(f'{key} x{one[key] / ours[key]:.1f}' for key in MORE)}")
            if layers == "default":  # on the same blocks two of them are nearly as fast, and one needs less memory
                assert one["beyond"] > 5 * ours["beyond"], name
                assert one["memory"] > ours["memory"], name


# --- Many images ---


class Drawn:
    """Images of 32 x 32 that are drawn when they are asked for."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, part):
        start, stop, _ = part.indices(self.count)
        return np.random.default_rng(start).integers(0, 256, (stop - start, 32, 32), dtype=np.uint8)


def many(folder, count):
    rest, started, pair = peak(), time.monotonic(), encoders(folder)
    found = compare(*pair, Drawn(int(count)), batch=BATCH)
    np.save(Path(folder) / "many.npy", found.values)
    return {"seconds": time.monotonic() - started, "memory": peak() - rest}


@pytest.mark.parametrize("count", [2_000, 16_000, 50_000])
def test_memory_of_many_images(count, tmp_path):
    cards(tmp_path, 32)
    took = apart("many", tmp_path, count)
    print(f"\n{count} images, two ResNet-50: {took['seconds']:.0f} s, {took['memory']:.0f} MiB", flush=True)
    assert took["memory"] <= 2048
    if count == 2_000:
        found = np.load(tmp_path / "many.npy")
        x, y = (extract.levels(encoder, Drawn(count), batch=BATCH) for encoder in encoders(tmp_path))
        for i, j in ((0, 0), (0, 3), (15, 9)):
            assert found[i, j] == pytest.approx(cka(x[i], y[j]), abs=1e-6)


# --- What the size of a batch does ---


def test_values_by_batch_size(tmp_path):
    images = brain_regions("validation").images
    both = [extract.extract(zoo.load(name, 1.0), images) for name in ("mocov2-mini", "mae-mini")]
    mixed = np.random.default_rng(0).permutation(len(images))
    sizes, columns = [4, 8, 16, 32, 64, 128, 256], ["debiased", "biased", "debiased, mixed", "biased, mixed"]
    found = np.zeros((len(sizes), len(columns)))
    for row, size in enumerate(sizes):
        for column, name in enumerate(columns):
            x, y = (values[mixed] for values in both) if "mixed" in name else both
            found[row, column] = minibatch_cka(x, y, batch=size, debiased="debiased" in name)
    whole = [cka(*both, debiased=debiased) for debiased in (True, False)] * 2
    print(f"\nlast blocks of mocov2-mini and mae-mini, {len(images)} images as they come and mixed")
    print(" batch" + "".join(f"{name:>17}" for name in columns))
    for size, row in zip([*sizes, "all"], [*found, whole], strict=True):
        print(f"{size:>6}" + "".join(f"{value:17.4f}" for value in row))
    figure = Figure()
    axes = figure.subplots()
    for column, name in enumerate(columns):
        axes.semilogx(sizes, found[:, column], "o-", base=2, label=name, color=f"C{column}")
    axes.axhline(whole[0], ls=":", color="C0", label="cka of all")
    axes.set(xlabel="batch", ylabel="minibatch CKA")
    axes.legend()
    figure.savefig(tmp_path / "batch.png")
    print(tmp_path / "batch.png")
    assert (np.diff(found[:, 3]) < 0).all()  # biased: the smaller the batch, the more alike
    assert np.abs(found[2:, 2] - whole[0]).max() < 0.03  # debiased and mixed: hardly


if __name__ == "__main__":
    print(json.dumps({"run": run, "many": many}[sys.argv[1]](*sys.argv[2:])))
