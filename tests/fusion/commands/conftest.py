"""What the tests of several commands look at."""

import numpy as np
import pytest
from PIL import Image

import fusion
import fusion.commands
from fusion.data.sets import brain_regions


@pytest.fixture
def opened(monkeypatch):
    """The names of the files of the shipped task that were opened."""
    names, load = [], np.load

    def spy(path, *args, **kwargs):
        names.append(path.name)
        return load(path, *args, **kwargs)

    monkeypatch.setattr(brain_regions.np, "load", spy)
    return names


@pytest.fixture
def table(tmp_path):
    """Ten images of each of two classes as a CSV with patients and splits, sorted by class."""
    rows = ["path,label,patient,split"]
    train = fusion.brain_regions("train")
    for label in ("cerebellum", "parietal"):
        for i, image in enumerate(train.images[train.labels == label][::40][:10]):
            Image.fromarray(image).save(tmp_path / f"{label}{i}.png")
            rows.append(f"{label}{i}.png,{label},{label}{i},{'test' if i == 9 else 'train'}")
    (tmp_path / "data.csv").write_text("\n".join(rows))
    return tmp_path / "data.csv"
