"""One cell: what it takes, and what its kept model answers."""

import json

import numpy as np

import zoo
from fusion import FusionClassifier
from fusion.study import cell as cell_
from fusion.study import folder, run
from tests.fusion.study.small_studies import config


def test_a_cell_says_what_it_took(undisturbed):
    study_ = folder.study(undisturbed)
    key, cell = next((k, c) for k, c in study_["cells"].items() if len(c["encoders"]) == 2)
    record = json.loads((undisturbed / "cells" / f"{key}.json").read_text())
    assert record["status"] == "done"
    assert record["cell"]["encoders"] == cell["encoders"]
    assert record["parameters"] > 100_000
    assert record["seconds"] > 0
    assert 0.5 < record["figures"]["auc"] <= 1
    assert (undisturbed / "models" / key / "model.json").exists()


def test_a_fine_tuned_cell_says_how_it_went(undisturbed):
    records = folder.records(undisturbed, folder.study(undisturbed)["cells"])
    tuned = [record for record in records.values() if record["cell"]["strategy"] == "lp-ft"]
    assert [record["cell"]["learning_rate"] for record in tuned] == [0.001, 0.001]
    for record in tuned:
        assert 50_000 < record["trained"] <= record["parameters"]
        assert max(row["epoch"] for row in record["history"]) == 3
        assert len(list((undisturbed / "models" / record["key"]).glob("encoders*.safetensors"))) == 1


def test_the_kept_models_answer_as_their_cells_did(undisturbed, data):
    found = run.plan(config(), data)
    for cell in [c for c in found.cells if c.seed == 0 and c.labels == 24]:
        task = run.task(found, undisturbed, cell)
        kept = folder.arrays(undisturbed / "cells" / f"{cell.key}.npz")["probabilities"]
        np.testing.assert_allclose(cell_.answers(task, found.validation), kept, atol=1e-6)


def test_a_probe_may_be_fitted_on_shifted_copies(tmp_path, data):
    rows = [{"probe": {"select": ["clean", "shifted"]}}]
    small = {"encoders": ["mae-mini@0.25"], "labels": [24], "seeds": [0], "only": {}, "raw_pixels": False}
    found = run.plan(config(strategies=rows, reference="probe, select clean", contests=[], **small), data)
    told = {}
    for cell in [cell for cell in found.cells if cell.encoders and not cell.untrained]:
        cell_.work(run.task(found, tmp_path, cell))
        model = FusionClassifier.load(tmp_path / "models" / cell.key)
        told[cell.strategy] = model.select, model.head_.probe.mean
    assert {label: select for label, (select, _) in told.items()} == {
        "probe, select clean": "clean",
        "probe, select shifted": "shifted",
    }
    first, second = (mean for _, mean in told.values())
    assert not np.allclose(first, second, rtol=1e-3)


def test_a_variant_reaches_the_fit(tmp_path, data):
    rows = [{"pulled": {"strategy": "l2-sp", "alpha": [0.0, 1e4], "statistics": ["batch", "frozen"]}}]
    small = {"encoders": ["mocov2-mini@0.5"], "labels": [24], "seeds": [0], "only": {}, "raw_pixels": False}
    small |= {"training": {"epochs": 1, "patience": None, "batch": 8}, "learning_rates": [1e-2]}
    reference = "pulled, alpha 0.0, statistics batch"
    found = run.plan(config(strategies=rows, reference=reference, contests=[], **small), data)
    told = {}
    for cell in [cell for cell in found.cells if cell.encoders]:
        cell_.work(run.task(found, tmp_path, cell))
        model = FusionClassifier.load(tmp_path / "models" / cell.key)
        source, moved = zoo.load("mocov2-mini", 0.5).state_dict(), model.encoders_[0].state_dict()
        names = ("trunk.bn1.running_mean", "trunk.layer1.0.conv1.weight")
        mean, kernel = (float((moved[name] - source[name]).abs().max()) for name in names)
        told[cell.strategy] = (mean > 0, kernel, model.training.statistics)
    weak, strong = ([told[f"pulled, alpha {a}, statistics {mode}"] for mode in ("batch", "frozen")] for a in (0.0, 1e4))
    assert [row[0] for row in (*weak, *strong)] == [True, False, True, False]
    assert [row[2] for row in weak] == ["batch", "frozen"]
    assert all(held[1] < free[1] / 2 for held, free in zip(strong, weak, strict=True))


def test_raw_pixels_are_fitted_as_the_probes_are_beside_which_they_stand(data):
    train = run.plan(config(), data).train
    clean, shifted = (cell_.Pixels(0, select=way).fit(train) for way in ("clean", "shifted"))
    assert clean.head.probe.mean.shape == shifted.head.probe.mean.shape
    assert not np.allclose(clean.head.probe.mean, shifted.head.probe.mean, rtol=1e-3)
    np.testing.assert_allclose(shifted.predict_proba(train.images[:3]).sum(1), 1)
