"""A study that takes seconds to make and that several files look at. Nobody changes it."""

import numpy as np
import pytest

from fusion import brain_regions
from fusion.study import run
from fusion.study.results import read
from tests.fusion.study.small_studies import config, one_thread


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """96 training patches of three regions as an archive; a third of them plays the test part."""
    train = brain_regions("train")
    regions = np.unique(train.labels)[:3]
    rows = np.concatenate([np.flatnonzero(train.labels == region)[::12][:32] for region in regions])
    numbers = np.searchsorted(regions, train.labels[rows])[:, None]
    parts = {name: np.arange(len(rows)) % 4 == i for i, name in enumerate(("val", "test"))}
    parts["train"] = ~(parts["val"] | parts["test"])
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    stored = {f"{name}_images": train.images[rows][mask] for name, mask in parts.items()}
    np.savez(path, **stored, **{f"{name}_labels": numbers[mask] for name, mask in parts.items()})
    return path


@pytest.fixture(scope="session")
def undisturbed(data, tmp_path_factory):
    """A study that nothing disturbs, in one process, without the final table."""
    output = tmp_path_factory.mktemp("undisturbed") / "study"
    with one_thread():
        run.run(config(), output, data)
    read.write(output)
    return output
