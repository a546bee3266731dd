import json
import shutil

import numpy as np
import pytest

from fusion.study import run
from fusion.study.results import read
from tests.fusion.study.small_studies import config


def test_another_config_or_other_data_are_refused(undisturbed, data, tmp_path):
    with pytest.raises(ValueError, match=r"must be of the same config \(got others in labels, seeds\)"):
        run.run(config(labels=[24], seeds=[5]), undisturbed, data)
    with np.load(data) as file:
        np.savez(tmp_path / "other.npz", **{**file, "train_images": 255 - file["train_images"]})
    with pytest.raises(ValueError, match="must be of the same data"):
        run.run(config(), undisturbed, tmp_path / "other.npz")
    assert read.state(undisturbed).missing == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("version", "0.0.1", "version of sslzoo"),
        ("weights", {"mocov2-mini": "0"}, r"weights \(got cards with others\)"),
    ],
)
def test_results_of_another_version_or_other_weights_are_not_mixed(key, value, said, undisturbed, data, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "study")
    place = tmp_path / "study" / "study.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), key: value}))
    with pytest.raises(ValueError, match=f"must be of the same {said}"):
        run.run(config(), tmp_path / "study", data)
