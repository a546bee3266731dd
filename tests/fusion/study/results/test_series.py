"""Tables over folds."""

import numpy as np
import pytest

from fusion.evaluation import score
from fusion.study import folder as folder_
from tests.fusion.study.small_series import rows


@pytest.mark.slow
def test_the_table_of_folds_says_what_each_fold_chose_and_got(whole):
    found = rows(whole / "folds.csv")
    assert [(row["target"], row["fold"], row["encoders"], row["strategy"]) for row in found][1:3] == [
        ("first", "1", "untrained:mocov2-mini@0.25", "full"),
        ("first", "2", "mocov2-mini@0.25", "probe"),
    ]
    assert len(found) == 6 * 2
    for row in found:
        folder = whole / row["target"] / f"fold-{row['fold']}"
        records = folder_.records(folder, folder_.study(folder)["cells"]).values()
        own = [r for r in records if r["cell"]["strategy"] == row["strategy"]]
        best = max(own, key=lambda r: r["figures"]["auc"])
        assert row["learning_rate"] == ("" if row["strategy"] == "probe" else f"{best['cell']['learning_rate']:g}")
        assert float(row["validation_auc"]) == pytest.approx(best["figures"]["auc"], abs=6e-5)
        truth = folder_.arrays(folder / "final" / "part.npz")["labels"]
        proba = folder_.arrays(folder / "final" / f"{best['key']}.npz")["probabilities"]
        judged = score.score(truth, proba, np.unique(truth), resamples=1)
        assert float(row["test_auc"]) == pytest.approx(judged.auc.value, abs=6e-5)
        assert float(row["test_balanced_accuracy"]) == pytest.approx(judged.balanced_accuracy.value, abs=6e-5)


@pytest.mark.slow
def test_means_and_deviations_are_over_folds(whole):
    folds, found = rows(whole / "folds.csv"), rows(whole / "results.csv")
    assert [(row["target"], row["strategy"]) for row in found] == [
        *[("first", "probe"), ("first", "full"), ("second", "probe"), ("second", "full")]
    ]
    for row in found:
        own = [float(f["test_auc"]) for f in folds if (f["target"], f["strategy"]) == (row["target"], row["strategy"])]
        assert (row["folds"], row["folds_tested"], len(own)) == ("3", "3", 3)
        assert float(row["test_auc"]) == pytest.approx(np.mean(own), abs=2e-4)
        assert float(row["test_auc_sd"]) == pytest.approx(np.std(own, ddof=1), abs=2e-4)
