"""What takes seconds to make and several files look at: a study, and the demo. Nobody changes them."""

import numpy as np
import pytest

from fusion import brain_regions
from fusion.data import samples
from fusion.data.sets import brain_regions as brain_regions_
from fusion.demo import protocol
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


def thinned(part, labels=None):
    """A sixth of the patches, and all that a label budget draws, so that the protocol is tested in seconds."""
    whole = brain_regions(part, labels=labels)
    if labels is not None:
        return whole
    drawn = {image.tobytes() for n in (60, 300) for image in brain_regions("train", labels=n).images}
    kept = [i for i, image in enumerate(whole.images) if i % 6 == 0 or image.tobytes() in drawn]
    return samples.Samples(whole.images[kept], whole.labels[kept], whole.groups[kept])


@pytest.fixture(scope="session")
def demonstrated():
    """The demo with few resamples and two controls, and a record of which files were opened when."""
    patch = pytest.MonkeyPatch()
    patch.setattr(protocol, "SEEDS", range(2))
    patch.setattr(protocol, "GRID", (0.1,))
    opened, load = [], np.load

    def spy(path, *args, **kwargs):
        opened.append(path.name)
        return load(path, *args, **kwargs)

    patch.setattr(brain_regions_.np, "load", spy)
    patch.setattr(protocol, "brain_regions", thinned)
    encoders = protocol.sources()
    choices = protocol.choose(encoders, lambda _: None)
    before = list(opened)
    rows, test = protocol.judge(choices, encoders, lambda _: None)
    model = protocol.fitted(choices)
    patch.undo()
    return choices, before, opened, rows, test, model
