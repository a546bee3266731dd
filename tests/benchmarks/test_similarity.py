r"""Similarity beside other packages: the same values, what they get wrong, seconds and memory.

pip install --no-deps --target FOLDER torch_cka==0.21 ckatorch==1.0.3 pytorch-cka==1.1.3 cka-pytorch==1.1.3 \
    simtorch==0.2.1 repsim==0.1.5 cca-zoo==4.0.1 statsmodels==0.15.0 rsatoolbox==0.3.2 similarity-repository==0.0.1
pip install --no-deps --target FOLDER seaborn pandas h5py lightning tensorly patsy formulaic interface-meta wrapt \
    narwhals networkx python-dateutil six tqdm
PYTHONPATH=FOLDER OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_similarity.py -m benchmark -s

What is not installed is skipped. An hour on two cores; 50,000 images need 6 GB of disc in the temporary folder.
Ratios are of processor seconds, which other work on the machine hardly changes. Images of 224 x 224 would take 12 times
as long and as much memory for maps.
"""

import importlib
import json
import re
import signal
import subprocess
import sys
import time
import types
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import zoo
from fusion import brain_regions, features, streaming
from fusion.canonical import cca, pwcca, svcca
from fusion.similarity import cka, minibatch_cka, procrustes, rbf_cka, rsa
from tests.conftest import ROOT
from tests.small_fits import own
from tests.test_similarity_agreement import centred, draw, off_diagonal

pytestmark = pytest.mark.benchmark

IMAGES, SIZE, BATCH, LIMIT = 512, 64, 64, 600
WIDTHS = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
BLOCKS = [f"layer{stage}.{block}" for stage, count in enumerate((3, 4, 6, 3), 1) for block in range(count)]


class Columns(nn.Module):
    """A network whose only layer, `part`, gives some columns of what it sees."""

    def __init__(self, start, stop):
        super().__init__()
        self.start, self.stop, self.part = start, stop, nn.Identity()

    def forward(self, x):
        return self.part(x[:, self.start : self.stop])


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


def loader(x, batch, *more):
    return DataLoader(TensorDataset(x, *more), batch)


def side_by_side(x, y):
    """Two networks that give x and y, and the loader to give them."""
    both = torch.from_numpy(np.hstack([x, y]))
    ends = x.shape[1], x.shape[1] + y.shape[1]
    return Columns(0, ends[0]), Columns(*ends), loader(both, 20, torch.zeros(len(both)))


# --- The same values ---


def by_hsic(package, kernel, x, y):
    found = package.hsic([x, y], kernel, "song")
    return found[0, 1] / np.sqrt(found[0, 0] * found[1, 1])


def by_its_kernel(package, x, y):
    """Its median is one of squares and counts the diagonal: given as much more width."""
    kernels = []
    for values in tensors(x, y):
        middle = torch.median(torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist") ** 2).sqrt()
        kernels.append(package.rbf_kernel(values, float(np.median(pdist(values))) / middle.item()))
    first, second = (package.center_gram_matrix(kernel, unbiased=True) for kernel in kernels)
    return float((first * second).sum() / (first.norm() * second.norm()))


def stacked(package, x, y):
    return package.cka_batch(*(values.reshape(-1, 20, values.shape[1]) for values in tensors(x, y)))


def hooked(package, x, y):
    first, second, data = side_by_side(x, y)
    return package.compute_cka(first, second, data, layers=["part"], progress=False)[0]


def hooked_in_float32(package, x, y):
    first, second, data = side_by_side(centred(x).astype("f4"), centred(y).astype("f4"))
    found = package.CKA(first, second, "x", "y", ["part"], ["part"])
    found.compare(data, data)
    return found.hsic_matrix


def calculated(package, x, y):
    first, second, data = side_by_side(x, y)
    found = package.CKACalculator(first, second, ["part"], device=torch.device("cpu"), verbose=False)
    return found.calculate_cka_matrix(data, num_epochs=1, epsilon=0)


def multiview(package, x, y):
    """Canonical directions of the narrower one and the correlations."""
    found = package.CCA(n_components=min(x.shape[1], y.shape[1])).fit([x, y])
    first, second = (values / np.linalg.norm(values, axis=0) for values in found.transform([x, y]))
    return first if x.shape[1] <= y.shape[1] else second, (first * second).sum(0)


def multivariate(package, x, y):
    x, y = (x, y) if x.shape[1] <= y.shape[1] else (y, x)
    found = package.CanCorr(centred(y), centred(x))
    directions = centred(x) @ found.x_cancoef
    return directions / np.linalg.norm(directions, axis=0), found.cancorr


def mean_of(method, package, x, y):
    return method(package, x, y)[1].mean()


def after_pca(method, package, x, y):
    return mean_of(method, package, *(PCA(0.99, svd_solver="full").fit_transform(values) for values in (x, y)))


def weighted(method, package, x, y):
    directions, found = method(package, x, y)
    narrow = centred(x if x.shape[1] <= y.shape[1] else y)
    return np.average(found, weights=np.abs(directions.T @ narrow).sum(1))


def google(module):
    """google/svcca as similarity-repository carries it, without running the rest of that package."""
    home = find_spec("similarity")
    if home is None or not (folder := Path(home.origin).parent / "backend" / "svcca").is_dir():
        pytest.skip("needs similarity-repository")
    sys.modules["google_svcca"] = holder = types.ModuleType("google_svcca")
    holder.__path__ = [str(folder)]
    return importlib.import_module(f"google_svcca.{module}")


def shape_distance(package, x, y):
    blank = object.__new__(package.Procrustes)  # else it wants two networks
    return np.arccos(1 - blank.procrustes_dist(*tensors(x, y)).item())


def dissimilarity(package, x, y):
    data = importlib.import_module("rsatoolbox.data")
    both = [package.calc_rdm(data.Dataset(values), method="euclidean") for values in (x, y)]
    return package.compare(*both, method="spearman").item()


def both_ways(x, y):
    return (pwcca(x, y) + pwcca(y, x)) / 2


WIDE = ((60, 8, 5), (60, 300, 512), (400, 64, 20))
TALL = ((250, 8, 5), (250, 6, 12), (400, 20, 64))
EVEN = ((250, 8, 8), (400, 30, 30))
BIASED = partial(cka, debiased=False)
BATCHED = partial(minibatch_cka, batch=20)
AGREEMENT = [
    ("cka", cka, "ckatorch", "ckatorch", lambda p, x, y: p.cka_base(*tensors(x, y), unbiased=True), WIDE),
    ("cka", cka, "pytorch-cka", "cka", lambda p, x, y: p.cka_from_features(*tensors(x, y)), WIDE),
    ("cka", cka, "repsim", "repsim", lambda p, x, y: by_hsic(p, "linear", x, y), WIDE),
    ("cka, biased", BIASED, "ckatorch", "ckatorch", lambda p, x, y: p.cka_base(*tensors(x, y)), WIDE),
    ("cka, biased", BIASED, "repsim", "repsim", lambda p, x, y: p.cka([x, y], "linear", "gretton")[0, 1], WIDE),
    ("minibatch_cka", BATCHED, "ckatorch", "ckatorch", stacked, WIDE),
    ("minibatch_cka", BATCHED, "pytorch-cka", "cka", hooked, WIDE),
    ("minibatch_cka", BATCHED, "cka-pytorch", "cka_pytorch", calculated, WIDE),
    ("minibatch_cka", BATCHED, "torch-cka", "torch_cka", hooked_in_float32, WIDE),
    ("rbf_cka", rbf_cka, "ckatorch", "ckatorch", by_its_kernel, WIDE),
    ("rbf_cka", rbf_cka, "repsim", "repsim", lambda p, x, y: by_hsic(p, "rbf", x, y), WIDE),
    ("rsa", rsa, "rsatoolbox", "rsatoolbox.rdm", dissimilarity, WIDE),
    ("procrustes", procrustes, "simtorch", "simtorch.similarity.procrustes", shape_distance, WIDE),
    ("cca", cca, "cca-zoo", "cca_zoo.linear", partial(mean_of, multiview), TALL),
    ("cca", cca, "statsmodels", "statsmodels.multivariate.cancorr", partial(mean_of, multivariate), TALL),
    ("cca", cca, "repsim", "repsim", lambda p, x, y: p.cca([x, y], "pillai")[0, 1], TALL),
    ("svcca", svcca, "cca-zoo", "cca_zoo.linear", partial(after_pca, multiview), TALL),
    ("svcca", svcca, "statsmodels", "statsmodels.multivariate.cancorr", partial(after_pca, multivariate), TALL),
    ("pwcca", pwcca, "cca-zoo", "cca_zoo.linear", partial(weighted, multiview), TALL),
    ("pwcca", pwcca, "statsmodels", "statsmodels.multivariate.cancorr", partial(weighted, multivariate), TALL),
    ("pwcca, both ways", both_ways, "repsim", "repsim", lambda p, x, y: p.pwcca([x, y])[0, 1], EVEN),
]


@pytest.mark.parametrize(("measure", "ours", "name", "module", "theirs", "sizes"), AGREEMENT)
@pytest.mark.filterwarnings("ignore")
def test_agreement(measure, ours, name, module, theirs, sizes):
    package = pytest.importorskip(module)
    differences = [abs(ours(x, y) - float(theirs(package, x, y))) for x, y in (draw(*size) for size in sizes)]
    print(f"\n{measure:>18} | {name} {version(name)} | {max(differences):.1e}")
    assert max(differences) < 1e-6


def test_google_svcca_has_our_coefficients_but_not_our_mean():
    x, y = draw(400, 20, 64)
    found = google("cca_core").get_cca_similarity(x.T, y.T, verbose=False)
    assert found["cca_coef1"].mean() == pytest.approx(cca(x, y), abs=1e-6)
    assert found["mean"][0] > cca(x, y) + 0.01  # of those that hold 98 % of their sum


# --- What they get wrong ---


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 4)).requires_grad_(False)


def rows(*more):
    return loader(torch.randn(60, 6, generator=torch.Generator().manual_seed(0)), 20, *more)


def levels_of(network, data):
    """What every layer gives, (60, D) each, kept before the next one may write over it."""
    found, x = [], torch.cat([batch[0] for batch in data])
    for layer in network:
        x = layer(x.clone())
        found.append(x.double().numpy().copy())
    return found


def test_torch_cka_names_rows_wrongly_and_reads_what_was_written_over():
    package = pytest.importorskip("torch_cka")
    network, data = small(), rows()
    found = package.CKA(network, network, "a", "b")
    found.compare(data, data)
    told = found.export()
    linear, relu, last = levels_of(network, data)
    assert told["model1_layers"] == ["", "0", "1", "2"]  # in the order of the definition
    assert list(found.model1_features) == ["0", "1", "2", ""]  # of the calls, as the rows: each is one name off
    assert told["CKA"][0, 3] == pytest.approx(minibatch_cka(relu, last, batch=20), abs=1e-5)  # not of "" with "2", 1
    assert abs(told["CKA"][0, 3] - minibatch_cka(linear, last, batch=20)) > 0.01  # "0" is after the ReLU in place


def test_torch_cka_keeps_the_graph():
    package = pytest.importorskip("torch_cka")
    network, data = small().requires_grad_(True), rows()
    found = package.CKA(network, network, "a", "b", ["0"], ["0"])
    found.compare(data, data)
    assert found.model1_features["0"].grad_fn is not None  # memory as in training


@pytest.mark.filterwarnings("ignore")
def test_ckatorch_cannot_compare_maps_and_keeps_the_last_batch_only():
    package = pytest.importorskip("ckatorch")
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3))
    with pytest.raises(RuntimeError, match="batch1 must be a 3D tensor"):
        package.CKA(convolution, convolution, ["0"])(loader(torch.randn(8, 1, 9, 9), 8), epochs=1)
    tokens = torch.randn(20, 9, 6, dtype=torch.float64)
    network = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double().requires_grad_(False)
    found = package.CKA(network, network, ["0", "2"])(loader(tokens, 8), epochs=1)[0, 1]
    first, second = network[0](tokens), network(tokens)
    of_last = package.cka_batch(first[16:], second[16:]).item()  # 16 of the 20 are lost, and a token is a sample
    assert found == pytest.approx(of_last, abs=1e-6)
    assert found != pytest.approx(minibatch_cka(*(v.flatten(1) for v in (first, second)), batch=8), abs=1e-3)


def test_cka_pytorch_shrinks_what_is_small():
    """CKA does not see scale, but 1e-4 is added under the root."""
    package = pytest.importorskip("cka_pytorch")
    network, data = small(), rows(torch.zeros(60))
    found = []
    for _ in range(2):
        calculator = package.CKACalculator(network, network, verbose=False)
        found.append(calculator.calculate_cka_matrix(data, num_epochs=1).diagonal().numpy())
        for parameter in network.parameters():
            parameter.mul_(0.1)
    assert found[0].min() < 0.995  # of a network with itself
    assert found[1].max() < 0.05  # the same, ten times smaller


def test_simtorch_averages_biased_ratios_and_divides_by_layers():
    package = pytest.importorskip("simtorch.similarity")
    network, data = small(), rows()
    models = [package.cka.SimilarityModel(network, layers_to_include=["0", "2"]) for _ in range(2)]
    found = package.CKA(*models, unbiased=True).compute(data)  # the argument is not read
    np.testing.assert_allclose(found.diagonal(), 3 / 2, atol=1e-5)  # 3 batches, 2 layers
    _, relu, last = levels_of(network, data)
    each = [cka(relu[part], last[part], debiased=False) for part in (slice(20), slice(20, 40), slice(40, 60))]
    assert found[0, 1] == pytest.approx(sum(each) / 2, abs=1e-5)


def test_pytorch_cka_cuts_off_below_0_so_that_noise_looks_alike():
    package = pytest.importorskip("cka")
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(200, 2, 16, 20))
    found = np.array([[package.cka_from_features(*tensors(x, y)).item(), cka(x, y)] for x, y in pairs])
    mean, error = found.mean(0), found.std(0) / np.sqrt(len(pairs))
    assert abs(mean[1]) < 4 * error[1]
    assert mean[0] > 4 * error[0]


def test_pytorch_cka_loses_its_digits_where_the_mean_is_large():
    package = pytest.importorskip("cka")
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(2, 64, 200)) + 1000).astype("f4")
    assert abs(cka(x, y)) < 0.05
    assert package.cka_from_features(*tensors(x, y)).item() == pytest.approx(1, abs=0.05)


def test_repsim_divides_unbiased_by_biased_and_svcca_by_columns_left_out():
    package = pytest.importorskip("repsim")
    x, y = draw(60, 8, 5)
    assert package.cka([x, x.copy()], "linear", "song")[0, 1] < 0.97
    own_terms = [package.hsic([v, v], "linear", "gretton")[0, 1] for v in (x, y)]
    cross = package.hsic([x, y], "linear", "song")[0, 1]
    assert package.cka([x, y], "linear", "song")[0, 1] == pytest.approx(cross / np.sqrt(np.prod(own_terms)))
    narrow = x * [1, 1, 1, 1, 1, 1, 1, 1e-3]  # one direction of eight without variance
    assert package.svcca([narrow, narrow], "pillai")[0, 1] == pytest.approx(svcca(narrow, narrow) * 7 / 8)


def test_google_pwcca_leaves_the_whitening_out_of_the_directions():
    x, y = draw(250, 5, 8)
    module = google("pwcca")
    sides = [np.linalg.svd(centred(values), full_matrices=False) for values in (x, y)]
    turn, found, _ = np.linalg.svd(sides[0][2].T @ sides[0][0].T @ sides[1][0] @ sides[1][2])
    directions = np.linalg.qr(centred(x) @ turn + x.mean(0))[0]  # as if x were white; and the mean comes back
    slipped = np.average(found, weights=np.abs(directions.T @ x).sum(1))
    assert module.compute_pwcca(x.T, y.T)[0] == pytest.approx(slipped, abs=1e-6)
    assert abs(slipped - pwcca(x, y)) > 0.005
    with pytest.raises(IndexError):
        module.compute_pwcca(y.T, x.T)  # reads the wider one by the numbers of the narrower one


# --- Seconds and memory, in processes of their own ---


def cards(folder, size):
    """Two ResNet-50 with random weights for images of `size`, by their cards."""
    for seed, name in enumerate(("left", "right")):
        own(folder, name, architecture="resnet50", kwargs="in_chans: 1", seed=seed)
        card = Path(folder) / f"{name}.md"
        card.write_text(card.read_text().replace("size: 32", f"size: {size}"))


def encoders(folder):
    return [zoo.load(name, 1.0, card=Path(folder) / f"{name}.md") for name in ("left", "right")]


def networks(folder):
    """The same for who hooks."""
    for name in ("left", "right"):
        made = timm.create_model("resnet50", pretrained=False, num_classes=0, in_chans=1)
        made.load_state_dict(load_file(Path(folder) / f"{name}.safetensors"))
        yield made.eval()


def prepared(folder):
    images = encoders(folder)[0].preprocess(brain_regions("train").images[:IMAGES])
    np.save(Path(folder) / "images.npy", images.numpy())


def batches(folder, *more):
    images = torch.from_numpy(np.load(Path(folder) / "images.npy"))
    return loader(images, BATCH, *(value.expand(IMAGES) for value in more))


def by_fusion(measure, package, folder, layers):
    images = brain_regions("train").images[:IMAGES]
    return package.compare(*encoders(folder), images, measure=measure, batch=BATCH).values


def by_torch_cka(package, folder, layers):
    found = package.CKA(*networks(folder), "left", "right", layers, layers)
    data = batches(folder)
    found.compare(data, data)
    return found.hsic_matrix


def by_pytorch_cka(package, folder, layers):
    return package.compute_cka(*networks(folder), batches(folder), layers=layers)[0]


def by_cka_pytorch(package, folder, layers):
    """By default ten times over the images."""
    found = package.CKACalculator(*networks(folder), layers)
    return found.calculate_cka_matrix(batches(folder, torch.zeros(1)), **({"num_epochs": 1} if layers else {}))


def by_ckatorch(package, folder, layers):
    """Likewise; without default layers."""
    left, right = networks(folder)
    found = package.CKA(left, right, layers or [name for name, _ in left.named_modules()])
    return found(batches(folder), **({"epochs": 1} if layers else {}))


POOLED, MAPS = "fusion, cka", "fusion, minibatch-cka"
RUNS = {
    POOLED: ("fusion", partial(by_fusion, "cka")),
    MAPS: ("fusion", partial(by_fusion, "minibatch-cka")),
    "torch_cka": ("torch_cka", by_torch_cka),
    "pytorch-cka": ("cka", by_pytorch_cka),
    "cka-pytorch": ("cka_pytorch", by_cka_pytorch),
    "ckatorch": ("ckatorch", by_ckatorch),
}


# At their default layers, at least how many times the seconds and the memory of ours. pytorch-cka is as fast: it takes
# all pairs in one product. cka-pytorch needs less memory: it keeps Gram matrices only, and sees all images ten times.
CLAIMS = [("torch_cka", 5, 1), ("cka-pytorch", 5, 0), ("pytorch-cka", 0, 1)]


class Stopped(Exception):  # noqa: N818 - it is what happened
    pass


def peak():
    """MiB at most in memory since the process began; getrusage's would begin with what its parent held."""
    told = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", told)[1]) / 1024


def limited(*_):
    raise Stopped(f"after {LIMIT} s")


def run(name, layers, folder):
    """Compare, and say what it took beyond the imports; both networks included, and in ours the preprocessing."""
    module, compute = RUNS[name]
    package, said = importlib.import_module(module), ""
    signal.signal(signal.SIGALRM, limited)
    signal.alarm(LIMIT)
    rest, wall, busy = peak(), time.monotonic(), time.process_time()
    try:
        found = np.asarray(compute(package, folder, BLOCKS if layers == "blocks" else None))
        np.save(Path(folder) / f"{name}-{layers}.npy", found)
    except (Stopped, RuntimeError) as error:
        said = f"{type(error).__name__}: {error}"
    return {
        "seconds": time.monotonic() - wall,
        "processor": time.process_time() - busy,
        "memory": peak() - rest,
        "said": said,
    }


def apart(*arguments):
    """What the last line of a process of its own says."""
    command = [sys.executable, "-m", "tests.benchmarks.test_similarity", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def exact(folder):
    """Minibatch CKA of the maps of all blocks in float64."""
    sides = []
    for encoder in encoders(folder):
        found = features.batches(encoder, brain_regions("train").images[:IMAGES], encoder.maps, batch=BATCH)
        parts = [[off_diagonal(level.reshape(len(level), -1).astype("f8")) for level in batch] for batch in found]
        sides.append(normalize([np.concatenate(layer) for layer in zip(*parts, strict=True)]))
    return sides[0] @ sides[1].T


def test_seconds_and_memory_of_resnet50(tmp_path):
    cards(tmp_path, SIZE)
    prepared(tmp_path)
    print(f"\n{IMAGES} images of {SIZE} x {SIZE}, batches of {BATCH}, two ResNet-50; ratios to {POOLED}")
    print(f"{'':>22} {'layers':>8} {'seconds':>8} {'CPU s':>7} {'ratio':>6} {'MiB':>6} {'ratio':>6}")
    took, truth = {}, exact(tmp_path)
    for name, (module, _) in RUNS.items():
        for layers in ["blocks"] if module == "fusion" else ["blocks", "default"]:
            if find_spec(module) is None:
                continue
            one = took[name, layers] = apart("run", name, layers, tmp_path)
            base = took[POOLED, "blocks"]
            row = f"{name:>22} {layers:>8} {one['seconds']:8.1f}"
            for key, width in (("processor", 7), ("memory", 6)):
                row += f" {one[key]:{width}.{width - 6}f} {one[key] / base[key]:6.1f}"
            print(row, one["said"][:60], flush=True)
    for name, layers in took:
        if layers == "blocks" and name != POOLED and not took[name, layers]["said"]:
            error = np.abs(np.load(tmp_path / f"{name}-blocks.npy") - truth).max()
            print(f"{name:>22}: values of the 16 blocks to {error:.1e}")
            assert error < (1e-5 if name == MAPS else 1e-3), name
    base = took[POOLED, "blocks"]
    for name, more_time, more_memory in CLAIMS:
        if one := took.get((name, "default")):
            assert one["processor"] > more_time * base["processor"], name
            assert one["memory"] > more_memory * base["memory"], name


# --- Many images ---


def level(side, layer, start, count):
    """Features behind a ReLU (N, D), the same whenever they are asked for."""
    shared = np.random.default_rng(start).standard_normal((count, 8), "f4")
    mix = np.random.default_rng([side, layer]).standard_normal((8, WIDTHS[layer]), "f4")
    noise = np.random.default_rng([side, layer, start]).standard_normal((count, WIDTHS[layer]), "f4")
    return np.maximum(shared @ mix + 2 * noise, 0)


def parts(count):
    return ((start, min(BATCH, count - start)) for start in range(0, count, BATCH))


def stream(folder, count):
    """All of `compare` but the forward passes of all images; those of a few, by two networks that stay loaded."""
    rest, started = peak(), time.monotonic()
    pair = encoders(folder)
    few = np.random.default_rng(0).integers(0, 256, (3 * BATCH, 32, 32), dtype=np.uint8)
    for encoder in pair:
        assert [found.shape[1] for found in features.levels(encoder, few, batch=BATCH)] == WIDTHS
    both = (
        tuple([level(side, layer, *part) for layer in range(16)] for side in range(2)) for part in parts(int(count))
    )
    found = streaming.pooled(both, "cka")
    np.save(Path(folder) / "streamed.npy", found)
    return {"seconds": time.monotonic() - started, "memory": peak() - rest, "networks": len(pair)}


@pytest.mark.parametrize("count", [2_000, 50_000])
def test_memory_of_many_images(count, tmp_path):
    cards(tmp_path, 32)
    took = apart("stream", tmp_path, count)
    print(f"\n{count} images, two ResNet-50: {took['seconds']:.0f} s, {took['memory']:.0f} MiB")
    found = np.load(tmp_path / "streamed.npy")
    for i, j in ((0, 0), (0, 3), (6, 2)):
        x, y = (np.concatenate([level(*place, *part) for part in parts(count)]) for place in ((0, i), (1, j)))
        assert found[i, j] == pytest.approx(cka(x, y), abs=1e-6)
    assert took["memory"] <= 2048


# --- What the size of a batch does ---


def test_values_by_batch_size(tmp_path):
    images = brain_regions("validation").images
    both = [features.extract(zoo.load(name, 1.0), images) for name in ("mocov2-mini", "mae-mini")]
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
    print(json.dumps({"run": run, "stream": stream}[sys.argv[1]](*sys.argv[2:])))
