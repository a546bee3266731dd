"""The demo's protocol: choices on Colin27 only, every row present, intervals everywhere."""

import numpy as np
import pytest

from fusion import FusionClassifier, brain_regions
from fusion.data import samples
from fusion.data.sets import brain_regions as brain_regions_
from fusion.demo import protocol

pytestmark = pytest.mark.slow  # the whole protocol; quick tests of the page make their own outcomes


def thinned(part, labels=None):
    """A sixth of the patches, and all that a label budget draws, so that the protocol is tested in seconds."""
    whole = brain_regions(part, labels=labels)
    if labels is not None:
        return whole
    drawn = {image.tobytes() for n in (60, 300) for image in brain_regions("train", labels=n).images}
    kept = [i for i, image in enumerate(whole.images) if i % 6 == 0 or image.tobytes() in drawn]
    return samples.Samples(whole.images[kept], whole.labels[kept], whole.groups[kept])


@pytest.fixture(scope="module")
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


def test_the_test_brain_is_not_opened_before_every_choice_is_made(demonstrated):
    _, before, opened, *_ = demonstrated
    assert set(before) == {"colin27.npz"}
    assert opened[len(before)] == "mni152.npz"


def test_the_table_holds_every_row_at_every_budget_with_intervals(demonstrated):
    rows = demonstrated[3]
    singles = [f"{name} @ {depth:g}" for name in protocol.ENCODERS for depth in protocol.DEPTHS]
    names = ["raw pixels", "random init", *singles, "all-concat @ 1", "fusion"]
    for budget in (60, 300, None):
        assert [row.choice.row for row in rows if row.choice.budget == budget] == names
    for row in rows:
        for interval in (row.test.auc, row.test.balanced_accuracy, row.test.calibration_error):
            assert interval.low <= interval.high
        assert row.test.groups == 12
        assert (row.gain is None) == (row.choice.row == "fusion")
    random = next(row for row in rows if row.choice.row == "random init")
    assert len(random.probabilities) == 2


def test_the_fusion_takes_the_depths_that_won_on_the_validation_slabs(demonstrated):
    choices = demonstrated[0]
    for budget in (60, 300, None):
        own = [c for c in choices if c.budget == budget]
        fused = next(c for c in own if c.row == "fusion")
        for name, depth in zip(protocol.ENCODERS, fused.depths, strict=True):
            best = max((c for c in own if c.row.startswith(f"{name} @")), key=lambda c: c.validation.auc.value)
            assert best.depths == [depth]


def test_the_saved_model_answers_as_the_table_says(demonstrated, tmp_path):
    _, _, _, rows, test, model = demonstrated
    model.save(tmp_path)
    fused = next(row for row in rows if row.choice.row == "fusion" and row.choice.budget is None)
    images = test.images[:100]
    loaded = FusionClassifier.load(tmp_path)
    own = loaded.calibration_.undo(loaded.predict_log_proba(images))  # the table's rows are heads, not calibrated
    np.testing.assert_allclose(np.exp(own), fused.probabilities[0][:100], atol=2e-3)
