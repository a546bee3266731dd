"""What a study's folder holds, told: how far it is, its tables, its page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.data import writing
from fusion.data.samples import Samples
from fusion.data.sets.sources import BRAIN_REGIONS, divided
from fusion.evaluation import score
from fusion.study import choice, folder
from fusion.study import config as config_
from fusion.study.cell import held
from fusion.study.choice import Chosen, Floats, Predictions, Records
from fusion.study.config import Config
from fusion.study.grid import Cell
from fusion.study.results import page, table
from fusion.study.results.table import Line, Row

_BRAIN = "Which of six brain regions is at the centre of a 64 x 64 axial T1 patch?"
_BRAINS = (
    "Training and validation patches come from slabs of one brain (Colin27), test patches from another (MNI152): one "
    "brain against one brain."
)
_SLABS = "All patches come from slabs of one brain (Colin27): this says nothing about another brain."
# With fewer groups, bootstrap intervals cover clearly less than the 95 % they name (of 6 groups, about 85 %).
_FEW = 20
_CHOICES = (
    "The learning rate of each row is the one with the highest AUC on the validation part, mean over seeds.",
    "Each side of a contest is the row with the highest AUC on the validation part, mean over seeds.",
    "Learning rate and best epoch are chosen on the validation part: its figures and tests flatter what is fine-tuned.",
    "Nothing is predicted or judged on the test part before all choices are made.",
    "Seconds are of the chosen learning rate, with other cells running beside; contests are not corrected for number.",
)


@dataclass(frozen=True)
class State:
    """Progress of a study: how far it is.

    Attributes:
        done, failed, missing: Cells in words; of failed ones with the error.
        skipped: Those whose package is not installed, with the reason.
        pace: Seconds that a cell takes, as those that are done did side by side; None before anything is.
    """

    done: list[str]
    failed: dict[str, str]
    missing: list[str]
    skipped: dict[str, str]
    pace: float | None

    @property
    def seconds(self) -> float | None:
        """Seconds that are left, estimated from what is done; None before anything is."""
        return None if self.pace is None else self.pace * len(self.missing)


def state(output: Path) -> State:
    """Tell how far the study in the folder is.

    Raises:
        OSError: No study was begun there.
    """
    study = folder.study(output)
    found = [(_named(cell), folder.record(output, cell.key)) for cell in cells(study)]
    done = [name for name, record in found if record and record["status"] == "done"]
    failed = {name: record["error"] for name, record in found if record and record["status"] == "failed"}
    missing = [name for name, record in found if not record]
    spent = [record["seconds"] for _, record in found if record and record["status"] == "done"]
    pace = float(np.mean(spent)) / study["jobs"] if spent else None
    return State(done, failed, missing, study["skipped"], pace)


def _named(cell: Cell) -> str:
    return f"{cell}, random weights" if cell.untrained else str(cell)


@dataclass(frozen=True)
class Judged:
    """Labels and groups that rows are judged against.

    Attributes:
        labels: (N,) labels or (N, K) 0/1.
        groups: (N,) patients, or None.
        classes: (K,) the columns of the probabilities.
    """

    labels: npt.NDArray[Any]
    groups: npt.NDArray[Any] | None
    classes: npt.NDArray[Any]


@dataclass(frozen=True)
class Results:
    """Content that the report is made of.

    Attributes:
        config: That the folder was begun with.
        study: What `study.json` says.
        chosen: Rows with their learning rates; random weights among them.
        records: What landed.
        validation: Judged rows, and against what.
        test: Judged rows of the test part, and against what; None before the final table was asked for.
    """

    config: Config
    study: dict[str, Any]
    chosen: list[Chosen]
    records: Records
    validation: tuple[list[Row], Judged]
    test: tuple[list[Row], Judged] | None


def cells(study: dict[str, Any]) -> list[Cell]:
    """The cells that `study.json` lists."""
    return [Cell(**{**values, "encoders": tuple(values["encoders"])}) for values in study["cells"].values()]


def write(output: Path) -> list[Path]:
    """Write `report.html`, `results.csv` (validation) and, after the final table, `results-test.csv` into the folder.

    Raises:
        OSError: No study was begun there.
        ValueError: No cell is done yet.
    """
    found = results(output)
    validation = lines(*found.validation)
    test = lines(*found.test) if found.test else None
    reference = found.config.reference
    texts = {"results.csv": table.table_csv(validation, table.paired(validation, reference))}
    if test:
        texts["results-test.csv"] = table.table_csv(test, table.paired(test, reference))
    texts["report.html"] = page.render(_page(output, found, validation, test))
    for name, text in texts.items():
        writing.write(output / name, text)
    return [output / name for name in texts]


def results(output: Path) -> Results:
    """Read the folder."""
    study = folder.study(output)
    config = config_.parse(folder.config(output), str(output / "config.yaml"))
    records = folder.records(output, study["cells"])
    chosen = choice.choose(cells(study), records)
    if not any(not row.row.untrained for row in chosen):
        raise ValueError(f"{output} must hold results (got no cell that is done). Go on with: fusion study run.")
    picked = [row for row in chosen if not row.row.untrained]
    first = folder.arrays(output / "cells" / f"{picked[0].row.key}.npz", "probabilities")
    validation = [as_row(row, records, lambda c: _proba(output / "cells", c)) for row in picked]
    test = None
    if all((output / "final" / f"{cell.key}.npz").exists() for row in picked for cell in row.cells):
        rows = [as_row(row, records, lambda c: _proba(output / "final", c)) for row in picked]
        test = rows, _part(output / "final" / "part.npz", first["classes"])
    return Results(
        config, study, chosen, records, (validation, _part(output / "validation.npz", first["classes"])), test
    )


def mechanics(output: Path, found: Results) -> list[Line]:
    """The lines of random weights, on the few images that they were tried on."""
    chosen = [row for row in found.chosen if row.row.untrained]
    part = found.validation[1]
    rows = [as_row(row, found.records, lambda c: _proba(output / "cells", c)) for row in chosen]
    if not rows:
        return []
    few = held(Samples(np.arange(len(part.labels)), part.labels), chosen[0].row.labels)
    return lines(rows, Judged(few.labels, None, part.classes))


def contests(found: Results) -> list[page.Decided]:
    """The pairs that validation picked, judged on the test part; none before that is open."""
    if found.test is None:
        return []
    rows, part = found.test
    places = {id(row): i for i, row in enumerate(row for row in found.chosen if not row.row.untrained)}
    said = []
    for pair in choice.pair(found.config, found.chosen):
        ours, theirs = (rows[places[id(side)]].probabilities for side in (pair.ours, pair.theirs))
        said.append((pair.name, str(pair.ours), str(pair.theirs), difference(ours, theirs, part)))
    return said


def as_row(chosen: Chosen, records: Records, answers: Predictions) -> Row:
    """The row for `fusion.study.results.table`, with the probabilities that `answers` gives for its cells."""
    own = [records[cell.key] for cell in chosen.cells]
    cell = chosen.row
    return Row(
        encoders=cell.encoders,
        head=cell.head,
        strategy=cell.strategy,
        labels=cell.labels,
        learning_rate=cell.learning_rate,
        seeds=tuple(cell.seed for cell in chosen.cells),
        probabilities=np.stack([answers(cell) for cell in chosen.cells]),
        seconds=tuple(record["seconds"] for record in own),
        trained=own[0]["trained"],
        parameters=own[0]["parameters"],
    )


def lines(rows: Sequence[Row], part: Judged) -> list[Line]:
    """The judged rows; none of none."""
    return table.judge(rows, part.labels, part.classes, part.groups) if rows else []


def difference(ours: Floats, theirs: Floats, part: Judged) -> score.Evaluation:
    """The figures of one side (S, N, K) minus those of the other, paired."""
    first, second = (score.score(part.labels, side, part.classes, part.groups) for side in (ours, theirs))
    return first - second


def _page(output: Path, found: Results, validation: list[Line], test: list[Line] | None) -> page.StudyPage:
    now = state(output)
    config = found.config
    data = "" if found.study["source"] == config.data else f" --data {found.study['source']}"
    return page.StudyPage(
        title=config.title or config.name,
        task=_task(found.study["source"]) + _view(config),
        command=f"fusion study run config.yaml{data}{' --final' if found.test else ''}",
        settings=config.model_dump(mode="json", exclude={"small"}),
        validation=validation,
        test=test,
        comparisons=table.paired(test or validation, config.reference),
        contests=contests(found),
        compared_on="test" if found.test else "validation",
        warnings=_warnings(found, now),
        choices=_CHOICES,
        mechanics=mechanics(output, found),
        failures=list(now.failed.items()),
    )


def _task(source: str) -> str:
    base, fold = divided(source)
    brain = base == BRAIN_REGIONS
    said = _BRAIN if brain else f"Data: {base}."
    if fold is None:
        return f"{said} {_BRAINS}" if brain else said
    said += f" Fold {fold[0]} of {fold[1]} is the test part, the next one validation, the others training."
    return f"{said} {_SLABS}" if brain else said


def _view(config: Config) -> str:
    """Which window the images were read by, where the config has one."""
    return "" if config.window is None else " Images are read by the window [{:g}, {:g}].".format(*config.window)


def _warnings(found: Results, now: State) -> list[str]:
    part = found.validation[1]
    groups = len(part.labels if part.groups is None else np.unique(part.groups))
    said = [f"Only {groups} groups: intervals are narrower than they should be."] if groups < _FEW else []
    said += [f"{len(now.missing)} of {len(found.study['cells'])} cells are missing."] if now.missing else []
    said += [f"Failed: {len(now.failed)} cells."] if now.failed else []
    said += [f"Left out: {what}: {why}." for what, why in found.study["left_out"].items()]
    reasons = dict.fromkeys(now.skipped.values())
    return said + [f"Skipped, {list(now.skipped.values()).count(why)} cells: {why}" for why in reasons]


def _proba(place: Path, cell: Cell) -> Any:
    return folder.arrays(place / f"{cell.key}.npz", "probabilities")["probabilities"]


def _part(path: Path, classes: Any) -> Judged:
    kept = folder.arrays(path, "labels")
    return Judged(kept["labels"], kept.get("groups"), classes)
