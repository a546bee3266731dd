"""A study's page."""

import dataclasses
import re

import numpy as np
import pytest

from fusion.report import style as style_
from fusion.report import words
from fusion.study.results import page as page_
from fusion.study.results import table
from fusion.study.results.page import StudyPage, render
from tests.fusion.report.reader import Reader

CLASSES = ["a", "b", "c"]
INDEX = np.random.default_rng(0).permutation(np.arange(96) % 3)
Y = np.array(CLASSES)[INDEX]
GROUPS = np.arange(96) // 12  # 8 groups
SKILLS = {"full": 0.3, "probe": 0.1, "lp-ft": 0.4}


def row(strategy, skill, *, encoders=("mocov2-mini@0.75",), labels=None, seeds=(0, 1), head="concat"):
    proba = [np.random.default_rng(s).dirichlet([1, 1, 1], 96) + skill * np.eye(3)[INDEX] for s in seeds]
    seconds = tuple(float(s) for s in range(len(seeds)))
    stacked = np.stack([p / p.sum(1, keepdims=True) for p in proba])
    return table.Row(encoders, head, strategy, labels, 1e-5, seeds, stacked, seconds, 1234567, 2345678)


def study(depths=(0.5, 0.75), budgets=(60, None)):
    """Two encoders and their fusion at every depth and budget, each with three strategies; and raw pixels."""
    rows = []
    for labels in budgets:
        for depth in depths:
            one, other = f"mocov2-mini@{depth:g}", f"mae-mini@{depth:g}"
            for n, encoders in enumerate([(one,), (other,), (one, other)]):
                bonus = 0.02 * n + 0.1 * depth + (0.1 if labels is None else 0)
                rows += [row(s, k + bonus, encoders=encoders, labels=labels) for s, k in SKILLS.items()]
        rows.append(row("probe", 0.05, encoders=(), labels=labels, seeds=(0,), head="none"))
    return rows


def page(rows, **changes):
    lines = table.judge(rows, Y, CLASSES, GROUPS, resamples=50)
    given = {
        "title": "Which strategy?",
        "task": "Six regions of a brain.",
        "command": "fusion study brief --output out",
        "settings": {"seeds": [0, 1], "note": "<b>é</b>"},
        "validation": lines,
    }
    return StudyPage(**given | changes)


@pytest.fixture(scope="module")
def whole():
    """A page with everything on it."""
    rows = study()
    test = table.judge(rows[:3], Y[::-1], CLASSES, GROUPS, resamples=50)
    comparisons = table.paired(table.judge(rows, Y, CLASSES, GROUPS, resamples=50))
    mechanics = [row("full", 0.99, encoders=("resnet50@1",), seeds=(0,))]
    return page(
        rows,
        test=test,
        comparisons=comparisons,
        contests=[("ours or theirs", "lp-ft, fused", "full, one encoder", comparisons[0].difference)],
        warnings=["Only 8 groups."],
        choices=["The learning rate was chosen on validation."],
        mechanics=table.judge(mechanics, Y, CLASSES, GROUPS, resamples=50),
        failures=[("lora on mae-mini@0.5", "ValueError: rank must be positive (got <0>)")],
    )


@pytest.fixture(scope="module")
def text(whole):
    return render(whole)


def test_nothing_is_outside_the_page(text):
    links = Reader(text).links
    assert links  # the figures refer to their own parts
    assert all(link.startswith("#") for link in links)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "<script" not in text


def test_the_page_says_everything_in_order(text):
    read = Reader(text)
    assert read.headings == [
        "Which strategy?",
        "Test: AUC by strategy and encoder",
        *("60 labels", "Mean rank over encoders and labels", "Cost beside AUC"),
        "Validation: AUC by strategy and encoder",
        *("60 labels", "all labels", "Mean rank over encoders and labels"),
        *("AUC over depth", "AUC over training images", "Cost beside AUC"),
        *("Paired tests on validation", "Contests on validation"),
        "random weights: plumbing, not evidence",
        *("Failures", "How choices were made", "Settings", "The command that reproduces this page"),
    ]
    for part in ("Six regions of a brain.", "Only 8 groups.", "The learning rate was chosen on validation."):
        assert part in read.text
    assert "fusion study brief --output out" in read.text
    assert '"note": "<b>é</b>"' in read.text  # as text, not as an element
    assert "<b>" not in text


def test_the_grid_holds_mean_spread_interval_and_rank(whole, text):
    read = Reader(text)
    first, second = read.under("60 labels")[1:]  # the first is of the test part; seven columns are two grids
    assert first[0][0] == "strategy"
    assert first[0][1:4] == ["mocov2-mini@0.5concat", "mae-mini@0.5concat", "mocov2-mini@0.5 +mae-mini@0.5concat"]
    assert (len(first[0]), len(second[0])) == (7, 2)
    assert [r[0] for r in first[1:]] == ["full", "probe", "lp-ft"]
    assert [r[0] for r in second[1:]] == ["probe"]  # a row without a cell is not shown
    auc = whole.validation[2].figures.auc
    mean, spread = f"{auc.value:.3f}", f"{whole.validation[2].auc_sd:.3f}"
    assert first[3][1] == f"{mean} ± {spread}[{auc.low:.3f}, {auc.high:.3f}]rank 1"
    pixels = whole.validation[18].figures.auc
    assert second[0][1] == "raw pixelsnone"
    assert second[1][1] == f"{pixels.value:.3f}[{pixels.low:.3f}, {pixels.high:.3f}]"  # one seed, and no rival


def test_the_best_of_each_column_is_bold_and_nothing_else(whole, text):
    cells = {}
    for line in whole.validation:
        cells.setdefault(line.row.cell, []).append(line)
    best = [min(own, key=lambda line: line.rank) for own in cells.values() if len(own) > 1]
    expected = [f"{line.figures.auc.value:.3f} ± {line.auc_sd:.3f}" for line in best]
    assert sorted(Reader(text).bold[1:]) == sorted(expected)  # the first is of the test part


def test_both_of_a_tie_are_bold():
    read = Reader(render(page([row("full", 0.5), row("probe", 0.5), row("lora", 0.1)])))
    assert len(read.bold) == 2
    (grid,) = read.under("all labels")
    assert [r[1].rpartition("rank ")[2] for r in grid[1:]] == ["1.5", "1.5", "3"]


def test_a_strategy_without_a_cell_leaves_a_dash():
    read = Reader(render(page([row("full", 0.5), row("probe", 0.1), row("full", 0.5, encoders=("mae-mini@1",))])))
    (grid,) = read.under("all labels")
    assert grid[2][2] == "\N{EN DASH}"


def test_mean_ranks_are_sorted_and_say_over_how_many_columns(text):
    ranks = Reader(text).under("Mean rank over encoders and labels")[1]
    assert ranks[1:] == [["lp-ft", "1.00", "12"], ["full", "2.00", "12"], ["probe", "3.00", "12"]]


def test_cost_stands_beside_auc(whole, text):
    cost = Reader(text).under("Cost beside AUC")[1]
    assert len(cost) == 1 + len(whole.validation)
    assert cost[0][-3:] == ["seconds per seed", "parameters trained", "parameters held"]
    auc = f"{whole.validation[0].figures.auc.value:.3f} ± {whole.validation[0].auc_sd:.3f}"
    assert cost[1][1:4] == ["mocov2-mini@0.5concat", "60 labels", auc]
    assert cost[1][6:] == ["1e-05", "2", "0.5", "1,234,567", "2,345,678"]


def test_paired_tests_and_contests(whole, text):
    read = Reader(text)
    (tests,) = read.under("Paired tests on validation")
    assert len(tests) == 1 + len(whole.comparisons) == 25
    first = whole.comparisons[0]
    gain = first.difference.auc
    shown = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    assert tests[1] == [
        *("probe \N{MINUS SIGN} full", "mocov2-mini@0.5", "concat", "60 labels", shown),
        *(words.p_text(first.p), words.p_text(first.corrected)),
    ]
    assert "all 24 comparisons" in read.text
    assert "by Student's t over the groups" in " ".join(read.text.split())
    (contests,) = read.under("Contests on validation")
    assert contests[1][:4] == ["ours or theirs", "lp-ft, fused", "full, one encoder", shown]


def test_random_weights_stand_in_their_own_table_only(text):
    read = Reader(text)
    holding = [heading for heading, rows in read.tables if "resnet50@1" in str(rows)]
    assert holding == ["random weights: plumbing, not evidence"]
    assert "rank" not in str(read.under(holding[0]))


def test_failures_are_told_as_they_are(text):
    (failed,) = Reader(text).under("Failures")
    assert failed[1] == ["lora on mae-mini@0.5", "ValueError: rank must be positive (got <0>)"]


def test_figures_over_depth_per_encoder_and_over_labels_per_depth(text):
    assert Reader(text).svgs == 3 * 2 + 3 * 2 + 1  # encoders x budgets; encoders x depths, and raw pixels over labels
    lines = page(study()).validation
    panels = [figure.axes[0] for figure in page_.depth_curves(lines, list(SKILLS))]
    assert panels[0].get_title() == "mocov2-mini, concat\n60 labels"
    assert len({panel.get_ylim() for panel in panels}) == 1  # one scale, so that panels compare
    assert panels[2].get_title() == "mocov2-mini + mae-mini, concat\n60 labels"
    assert [t.get_text() for t in panels[0].get_xticklabels()] == ["0.5", "0.75"]
    full = next(curve for curve in panels[0].lines if curve.get_label() == "full")
    own = [line for line in lines if line.row.strategy == "full" and line.row.labels == 60]
    expected = [line.figures.auc.value for line in own if line.row.encoders[0].startswith("moco")][::2]
    assert full.get_ydata() == pytest.approx(expected)
    assert full.get_xdata() == pytest.approx([0.5, 0.75], abs=0.01)
    assert full.get_color() == style_.COLOURS[0]
    (panel, *_) = (figure.axes[0] for figure in page_.label_curves(lines, list(SKILLS)))
    assert [t.get_text() for t in panel.get_xticklabels()] == ["60", "all"]


def test_one_depth_and_one_budget_have_no_curve():
    read = Reader(render(page(study(depths=(1,), budgets=(None,)))))
    assert read.svgs == 0
    assert not {"AUC over depth", "AUC over training images"} & set(read.headings)


def test_fused_encoders_of_unlike_depths_and_names_without_one_are_on_no_depth_curve():
    cells = [("a@0.5", "b@1"), ("a@1", "b@1"), ("name",), ("other@home",)]
    lines = page([row("full", 0.3, encoders=encoders) for encoders in cells]).validation
    assert list(page_.depth_curves(lines, ["full"])) == []


def test_budgets_are_in_order_shares_before_counts_before_all():
    rows = [row("full", 0.3, labels=n) for n in (None, 300, 0.5, 60, 0.1)]
    read = Reader(render(page(rows)))
    found = [heading for heading in read.headings if "label" in heading and "AUC" not in heading]
    assert found[:5] == ["10 % of labels", "50 % of labels", "60 labels", "300 labels", "all labels"]
    (figure,) = page_.label_curves(page(rows).validation, ["full"])
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["10 %", "50 %", "60", "300", "all"]


def test_a_study_in_which_all_failed_still_has_its_page():
    read = Reader(render(page([], failures=[("full on mae-mini", "OSError: no such file")])))
    assert "No cell of the study gave a row." in read.text
    assert "OSError: no such file" in read.text
    assert "None." in Reader(render(page([row("full", 0.3)]))).text


def test_the_same_page_gives_the_same_text(whole, text):
    assert render(whole) == text


def test_the_part_that_was_compared_is_named_and_checked(whole):
    changed = dataclasses.replace(whole, compared_on="test")
    assert re.search("<h2>Paired tests on test</h2>", render(changed))
    with pytest.raises(ValueError, match=r"compared_on must be validation or test \(got 'train'\)"):
        dataclasses.replace(whole, compared_on="train")
