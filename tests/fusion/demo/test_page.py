"""The demo's page: whole, and by itself."""

import numpy as np
import pytest

from fusion.demo import features, protocol
from fusion.demo import page as page_
from tests.fusion.demo.small_outcomes import TEST, outcomes


def test_the_report_stands_alone():
    rows, test = outcomes(), TEST
    page = page_.render(rows, test, 12.3)
    assert "one brain against one brain" in page
    assert page.count("<svg") == 2
    assert page.count("<tr") == 3 * 14
    for outside in ("http://", "https://", "<script", "<link", "<img"):
        assert outside not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
            "http://creativecommons.org", ""
        ).replace("https://matplotlib.org", "")


def test_the_curves_and_the_matrix_are_those_of_the_rows():
    rows, test = outcomes(), TEST
    panels = page_.depth_curve(rows).axes
    assert [panel.get_title() for panel in panels] == ["60 labels", "300 labels", "all labels"]
    for panel, budget in zip(panels, protocol.BUDGETS, strict=True):
        for name in features.ENCODERS:
            (line,) = (line for line in panel.lines if line.get_label() == f"{name}, test")
            own = [r for r in rows if r.choice.budget == budget and r.choice.row.startswith(f"{name} @")]
            assert list(line.get_ydata()) == [row.test.auc.value for row in own]
    fused = next(row for row in rows if row.choice.row == "fusion" and row.choice.budget is None)
    shares = page_.confusion(rows, test).axes[0].images[0].get_array()
    np.testing.assert_allclose(shares.sum(1), 1)
    assert np.mean(shares.diagonal()) == pytest.approx(fused.test.balanced_accuracy.value)


def test_rows_and_budgets_in_words():
    choices = [row.choice for row in outcomes()]
    names = [page_.row_name(choice) for choice in choices]
    assert {"raw pixels", "mocov2-mini @ 0.5", "all-concat @ 1"} <= set(names)
    assert {"fusion: @ 0.5 + 0.75", "best single: mocov2-mini@0.5, mae-mini@0.25", "best single: mocov2-mini@0.5"} <= {
        *names
    }
    assert [page_.budget_name(budget) for budget in (None, 60)] == ["all labels", "60 labels"]
