"""Models of format 3, as earlier versions wrote them, are read once more."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import zoo
from fusion import FusionClassifier, brain_regions
from fusion.features.extract import extract

TRAIN = brain_regions("train", labels=36)
OTHERS = brain_regions("validation", labels=12).images


@pytest.fixture(scope="module")
def model():
    return FusionClassifier(["mae-mini@0.25"], C=0.1, compare_baselines=False).fit(
        TRAIN.images, TRAIN.labels, TRAIN.groups
    )


@pytest.fixture
def folder(model, tmp_path):
    """The folder that the version before wrote."""
    record = {
        "format": 3,
        "parameters": {"head": "concat", "strategy": "probe", "C": 0.1, "folds": 5, "seed": 0, "training": None},
        "encoders": [{"name": "mae-mini@0.25", "digest": zoo.load("mae-mini@0.25").report.digest}],
        "classes": model.classes_.tolist(),
        "multilabel": False,
        "trained": model.trained_,
        "history": [],
        "solved": True,
        "moved": [],
    }
    save_file(model.head_.arrays(), tmp_path / "head.safetensors")
    (tmp_path / "model.json").write_text(json.dumps(record))
    return tmp_path


def test_it_answers_as_it_did_and_says_that_it_has_no_digests(folder, model):
    with pytest.warns(UserWarning, match="is of an earlier version, without digests. Save it again."):
        again = FusionClassifier.load(folder)
    before = np.exp(model.head_.log_proba([extract(model.encoders_[0], OTHERS)]))  # for balanced classes
    np.testing.assert_allclose(again.predict_proba(OTHERS), before, rtol=1e-12)
    with pytest.raises(ValueError, match="prior must be left out: this saved model is of an earlier version"):
        again.predict_proba(OTHERS, prior=model.prior_)
    again.save(folder / "again")
    np.testing.assert_array_equal(FusionClassifier.load(folder / "again").predict(OTHERS), model.predict(OTHERS))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"encoders": [{"name": "mae-mini@0.25", "digest": "0" * 64}]}, "mae-mini@0.25 is another in the zoo now"),
        ({"encoders": [{"name": "evil/enc", "digest": "0" * 64}]}, "evil/enc would be fetched from a repo"),
        ({"encoders": None}, "no model of format 3"),
        ({"moved": ["0.trunk.conv1.weight"]}, "No such file|encoders.safetensors"),
        ({"classes": ["a"]}, "classes"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*earlier version")
def test_one_that_is_not_whole_is_refused(change, what, folder):
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(record | change))
    with pytest.raises(OSError, match=rf"must hold a whole saved model \(got (.|\n)*({what})"):
        FusionClassifier.load(folder)
