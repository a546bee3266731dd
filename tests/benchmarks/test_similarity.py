r"""Similarity beside other packages: the same values, and what they get wrong.

pip install --no-deps --target FOLDER torch_cka==0.21 ckatorch==1.0.3 pytorch-cka==1.1.3 cka-pytorch==1.1.3 \
    simtorch==0.2.1 repsim==0.1.5 cca-zoo==4.0.1 statsmodels==0.15.0 rsatoolbox==0.3.2 similarity-repository==0.0.1
pip install --no-deps --target FOLDER seaborn pandas h5py lightning tensorly patsy formulaic interface-meta wrapt \
    narwhals networkx python-dateutil six tqdm
PYTHONPATH=FOLDER OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_similarity.py -m benchmark -s

What is not installed is skipped. Minutes on one core.
"""

import importlib
import sys
import types
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fusion.similarity.canonical import cca, pwcca, svcca
from fusion.similarity.measures import cka, minibatch_cka, procrustes, rbf_cka, rsa
from tests.fusion.similarity.drawn import centred
from tests.fusion.similarity.drawn import of_widths as draw

pytestmark = pytest.mark.benchmark


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
