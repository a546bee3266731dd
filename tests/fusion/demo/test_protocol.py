"""The demo's protocol: choices on Colin27 only, every row present, intervals everywhere."""

import numpy as np
import pytest

from fusion import FusionClassifier, brain_regions
from fusion.data.sets import brain_regions as brain_regions_
from fusion.demo import features, protocol
from fusion.features import extract

pytestmark = pytest.mark.slow  # the whole protocol; quick tests of the page make their own outcomes


DRAWN = {
    image.tobytes()
    for n in (60, 300)
    for seed in (0, 1)
    for image in brain_regions("train", labels=n, seed=seed).images
}


def thinned(part, labels=None, seed=0):
    """A sixth of the patches, and all that the draws of labels hold, so that the protocol is tested in seconds."""
    whole = brain_regions(part, labels=labels, seed=seed)
    if labels is not None:
        return whole
    kept = [i for i, image in enumerate(whole.images) if i % 6 == 0 or image.tobytes() in DRAWN]
    return whole.take(np.array(kept))


@pytest.fixture(scope="module")
def demonstrated():
    """The demo with two draws and two controls, and a record of which files were opened when."""
    patch = pytest.MonkeyPatch()
    patch.setattr(features, "SEEDS", range(2))
    patch.setattr(protocol, "SEEDS", range(2))
    patch.setattr(protocol, "DRAWS", range(2))
    patch.setattr(protocol, "GRID", (0.1,))
    opened, load = [], np.load

    def spy(path, *args, **kwargs):
        opened.append(path.name)
        return load(path, *args, **kwargs)

    patch.setattr(brain_regions_.np, "load", spy)
    patch.setattr(protocol, "brain_regions", thinned)
    sources = features.sources()
    choices = protocol.choose(sources, lambda _: None)
    before = list(opened)
    rows, test = protocol.judge(choices, sources, lambda _: None)
    model = protocol.fitted(choices)
    patch.undo()
    return choices, before, opened, rows, test, model


def test_the_test_brain_is_not_opened_before_every_choice_is_made(demonstrated):
    _, before, opened, *_ = demonstrated
    assert set(before) == {"colin27.npz"}
    assert opened[len(before)] == "mni152.npz"


def test_the_table_holds_every_row_at_every_budget_with_intervals(demonstrated):
    rows = demonstrated[3]
    singles = [f"{name} @ {depth:g}" for name in features.ENCODERS for depth in features.DEPTHS]
    names = ["raw pixels", "random init @ 0.25", *singles, "best single", "all-concat @ 1", "fusion"]
    for budget in (60, 300, None):
        assert [row.choice.row for row in rows if row.choice.budget == budget] == names
    for row in rows:
        for interval in (row.test.auc, row.test.balanced_accuracy, row.test.calibration_error):
            assert interval.low <= interval.high
        assert row.test.groups == 12
        assert np.mean(row.aucs) == pytest.approx(row.test.auc.value)
        assert row.spread == (None if len(row.choice.picks) == 1 else pytest.approx(np.ptp(row.aucs) / 2**0.5))
        assert (row.gain is None) == (row.choice.row == "fusion")
    for row in rows:
        drawn = row.choice.budget is not None or row.choice.row == "random init @ 0.25"
        assert len(row.probabilities) == len(row.choice.picks) == (2 if drawn else 1)


def test_the_fusion_takes_the_depths_that_won_under_shifts_and_the_best_single_is_the_better_of_them(demonstrated):
    choices = demonstrated[0]
    for budget in (60, 300, None):
        rows = {c.row: c.picks for c in choices if c.budget == budget}
        for draw, fused in enumerate(rows["fusion"]):
            best = [
                max((rows[f"{name} @ {depth:g}"][draw] for depth in features.DEPTHS), key=lambda pick: pick.validation)
                for name in features.ENCODERS
            ]
            assert fused.blocks == [pick.blocks[0] for pick in best]
            assert rows["best single"][draw] == max(best, key=lambda pick: pick.validation)


def test_every_draw_has_answers_of_its_own(demonstrated):
    for row in demonstrated[3]:
        if row.choice.budget is not None:
            first, second = row.probabilities
            assert not np.allclose(first, second, atol=0.01)


def test_the_saved_model_answers_as_the_table_says(demonstrated, tmp_path):
    _, _, _, rows, test, model = demonstrated
    model.save(tmp_path)
    fused = next(row for row in rows if row.choice.row == "fusion" and row.choice.budget == 300).choice.picks[0]
    images = test.images[:100]
    loaded = FusionClassifier.load(tmp_path)
    assert [encoder.name for encoder in loaded.encoders_] == fused.blocks
    assert model.head_.strengths == fused.head.strengths
    own = loaded.calibration_.undo(loaded.predict_log_proba(images))  # the demo's temperature is of validation slabs
    blocks = [extract.extract(name, images) for name in fused.blocks]
    np.testing.assert_allclose(np.exp(own), np.exp(fused.head.log_proba(blocks)), atol=2e-3)
