"""The demo's page: whole, and by itself."""

import numpy as np
import pytest

from fusion.demo import page as page_
from fusion.demo import protocol


def test_the_report_stands_alone(demonstrated):
    rows, test = demonstrated[3:5]
    page = page_.render(rows, test, 12.3)
    assert "one brain against one brain" in page
    assert page.count("<svg") == 2
    assert page.count("<tr") == 3 * 13
    for outside in ("http://", "https://", "<script", "<link", "<img"):
        assert outside not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
            "http://creativecommons.org", ""
        ).replace("https://matplotlib.org", "")


def test_the_curves_and_the_matrix_are_those_of_the_rows(demonstrated):
    rows, test = demonstrated[3:5]
    panels = page_.depth_curve(rows).axes
    assert [panel.get_title() for panel in panels] == ["60 labels", "300 labels", "all labels"]
    for panel, budget in zip(panels, protocol.BUDGETS, strict=True):
        for name in protocol.ENCODERS:
            (line,) = (line for line in panel.lines if line.get_label() == f"{name}, test")
            own = [r for r in rows if r.choice.budget == budget and r.choice.row.startswith(f"{name} @")]
            assert list(line.get_ydata()) == [row.test.auc.value for row in own]
    fused = next(row for row in rows if row.choice.row == "fusion" and row.choice.budget is None)
    shares = page_.confusion(rows, test).axes[0].images[0].get_array()
    np.testing.assert_allclose(shares.sum(1), 1)
    assert np.mean(shares.diagonal()) == pytest.approx(fused.test.balanced_accuracy.value)


def test_rows_and_budgets_in_words(demonstrated):
    names = [page_.row_name(choice) for choice in demonstrated[0]]
    assert {"raw pixels", "mocov2-mini @ 0.5", "all-concat @ 1"} <= set(names)
    fused = next(choice for choice in demonstrated[0] if choice.row == "fusion")
    assert page_.row_name(fused) == "fusion @ " + " + ".join(f"{depth:g}" for depth in fused.depths)
    assert [page_.budget_name(budget) for budget in (None, 60)] == ["all labels", "60 labels"]
