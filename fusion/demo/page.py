"""The demo's self-contained HTML report: table, depth curve, confusion matrix, how the choices were made."""

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from fusion.data.samples import Samples
from fusion.demo.features import DEPTHS, ENCODERS, SEEDS
from fusion.demo.protocol import BUDGETS, DRAWS, FUSION, SINGLE, Choice, Outcome, Pick
from fusion.report.html import fill
from fusion.report.style import COLOURS, MARKERS, svg


def render(rows: list[Outcome], test: Samples, seconds: float) -> str:
    """One HTML page without links to anything outside it."""
    values = {
        "tables": [(budget_name(budget), _of(rows, budget)) for budget in BUDGETS],
        "curve": svg(depth_curve(rows)),
        "confusion": svg(confusion(rows, test)),
        "images": rows[0].test.images,
        "groups": rows[0].test.groups,
        "resamples": rows[0].test.resamples,
        "draws": len(DRAWS),
        "seeds": len(SEEDS),
        "seconds": round(seconds),
        "name": row_name,
        "spread": spread,
    }
    return fill("fusion.demo", values)


def budget_name(budget: int | None) -> str:
    """The budget in words."""
    return "all labels" if budget is None else f"{budget} labels"


def row_name(choice: Choice) -> str:
    """The row, with what its draws picked where the name does not say it."""
    if choice.row not in (FUSION, SINGLE):
        return choice.row
    picked = dict.fromkeys(_picked(pick, choice.row) for pick in choice.picks)  # each once, in the order of the draws
    return f"{choice.row}: {', '.join(picked)}"


def spread(row: Outcome) -> str:
    """The standard deviation of the AUC over draws in words; of one draw there is none."""
    return "-" if row.spread is None else f"{row.spread:.3f}"


def _picked(pick: Pick, row: str) -> str:
    return pick.blocks[0] if row == SINGLE else f"@ {' + '.join(f'{depth:g}' for depth in pick.depths)}"


def depth_curve(rows: list[Outcome]) -> Figure:
    """Validation and test AUC over depth, a panel per label budget."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, len(BUDGETS), sharey=True)
    for panel, budget in zip(panels, BUDGETS, strict=True):
        for name, colour, marker in zip(ENCODERS, COLOURS, MARKERS, strict=False):
            curve = [row for row in _of(rows, budget) if row.choice.row.startswith(f"{name} @")]
            panel.plot(DEPTHS, [r.test.auc.value for r in curve], color=colour, marker=marker, label=f"{name}, test")
            held = [r.choice.validation for r in curve]
            panel.plot(DEPTHS, held, color=colour, marker=marker, ls=":", alpha=0.7, label=f"{name}, validation")
        fused = next(row for row in _of(rows, budget) if row.choice.row == FUSION)
        panel.axhline(fused.test.auc.value, color=COLOURS[2], ls="--", label="fusion, test")
        panel.set(title=budget_name(budget), xlabel="depth", xticks=DEPTHS)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("AUC")
    panels[-1].legend(fontsize=7)
    return figure


def confusion(rows: list[Outcome], test: Samples) -> Figure:
    """The fusion's confusion matrix with all labels, as shares of each true region."""
    fused = next(row for row in _of(rows, None) if row.choice.row == FUSION)
    names = np.unique(test.labels)
    shares = confusion_matrix(test.labels, fused.decisions[0], labels=names, normalize="true")
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    panel = figure.subplots()
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(shares):
        panel.text(
            j, i, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.5 else "black", fontsize=8
        )
    panel.set(xlabel="predicted", ylabel="true", xticks=range(len(names)), yticks=range(len(names)))
    panel.set_xticklabels(names, rotation=30, ha="right")
    panel.set_yticklabels(names)
    return figure


def _of(rows: list[Outcome], budget: int | None) -> list[Outcome]:
    return [row for row in rows if row.choice.budget == budget]
