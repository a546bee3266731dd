"""Means, intervals, ranks and paired tests of a study."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from fusion.evaluation import metrics, score
from fusion.report import words
from fusion.study.results import table

CLASSES = ["a", "b", "c"]
INDEX = np.random.default_rng(0).permutation(np.arange(96) % 3)
Y = np.array(CLASSES)[INDEX]
GROUPS = np.arange(96) // 12  # 8 groups


def guesses(skill, seed):
    """(N, K): the larger the skill, the closer to the truth."""
    proba = np.random.default_rng(seed).dirichlet([1, 1, 1], 96) + skill * np.eye(3)[INDEX]
    return proba / proba.sum(1, keepdims=True)


def row(strategy, skill, *, encoders=("mocov2-mini@0.75",), labels=None, seeds=(0, 1), head="concat", noise=0):
    """A row whose probabilities depend on skill, seeds and noise only."""
    proba = np.stack([guesses(skill, 100 * noise + seed) for seed in seeds])
    seconds = tuple(1.5 + seed for seed in seeds)
    return table.Row(encoders, head, strategy, labels, 1e-5, tuple(seeds), proba, seconds, 1000, 2000)


def judged(rows, **options):
    return table.judge(rows, Y, CLASSES, GROUPS, **{"resamples": 50} | options)


def compared(rows, **options):
    return table.paired(judged(rows, resamples=200), **options)


def test_a_line_is_the_mean_and_the_spread_of_single_seeds():
    single = [score.score(Y, guesses(0.2, seed), CLASSES, GROUPS, resamples=50, seed=3).auc.value for seed in range(3)]
    accuracies = [metrics.balanced_accuracy(INDEX, guesses(0.2, seed))(np.ones(96)) for seed in range(3)]
    (line,) = judged([row("full", 0.2, seeds=(0, 1, 2))], seed=3)
    assert line.figures.auc.value == pytest.approx(np.mean(single))
    assert line.auc_sd == pytest.approx(np.std(single, ddof=1))
    assert line.figures.balanced_accuracy.value == pytest.approx(np.mean(accuracies))
    assert line.balanced_accuracy_sd == pytest.approx(np.std(accuracies, ddof=1))
    assert line.figures.groups == 8
    stacked = np.stack([guesses(0.2, seed) for seed in range(3)])
    assert line.figures == score.score(Y, stacked, CLASSES, GROUPS, resamples=50, seed=3)


def test_one_seed_has_no_spread():
    (line,) = judged([row("full", 0.2, seeds=(0,))])
    assert (line.auc_sd, line.balanced_accuracy_sd) == (None, None)


def test_ranks_within_a_cell_and_their_means_by_hand():
    two = ("mae-mini@0.5",)
    rows = [
        # one cell: a tie for the first place, so 1.5, 1.5 and 3
        *(row("full", 0.5), row("probe", 0.5), row("lora", 0.1)),
        # other encoders: 1, 2, 3
        *(row("probe", 0.1, encoders=two), row("full", 0.3, encoders=two), row("lora", 0.9, encoders=two)),
        # other labels: lora is missing
        *(row("full", 0.9, labels=60), row("probe", 0.1, labels=60)),
        # another head; alone, so no rank is earned
        row("probe", 0.2, head="gated"),
        # raw pixels, with a strategy that no other has
        row("pixels", 0.1, encoders=()),
    ]
    lines = judged(rows)
    assert [line.rank for line in lines] == [1.5, 1.5, 3, 3, 2, 1, 1, 2, 1, 1]
    means = {line.row.strategy: (line.mean_rank, line.ranked_in) for line in lines}
    assert means["full"] == (pytest.approx((1.5 + 2 + 1) / 3), 3)
    assert means["probe"] == (pytest.approx((1.5 + 3 + 2) / 3), 3)
    assert means["lora"] == ((3 + 1) / 2, 2)
    assert means["pixels"] == (None, 0)


def test_a_rounding_error_breaks_no_tie():
    ranks, _ = table._ranks([row("full", 0.5), row("probe", 0.5)], [0.1 + 0.2, 0.3])
    assert ranks == [1.5, 1.5]


def test_comparisons_are_paired_and_corrected_by_hand():
    rows = [row("full", 0.5), row("probe", 0.1), row("lora", 0.45, noise=1), row("lp-ft", 0.5)]
    found = compared(rows)
    assert [(c.strategy, c.reference) for c in found] == [("probe", "full"), ("lora", "full"), ("lp-ft", "full")]
    assert {(c.encoders, c.head, c.labels) for c in found} == {(("mocov2-mini@0.75",), "concat", None)}
    for comparison, other in zip(found, rows[1:], strict=True):
        first, second = (score.score(Y, r.probabilities, CLASSES, GROUPS, resamples=200) for r in (other, rows[0]))
        assert comparison.difference.auc == (first - second).auc
        gain = comparison.difference.auc
        assert comparison.p == (first - second).p_value("auc")
        assert (comparison.p < 0.05) == (gain.low > 0 or gain.high < 0)
    worst, middle, same = found
    assert worst.difference.auc.value < -0.05
    assert worst.p < 0.01 < middle.p < 1
    assert (same.difference.auc.value, same.p) == (0, 1)
    # Benjamini and Yekutieli: p(i) * m / i * (1 + 1/2 + ... + 1/m), then the least of it and of all above, at most 1
    factor = 3 * (1 + 1 / 2 + 1 / 3)
    assert worst.corrected == pytest.approx(min(1, factor * worst.p, factor / 2 * middle.p))
    assert middle.corrected == pytest.approx(min(1, factor / 2 * middle.p))
    assert same.corrected == 1


def test_the_correction_is_over_all_cells():
    cell = [row("full", 0.9), row("probe", 0.1)]
    (alone,) = compared(cell)
    first, _ = compared([*cell, row("full", 0.9, labels=60), row("probe", 0.1, labels=60)])
    assert alone.corrected == alone.p
    assert first.corrected == pytest.approx(1.5 * first.p)  # equal p: m / m * (1 + 1/2)


def test_a_row_without_a_reference_in_its_cell_has_no_partner():
    rows = [row("full", 0.5), row("probe", 0.1, labels=60), row("pixels", 0.1, encoders=())]
    assert compared(rows) == []
    assert len(compared([*rows, row("probe", 0.1)])) == 1
    assert compared([row("full", 0.5), row("probe", 0.1)], reference="probe")[0].strategy == "full"


def test_several_labels_per_image_pass_through():
    y = np.stack([INDEX == 0, INDEX != 1, INDEX == 2], 1).astype(int)
    rows = [row("full", 0.5), row("probe", 0.1)]
    expected = score.score(y, rows[0].probabilities, CLASSES, GROUPS, resamples=50)
    assert table.judge(rows, y, CLASSES, GROUPS, resamples=50)[0].figures == expected
    assert len(table.paired(table.judge(rows, y, CLASSES, GROUPS, resamples=50))) == 1


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_reads_back():
    rows = [
        row("full", 0.5, encoders=("mocov2-mini@0.75", "mae-mini@1"), labels=60),
        row('probe, "mine"', 0.1, encoders=("mocov2-mini@0.75", "mae-mini@1"), labels=60),
        row("probe", 0.1, encoders=(), labels=0.1, seeds=(4,)),
        dataclasses.replace(row("probe", 0.1), learning_rate=None),
    ]
    lines, comparisons = judged(rows), compared(rows)
    text = table.table_csv(lines, comparisons)
    assert "\r" not in text
    first, second, pixels, last = read(text)
    assert tuple(first) == table.COLUMNS
    assert first["encoders"] == "mocov2-mini@0.75 + mae-mini@1"
    assert [r["labels"] for r in (first, pixels, last)] == ["60", "0.1", "all"]
    assert [r["learning_rate"] for r in (first, last)] == ["1e-05", ""]
    assert [r["seeds"] for r in (first, pixels)] == ["0 1", "4"]
    assert (second["strategy"], pixels["encoders"]) == ('probe, "mine"', "raw pixels")
    assert (pixels["auc_sd"], pixels["mean_rank"], pixels["ranked_in"]) == ("", "", "0")
    assert (first["rank"], second["rank"]) == ("1.0000", "2.0000")
    assert (first["groups"], first["images"], first["resamples"]) == ("8", "96", "50")
    assert (first["trained"], first["parameters"]) == ("1000", "2000")
    assert (first["seconds_mean"], first["seconds_total"]) == ("2.0000", "4.0000")
    for found, line in zip((first, second, pixels, last), lines, strict=True):
        auc, accuracy = line.figures.auc, line.figures.balanced_accuracy
        assert [found[f"auc{end}"] for end in ("", "_low", "_high")] == [
            f"{v:.4f}" for v in (auc.value, auc.low, auc.high)
        ]
        assert float(found["balanced_accuracy_low"]) == pytest.approx(accuracy.low, abs=5e-5)
        assert float(found["calibration_error"]) == pytest.approx(line.figures.calibration_error.value, abs=5e-5)
    assert first["reference"] == first["p"] == ""
    assert second["reference"] == "full"
    assert float(second["auc_difference"]) == pytest.approx(comparisons[0].difference.auc.value, abs=5e-5)
    assert (second["p"], second["p_corrected"]) == (
        words.p_text(comparisons[0].p),
        words.p_text(comparisons[0].corrected),
    )


def test_timing_stands_last_so_that_two_runs_agree_before_it():
    slow = [row("full", 0.5), row("probe", 0.1)]
    fast = [dataclasses.replace(r, seconds=(0.1, 0.2)) for r in slow]
    texts = [table.table_csv(judged(rows), compared(rows)) for rows in (slow, fast)]
    kept = [[line.rsplit(",", 2)[0] for line in text.splitlines()] for text in texts]
    assert kept[0] == kept[1]
    assert texts[0] != texts[1]
    assert kept[0][0].endswith("parameters")


def test_a_csv_without_lines_still_has_its_columns():
    assert table.table_csv([], []) == ",".join(table.COLUMNS) + "\n"


def test_no_figure_is_minus_zero_and_no_p_is_zero():
    assert table._figure(-0.00001) == "0.0000"
    assert [words.p_text(p) for p in (1, 0.0012345, 0.00001)] == ["1.0000", "0.0012", "1.0e-05"]


def test_a_strategy_twice_in_a_cell_is_refused():
    message = r"rows must hold a strategy once per .* \(got full on mocov2-mini@0.75, concat, all labels twice\)"
    for function in (judged, compared):
        with pytest.raises(ValueError, match=message):
            function([row("full", 0.5), row("full", 0.1)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": (0,)}, r"probabilities and seconds must be one per seed \(got \(2, 96, 3\) and 2 for 1\)"),
        ({"seconds": (1.0,)}, r"must be one per seed \(got \(2, 96, 3\) and 1 for 2\)"),
        ({"probabilities": guesses(0, 0)}, r"must be one per seed \(got \(96, 3\) and 2 for 2\)"),
        ({"probabilities": np.full((2, 96, 3), np.nan)}, r"probabilities must be finite \(got nan or inf from full on"),
        ({"seeds": (), "seconds": (), "probabilities": np.empty((0, 96, 3))}, "must be one per seed"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(row("full", 0.5), **change)


def test_one_group_is_refused():
    with pytest.raises(ValueError, match="groups must hold at least two patients"):
        table.judge([row("full", 0.5)], Y, CLASSES, np.zeros(96))


def test_comparisons_of_other_lines_or_twice_are_refused_in_one_csv():
    rows = [row("full", 0.5), row("probe", 0.1)]
    lines, comparisons = judged(rows), compared(rows)
    for wrong in (comparisons * 2, [dataclasses.replace(comparisons[0], labels=60)]):
        with pytest.raises(ValueError, match="comparisons must be of these lines, one each"):
            table.table_csv(lines, wrong)


def test_a_difference_without_an_interval_has_no_p_value_and_corrects_no_other():
    few = np.where(np.isin(GROUPS, np.unique(GROUPS)[:2]), Y, np.where(CLASSES[2] == Y, CLASSES[1], Y))
    lines = table.judge([row("full", 0.5), row("probe", 0.1)], few, CLASSES, GROUPS, resamples=50)
    (found,) = table.paired(lines)
    assert np.isnan([found.p, found.corrected, found.difference.auc.low]).all()
    assert read(table.table_csv(lines, [found]))[1]["p"] == "\N{EN DASH}"
    corrected = table._corrected(np.array([0.01, np.nan, 0.04]))
    assert corrected == pytest.approx([0.03, np.nan, 0.06], nan_ok=True)  # of two: p * 2 / rank * (1 + 1/2)
