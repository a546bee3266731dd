"""The tables of a study: means over seeds, intervals over groups, ranks, and paired tests with a correction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from fusion.evaluation import intervals, score
from fusion.evaluation.score import Evaluation
from fusion.report.words import Labels, csv_text, encoders_name, labels_name, p_text

Floats = npt.NDArray[np.float64]
Place = tuple[tuple[str, ...], str, Labels]  # encoders, head, labels: what strategies are ranked within

_GAIN = ("reference", "auc_difference", "auc_difference_low", "auc_difference_high", "p", "p_corrected")
COLUMNS = (
    *("encoders", "head", "strategy", "labels", "learning_rate", "seeds"),
    *("auc", "auc_low", "auc_high", "auc_sd"),
    *("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "balanced_accuracy_sd"),
    *("calibration_error", "rank", "mean_rank", "ranked_in"),
    *_GAIN,
    *("images", "groups", "resamples", "trained", "parameters"),
    *("seconds_mean", "seconds_total"),  # last: two runs agree in what is before
)


@dataclass(frozen=True, eq=False)
class Row:
    """Result of one cell of a study.

    Attributes:
        encoders: Names with depths, such as `mocov2-mini@0.75`; none stands for raw pixels.
        head, strategy: Their names.
        labels: Drawn images (int), a share of them in (0, 1] (float), or None for all.
        learning_rate: The one that was taken, if there is one.
        seeds: One per training.
        probabilities: (S, N, K), of the part that is judged, one (N, K) per seed.
        seconds: Of each training.
        trained, parameters: How many parameters moved, and how many the model holds.

    Raises:
        ValueError: Probabilities or seconds are not one per seed, or a probability is not finite.
    """

    encoders: tuple[str, ...]
    head: str
    strategy: str
    labels: Labels
    learning_rate: float | None
    seeds: tuple[int, ...]
    probabilities: Floats
    seconds: tuple[float, ...]
    trained: int
    parameters: int

    def __post_init__(self) -> None:
        shape, count = np.shape(self.probabilities), len(self.seeds)
        if len(shape) != 3 or not count or (shape[0], len(self.seconds)) != (count, count):
            raise ValueError(
                f"probabilities and seconds must be one per seed (got {shape} and {len(self.seconds)} for {count}). "
                "Stack them as (S, N, K)."
            )
        if not np.isfinite(self.probabilities).all():
            raise ValueError(f"probabilities must be finite (got nan or inf from {name(self)}). List it as a failure.")

    @property
    def cell(self) -> Place:
        """Strategies are ranked and compared among rows of the same cell."""
        return self.encoders, self.head, self.labels


@dataclass(frozen=True)
class Line:
    """A row, judged.

    Attributes:
        row: What was judged.
        figures: Means over seeds; the intervals are over groups, for these seeds.
        auc_sd, balanced_accuracy_sd: Standard deviations over seeds; None with one seed.
        rank: By AUC among the strategies of its cell; 1 is best, ties share the mean of their ranks.
        mean_rank: Of the strategy, over all cells that have a second one; None where there is none.
        ranked_in: The number of these cells; mean ranks of strategies from unlike cells are not comparable.
    """

    row: Row
    figures: Evaluation
    auc_sd: float | None
    balanced_accuracy_sd: float | None
    rank: float
    mean_rank: float | None
    ranked_in: int


@dataclass(frozen=True)
class Against:
    """One strategy minus the reference on the same encoders, head and labels.

    Attributes:
        encoders, head, labels: As in `Row`.
        strategy, reference: The names of both sides; the difference is the first minus the second.
        difference: Paired over groups.
        p: Two-sided, of the AUC, as the interval of its difference has it; NaN where that has none.
        corrected: `p` corrected for all comparisons of the table.
    """

    encoders: tuple[str, ...]
    head: str
    labels: Labels
    strategy: str
    reference: str
    difference: Evaluation
    p: float
    corrected: float


def judge(
    rows: Sequence[Row], y: Any, classes: Any, groups: Any = None, *, resamples: int = 1000, seed: int = 0
) -> list[Line]:
    """Means, spreads, intervals and ranks of rows that were predicted on the same images.

    Args:
        rows: Each strategy at most once per encoders, head and labels.
        y: (N,) labels, or whatever else `evaluation.score` takes.
        classes: (K,) the columns of the probabilities.
        groups: (N,) patients; None means that every image is a patient of its own.
        resamples: Draws of the bootstrap.
        seed: Of the draws.

    Raises:
        ValueError: A strategy is twice in a cell, or what `evaluation.score` refuses.
    """
    _distinct(rows)
    figures = [_score(row, y, classes, groups, resamples, seed) for row in rows]
    ranks, means = _ranks(rows, [f.auc.value for f in figures])
    lines = []
    for i, row in enumerate(rows):
        # One draw, which nobody looks at: the values of the single seeds are wanted.
        single = [score.score(y, proba, classes, groups, resamples=1, seed=seed) for proba in row.probabilities]
        spreads = _sd([s.auc.value for s in single]), _sd([s.balanced_accuracy.value for s in single])
        lines.append(Line(row, figures[i], *spreads, ranks[i], *means[row.strategy]))
    return lines


def paired(lines: Sequence[Line], reference: str = "full") -> list[Against]:
    """Every strategy against the reference in the same cell, on the same draws of groups.

    The differences share a reference and the images, so they depend on each other. The values are therefore corrected
    by the procedure of Benjamini and Yekutieli, which holds the false discovery rate under any dependence.

    Args:
        lines: From one call of `judge`; those whose cell lacks the reference have no partner and are left out.
        reference: The strategy that the others are held against.

    Source: Benjamini and Yekutieli 2001, "The control of the false discovery rate in multiple testing under
    dependency", Annals of Statistics 29 (4), theorem 1.3.
    """
    references = {line.row.cell: line.figures for line in lines if line.row.strategy == reference}
    others = [line for line in lines if line.row.strategy != reference and line.row.cell in references]
    gains = [line.figures - references[line.row.cell] for line in others]
    values = np.array([gain.p_value("auc") for gain in gains])
    return [
        Against(*line.row.cell, line.row.strategy, reference, gain, float(p), float(q))
        for line, gain, p, q in zip(others, gains, values, _corrected(values), strict=True)
    ]


def table_csv(lines: Iterable[Line], comparisons: Iterable[Against] = ()) -> str:
    """The lines as CSV, each with its comparison; figures at 4 decimals, settings in full, timing in the last columns.

    Raises:
        ValueError: A comparison is of no line, or two are of the same.
    """
    lines, comparisons = list(lines), list(comparisons)
    found = {(c.encoders, c.head, c.labels, c.strategy): c for c in comparisons}
    if len(found) != len(comparisons) or not found.keys() <= {(*line.row.cell, line.row.strategy) for line in lines}:
        raise ValueError(
            f"comparisons must be of these lines, one each (got {len(comparisons)} of {len(found)} rows for "
            f"{len(lines)} lines). Write a file per reference."
        )
    return csv_text(COLUMNS, (_record(line, found.get((*line.row.cell, line.row.strategy))) for line in lines))


def name(row: Row) -> str:
    """The whole row in words."""
    return f"{row.strategy} on {encoders_name(row.encoders)}, {row.head}, {labels_name(row.labels)}"


def _corrected(values: Floats) -> Floats:
    """Those that are known, corrected for each other."""
    corrected, known = values.copy(), ~np.isnan(values)
    if known.any():
        corrected[known] = stats.false_discovery_control(values[known], method="by")
    return corrected


def _score(row: Row, y: Any, classes: Any, groups: Any, resamples: int, seed: int) -> Evaluation:
    return score.score(y, row.probabilities, classes, groups, resamples=resamples, seed=seed)


def _distinct(rows: Sequence[Row]) -> None:
    seen = set()
    for row in rows:
        if (key := (*row.cell, row.strategy)) in seen:
            raise ValueError(
                f"rows must hold a strategy once per encoders, head and labels (got {name(row)} twice). "
                "Keep the learning rate that was chosen."
            )
        seen.add(key)


def _ranks(rows: Sequence[Row], values: Sequence[float]) -> tuple[list[float], dict[str, tuple[float | None, int]]]:
    """The rank of each row in its cell, and per strategy the mean over cells and their number."""
    cells: dict[Place, list[int]] = {}
    for i, row in enumerate(rows):
        cells.setdefault(row.cell, []).append(i)
    ranks = np.zeros(len(rows))
    earned: dict[str, list[float]] = {row.strategy: [] for row in rows}
    for members in cells.values():
        # Rounded, so that the order of a sum does not break a tie.
        ranks[members] = stats.rankdata([-round(values[i], 12) for i in members])
        for i in members if len(members) > 1 else ():  # the first of one is no win
            earned[rows[i].strategy].append(float(ranks[i]))
    means = {strategy: (float(np.mean(own)) if own else None, len(own)) for strategy, own in earned.items()}
    return ranks.tolist(), means


def _sd(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _record(line: Line, compared: Against | None) -> list[Any]:
    row, figures = line.row, line.figures
    labels = "all" if row.labels is None else row.labels
    rate = "" if row.learning_rate is None else f"{row.learning_rate:g}"
    gain = [""] * len(_GAIN)
    if compared is not None:
        values = map(p_text, (compared.p, compared.corrected))
        gain = [compared.reference, *_interval(compared.difference.auc), *values]
    return [
        *(encoders_name(row.encoders), row.head, row.strategy, labels, rate, " ".join(map(str, row.seeds))),
        *(*_interval(figures.auc), _figure(line.auc_sd)),
        *(*_interval(figures.balanced_accuracy), _figure(line.balanced_accuracy_sd)),
        *(_figure(figures.calibration_error.value), _figure(line.rank), _figure(line.mean_rank), line.ranked_in),
        *gain,
        *(figures.images, figures.groups, figures.resamples, row.trained, row.parameters),
        *(_figure(float(np.mean(row.seconds))), _figure(sum(row.seconds))),
    ]


def _interval(interval: intervals.Interval) -> list[str]:
    return [_figure(value) for value in (interval.value, interval.low, interval.high)]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:z.4f}"  # z: no minus before a rounded zero
