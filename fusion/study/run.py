"""Studies: a grid of encoders, strategies, label budgets and seeds, run in parallel, gone on with after any end.

from fusion import study, study_config
study.run(study_config.read("s1-strategies"), "output", data="images/", jobs=4)

A config with folds or targets is a series of studies: `run_series`.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from fusion.data import sources
from fusion.data.sources import Part
from fusion.study import cell as cell_
from fusion.study import check, choice, encoders, series
from fusion.study import folder as folder_
from fusion.study.cell import Task
from fusion.study.config import Config
from fusion.study.grid import Cell

Step = Callable[[dict[str, Any]], None]

_BARREN = 2  # pools in a row that died before they did anything


@dataclass(frozen=True)
class Plan:
    """A study on its data, before it runs.

    Attributes:
        config: As read.
        source: Where the data lie, or `brain-regions`.
        cells: To be there at the end.
        left_out: Combinations that cannot exist, with the reason.
        skipped: Cells whose optional package is not installed, with the reason.
        fingerprint: Of the data.
        train, validation: The parts.
    """

    config: Config
    source: str
    cells: list[Cell]
    left_out: dict[str, str]
    skipped: dict[str, str]
    fingerprint: str
    train: Part
    validation: Part


def plan(config: Config, data: str | Path | None = None) -> Plan:
    """Check a config against what is installed, and lay its cells out on the data.

    Args:
        config: Of the study.
        data: A folder per class, a CSV, an `.npz` or `brain-regions`, or a fold of one of them; None takes the
            config's.

    Raises:
        ValueError: No data are named or they cannot be read, or the config names an encoder, head, strategy or
            field of training that does not exist, or is that of a series.
    """
    check.check(config)
    if config.several:
        raise ValueError(f"config must be of one study ({config.name} has folds or targets). Call study.run_series.")
    source = sources.source(config, data)
    train, validation = sources.open_parts(source)
    fingerprint = sources.fingerprint(train, validation)
    laid = encoders.lay_out(config, fingerprint)
    return Plan(config, source, laid.cells, laid.left_out, laid.skipped, fingerprint, train, validation)


def run(
    config: Config,
    output: str | Path,
    data: str | Path | None = None,
    jobs: int = 1,
    *,
    final: bool = False,
    announce: Callable[[Plan], None] = lambda _: None,
    step: Step = lambda _: None,
) -> Plan:
    """Compute every cell that is not there yet; then, where asked for, judge on the test part.

    Args:
        config: Of the study.
        output: Its folder; what is there of the same study is kept, and cells that failed are tried again.
        data: As in `plan`.
        jobs: Processes, of one thread each where there are several.
        final: Choose on validation, then open the test part, once. It stays closed otherwise.
        announce: Called with the plan before anything is computed.
        step: Called with each result.

    Raises:
        ValueError: As `plan`, or the folder belongs to another config or data set.
        OSError: The folder cannot be written, or another run holds it.
    """
    _check_jobs(jobs)
    output = Path(output)
    found = plan(config, data)
    with folder_.opened(output):
        folder_.agree(output, config.model_dump(mode="json"), _about(found, jobs))
        folder_.keep(output / "validation.npz", found.validation.labels, found.validation.groups)
        announce(found)
        _compute(_tasks(found, output, jobs), jobs, step)
        if final:
            if left := len(missing(found, output)):
                raise ValueError(f"every cell must be done before the test part is opened ({left} are not). Run again.")
            _judge(found, output)
        shutil.rmtree(output / "work", ignore_errors=True)
    return found


def run_series(
    config: Config,
    output: str | Path,
    data: str | Path | None = None,
    jobs: int = 1,
    *,
    final: bool = False,
    announce: Callable[[Plan], None] = lambda _: None,
    step: Step = lambda _: None,
) -> None:
    """Run each study of a config with folds or targets, in a folder of its own; one that fails does not stop the rest.

    Args:
        config: Of the series.
        output: Its folder.
        data: Of all its studies, where the config names neither data nor targets.
        jobs: As in `run`.
        final: As in `run`; each study chooses for itself.
        announce: Called with the plan of each study.
        step: Called with each result.

    Raises:
        ValueError: The config names what does not exist, or the folder belongs to another.
        OSError: The folder cannot be written, or another run holds it.
    """
    _check_jobs(jobs)
    check.check(config)

    def one(own: Config, folder: Path) -> None:
        run(own, folder, jobs=jobs, final=final, announce=announce, step=step)

    series.run(config, Path(output), one, data)


def missing(found: Plan, output: Path) -> list[Cell]:
    """The cells that are still to be computed."""
    return [cell for cell in found.cells if not folder_.done(output, cell.key)]


def kept(found: Plan) -> dict[str, int]:
    """For each encoder by name the bytes of the models that its cells keep, at most."""
    sizes: dict[str, int] = {}
    for cell in found.cells:
        for name in () if cell.untrained else cell.encoders:
            whole = cell.learning_rate is not None or encoders.is_random(name)
            own = encoders.size(name) if whole else 0
            stem = name.partition("@")[0]
            sizes[stem] = sizes.get(stem, 0) + own
    return sizes


def _check_jobs(jobs: int) -> None:
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1 (got {jobs}). Try jobs=1.")


def _about(found: Plan, jobs: int) -> dict[str, Any]:
    return {
        "fingerprint": found.fingerprint,
        "version": version("sslzoo"),
        "weights": {name: encoders.digest(name) for name in sorted(kept(found))},
        "source": found.source,
        "jobs": jobs,
        "cells": {cell.key: dataclasses.asdict(cell) for cell in found.cells},
        "left_out": found.left_out,
        "skipped": found.skipped,
    }


def task(found: Plan, output: Path, cell: Cell, *, alone: bool = False) -> Task:
    """What a worker needs for the cell."""
    training = dict(found.config.training)
    if cell.untrained and found.config.mechanics:
        training["epochs"] = found.config.mechanics.epochs
    return Task(
        cell=cell,
        output=output,
        definition=found.config.strategies.get(cell.strategy, cell.strategy),
        training=training,
        stop_images=found.config.stop_images,
        train=found.train,
        validation=found.validation,
        size=found.config.mechanics.size if found.config.mechanics else None,
        alone=alone,
    )


def _tasks(found: Plan, output: Path, jobs: int) -> list[Task]:
    return [task(found, output, cell, alone=jobs > 1) for cell in missing(found, output)]


def _compute(tasks: Sequence[Task], jobs: int, step: Step) -> None:
    """Every task once; one whose process dies is tried once more by itself, and then recorded as failed."""
    waiting, barren = {task.cell.key: task for task in tasks}, 0
    while waiting:
        before, output = len(waiting), tasks[0].output
        try:
            for record in _results(list(waiting.values()), jobs):
                del waiting[record["key"]]
                step(record)
        except TerminatedWorkerError:
            for key in folder_.begun(output) & waiting.keys():
                step(_by_itself(waiting.pop(key)))
            barren = barren + 1 if len(waiting) == before else 0
            if barren == _BARREN:
                raise OSError(f"workers must live to begin a cell (got {barren} times none). Lower --jobs.") from None


def _results(tasks: list[Task], jobs: int) -> Iterator[dict[str, Any]]:
    if not tasks[0].alone:
        return map(cell_.work, tasks)
    # Arrays go to the workers as copy-on-write maps of one file.
    place = tasks[0].output / "work"
    pool = Parallel(jobs, backend="loky", return_as="generator_unordered", mmap_mode="c", temp_folder=place)
    found: Iterator[dict[str, Any]] = pool(delayed(cell_.work)(task) for task in tasks)
    return found


def _by_itself(task: Task) -> dict[str, Any]:
    try:
        return next(_results([task], 2))
    except TerminatedWorkerError:
        return cell_.failed(task, ChildProcessError("the cell's process died twice, killed or out of memory"))


def _judge(found: Plan, output: Path) -> None:
    """Choose; only then open the test part, and let the kept models of what was chosen answer."""
    chosen = choice.choose(found.cells, folder_.records(output, [cell.key for cell in found.cells]))
    cells = [cell for row in chosen if not row.row.untrained for cell in row.cells]
    pairs = [(pair.name, str(pair.ours), str(pair.theirs)) for pair in choice.pair(found.config, chosen)]
    folder_.choose(output, {"cells": [cell.key for cell in cells], "contests": pairs})
    test = sources.open_test(found.source)
    sample = sources.fingerprint(test)
    folder_.keep(output / "final" / "part.npz", test.labels, test.groups)
    for cell in cells:
        if not folder_.answered(output, cell.key, sample):
            folder_.answer(output, cell.key, sample, cell_.answers(task(found, output, cell), test))
