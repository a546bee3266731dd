"""A leaderboard says what `score` says by hand, its sentence what the intervals say, and it costs nothing where off."""

import numpy as np
import pytest

import zoo
from fusion import FusionClassifier
from fusion.data import shifts
from fusion.data.folds import folds
from fusion.estimators import leaderboard as board_
from fusion.estimators.leaderboard import Controls, Leaderboard, Standing, judged, restored
from fusion.evaluation.intervals import Interval
from fusion.evaluation.score import score
from fusion.features import extract
from fusion.features.taps import load
from fusion.heads.probe import TOLERANCE, OutOfFold, normalised
from fusion.tuning.settings import Training

ROWS, PATIENTS = 96, 32
SMALL = "mae-mini@0.25"


def task(signal=60.0, seed=0):
    """Noise of three images a patient, half of the patients with a bright corner on all of them."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(PATIENTS), ROWS // PATIENTS)
    y = groups % 2
    images = rng.normal(100, 20, (ROWS, 64, 64))
    images[:, :16, :16] += signal * y[:, None, None] * rng.uniform(0, 1, (ROWS, 1, 1))
    return np.clip(images, 0, 255).astype(np.uint8), y, groups


@pytest.fixture(scope="module")
def pair():
    images, y, groups = task()
    return FusionClassifier(["mocov2-mini@0.25", SMALL], folds=3).fit(images, y, groups)


def by_hand(x, y, groups):
    """Probabilities of a probe, out of fold, at the penalty that is best on the same folds."""
    folded = OutOfFold([x], y, folds(y, groups, 3, 0))
    return np.exp(normalised(folded.alone(0, folded.best_alone()[0], TOLERANCE), multilabel=y.ndim == 2))


def test_rows_and_differences_are_those_of_score_by_hand(pair):
    images, y, groups = task()
    encoders = [zoo.load(name) for name in ("mocov2-mini@0.25", SMALL)]
    blocks = [extract.extract(encoder, images) for encoder in encoders]
    small = extract.blocks(load("mocov2-mini@0.25"), images, beside=Controls(None))[1]
    assert [row.name for row in pair.leaderboard_.rows] == [
        *("fusion", "mocov2-mini@0.25", SMALL, "thumbnail", "random weights")
    ]
    fused = OutOfFold(blocks, y, folds(y, groups, 3, 0))
    own = np.exp(normalised(fused.together(fused.best_together(), TOLERANCE), multilabel=False))
    first = score(y, own, [0, 1], groups, resamples=board_.DRAWS)
    assert pair.leaderboard_.rows[0] == Standing("fusion", first.auc)
    for row, x in zip(pair.leaderboard_.rows[1:], [*blocks, small], strict=False):
        its = score(y, by_hand(x, y, groups), [0, 1], groups, resamples=board_.DRAWS)
        assert row.auc == its.auc
        assert row.ahead == (first - its).auc
    assert (pair.leaderboard_.images, pair.leaderboard_.groups) == (ROWS, PATIENTS)


def test_several_labels_are_judged_as_score_does():
    images, y, groups = task()
    labels = np.stack([y, np.random.default_rng(1).permutation(y)], 1)
    found = FusionClassifier([SMALL], folds=3).fit(images, labels, groups).leaderboard_
    its = score(labels, by_hand(extract.extract(SMALL, images), labels, groups), [0, 1], groups, resamples=board_.DRAWS)
    assert found.rows[0] == Standing(SMALL, its.auc)
    assert [row.name for row in found.rows] == [SMALL, "thumbnail", "random weights"]  # alone, it is the fit itself


def test_groups_are_the_unit_of_the_intervals():
    images, y, groups = task()
    by_patient, by_image = (
        FusionClassifier([SMALL], folds=3).fit(images, y, given).leaderboard_ for given in (groups, None)
    )
    assert (by_patient.groups, by_image.groups) == (PATIENTS, ROWS)
    copies = judged(
        {"a": np.tile(by := np.random.default_rng(0).dirichlet([1, 1], 40), (3, 1))}, np.arange(120) % 2, None
    )
    whole = judged({"a": np.tile(by, (3, 1))}, np.arange(120) % 2, np.tile(np.arange(40), 3))
    width = [row.auc.high - row.auc.low for row in (copies.rows[0], whole.rows[0])]
    assert width[1] > 1.4 * width[0]


def test_noise_is_not_shown_to_beat_anything():
    images, y, groups = task(signal=0.0)
    found = FusionClassifier([SMALL], folds=3).fit(images, y, groups).leaderboard_
    assert found.sentence == f"{SMALL} is not shown to beat the thumbnail or random weights."


def told(*ends, tuned=False):
    """The sentence of a fusion ahead of rows a, b, ... by intervals with these ends."""
    rows = [Standing("fusion", Interval(0.8, 0.7, 0.9))]
    rows += [Standing("abc"[i], Interval(0.7, 0.6, 0.8), Interval(0.1, *pair)) for i, pair in enumerate(ends)]
    return Leaderboard(tuple(rows), 100, 50, tuned).sentence


def test_the_sentence_says_what_the_intervals_say():
    assert told((0.01, 0.2)) == "The fusion is shown to beat a."
    assert told((0.0, 0.2)) == "The fusion is not shown to beat a."
    assert told((-0.2, -0.01), (0.1, 0.2), (0.1, 0.2)) == (
        "The fusion is shown to beat b and c, and it is shown to be worse than a."
    )
    assert told((-0.1, 0.2), (0.1, 0.2)) == "The fusion is shown to beat b, and it is not shown to beat a."
    assert told((0.1, 0.2), tuned=True) == (
        "Before tuning, the fusion is shown to beat a; evaluate the tuned model on other images, for these taught it."
    )


def test_too_few_patients_are_said_and_stop_no_fit():
    images, y, _ = task()
    found = FusionClassifier([SMALL], folds=2).fit(images, y, np.arange(ROWS) % 4).leaderboard_
    assert "Too few patients" in found.sentence
    assert np.isnan(found.rows[1].ahead.low)
    assert restored(found.values()).values() == found.values()
    assert found.values()["rows"][0]["auc"]["low"] is None  # as JSON has it


def test_it_comes_back_with_a_saved_model(pair, tmp_path):
    pair.save(tmp_path)
    again = FusionClassifier.load(tmp_path)
    assert again.leaderboard_ == pair.leaderboard_
    assert str(again.leaderboard_) == str(pair.leaderboard_)
    assert again.compare_baselines


def test_off_nothing_is_computed_and_the_fit_is_the_same(pair, tmp_path, monkeypatch):
    images, y, groups = task()
    monkeypatch.setattr(zoo, "untrained", None)  # would fail if it were called
    off = FusionClassifier(["mocov2-mini@0.25", SMALL], folds=3, compare_baselines=False).fit(images, y, groups)
    assert off.leaderboard_ is None
    np.testing.assert_array_equal(off.predict_proba(images), pair.predict_proba(images))
    off.save(tmp_path)
    again = FusionClassifier.load(tmp_path)
    assert again.leaderboard_ is None
    assert again.compare_baselines is False


def test_copies_are_fitted_on_and_not_judged():
    images, y, groups = task()
    found = FusionClassifier([SMALL], folds=3, select="shifted").fit(images, y, groups).leaderboard_
    assert (found.images, found.groups, len(found.rows)) == (ROWS, PATIENTS, 3)
    parts = shifts.copies(ROWS)
    kept = np.unique(shifts.rows(parts), return_index=True)[1]
    copied = extract.copied(load(SMALL), images, parts)[0]
    np.testing.assert_array_equal(copied[kept], extract.extract(SMALL, images))


def test_what_is_tuned_is_judged_as_it_was_before():
    images, y, groups = task()
    short = Training(epochs=1, batch=32, patience=None)
    tuned = FusionClassifier([SMALL], strategy="full", training=short, folds=3).fit(images, y, groups)
    frozen = FusionClassifier([SMALL], folds=3).fit(images, y, groups)
    assert tuned.leaderboard_.rows == frozen.leaderboard_.rows
    assert "Before tuning" in tuned.leaderboard_.sentence


def test_random_weights_have_no_row_of_many_images():
    assert Controls.of(load(SMALL), board_.MANY + 1).random is None
    assert Controls.of(load(SMALL), board_.MANY).random is not None


def test_it_is_switched_by_true_or_false():
    with pytest.raises(ValueError, match="compare_baselines must be True or False"):
        FusionClassifier([SMALL], compare_baselines="no").fit(*task()[:2])
