"""One study: a grid of encoders, strategies, label budgets and seeds, run in parallel, gone on with after any end.

from fusion.study import config, run
run.run(config.read("s1-strategies"), "output", data="images/", jobs=4)

A config with folds or targets is a series of studies: `fusion.study.series`.
"""

import dataclasses
import difflib
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import zoo
from fusion.data import samples
from fusion.data.samples import Samples
from fusion.data.sets import sources
from fusion.heads import modules
from fusion.study import brain_mr, choice, encoders, engine, grid
from fusion.study import cell as cell_
from fusion.study import config as config_
from fusion.study import folder as folder_
from fusion.study.cell import Task
from fusion.study.config import Config
from fusion.study.engine import Step
from fusion.study.grid import Cell, Grid
from fusion.tuning import strategies
from fusion.tuning.settings import Training


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
    train: Samples
    validation: Samples


def check(config: Config) -> None:
    """Refuse a config that names what does not exist.

    Raises:
        ValueError: An encoder, head, strategy or field of training is unknown; the nearest are offered.
    """
    for name in _named(config):
        encoders.facts(name)
    for head in config.heads:
        _known("heads", head, modules.TRAINED)
    mechanics = config.mechanics.strategies if config.mechanics else []
    for told in map(config_.variant, [*config.strategies.values(), *mechanics]):
        definition = told["strategy"]
        _check_variant(told)
        parts = definition.values() if isinstance(definition, dict) else definition
        for name in [parts] if isinstance(parts, str) else parts:
            if isinstance(name, str):
                _known("strategies", name, strategies.strategies())
    for name in config.training:
        _known("training", name, [field.name for field in dataclasses.fields(Training)])
    Training(**{**config.training, "checkpoint": "work"})  # its values


def _check_variant(told: Mapping[str, Any]) -> None:
    if "alpha" in told:
        _known("alpha", told["strategy"], strategies.PULLED)
        if not told["alpha"] >= 0:
            raise ValueError(f"alpha must be a number from 0 (got {told['alpha']!r}). Try alpha: 0.01.")
    Training(statistics=told.get("statistics", "strategy"))  # its value
    select, still = told.get("select", "clean"), grid.frozen(told["strategy"])
    if select != "clean" and not (select == "shifted" and still):
        raise ValueError(
            f"select must be clean, or shifted of a strategy that trains nothing (got {select!r}). Drop it."
        )


def _check_window(config: Config, source: str) -> None:
    if config.window is None:
        return
    if sources.divided(source)[0] == sources.BRAIN_REGIONS:
        raise ValueError(f"window must be left out for {sources.BRAIN_REGIONS} (got {config.window}). Drop the key.")
    named = {name: encoders.own_window(name) for name in _named(config)}
    if other := {name: own for name, own in named.items() if own not in (None, config.window)}:
        raise ValueError(f"window must be that of the cards, {other} (got {config.window}). Change it or drop it.")


def check_offline(config: Config) -> None:
    """Refuse a config that would fetch weights.

    Raises:
        ValueError: An encoder's weights are not in the package.
    """
    cards = [encoders.card(name) for entry in config.encoders for name in entry]
    if fetched := sorted({card.name for card in cards if card and card.weights.repo is not None}):
        raise ValueError(
            f"encoders of the small form must be in the package (got {', '.join(fetched)}). Name others under `small`."
        )


def lay_out(config: Config, data: str) -> Grid:
    """The cells of a config on data with this fingerprint; those whose optional encoder is not installed are skipped.

    Raises:
        ValueError: There is no such encoder, or its depth is none.
    """
    facts = {stem: encoders.facts(stem) for stem in {zoo.split_name(name)[0] for name in _named(config)}}
    return grid.lay_out(config, facts, data, _absent(facts))


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
    check(config)
    if config.several:
        raise ValueError(f"config must be of one study ({config.name} has folds or targets). Call series.run.")
    source = config_.source(config, data)
    _check_window(config, source)
    train, validation = sources.open_parts(source, config.window)
    fingerprint = samples.fingerprint(train, validation)
    laid = lay_out(config, fingerprint)
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
    check_jobs(jobs)
    output = Path(output)
    found = plan(config, data)
    with folder_.opened(output):
        folder_.agree(output, config.model_dump(mode="json"), _about(found, jobs))
        folder_.keep(output / "validation.npz", found.validation.labels, found.validation.groups)
        announce(found)
        work = engine.Work(cell_.work, cell_.failed, output)
        tasks = _tasks(found, output, jobs)
        engine.compute(tasks, work, jobs, step)
        _check_unchanged(found, output, tasks)
        if final:
            if left := len(missing(found, output)):
                raise ValueError(f"every cell must be done before the test part is opened ({left} are not). Run again.")
            _judge(found, output)
        shutil.rmtree(output / "work", ignore_errors=True)
    return found


def missing(found: Plan, output: Path) -> list[Cell]:
    """The cells that are still to be computed."""
    return [cell for cell in found.cells if not folder_.done(output, cell.key)]


def kept(found: Plan) -> dict[str, int]:
    """Count, for each encoder by name, the bytes of the models that its cells keep, at most."""
    sizes: dict[str, int] = {}
    for cell in found.cells:
        for name in () if cell.untrained else cell.encoders:
            whole = cell.learning_rate is not None or encoders.is_random(name)
            own = encoders.size(name) if whole else 0
            stem, _ = zoo.split_name(name)
            sizes[stem] = sizes.get(stem, 0) + own
    return sizes


def check_jobs(jobs: int) -> None:
    """Refuse fewer than one process."""
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
    """Return what a worker needs for the cell."""
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
        window=found.config.window,
        alone=alone,
    )


def _tasks(found: Plan, output: Path, jobs: int) -> dict[str, Task]:
    return {cell.key: task(found, output, cell, alone=jobs > 1) for cell in missing(found, output)}


def _check_unchanged(found: Plan, output: Path, computed: Collection[str]) -> None:
    """Refuse a run under whose hands the images changed: what it computed may be of either, and is taken out again."""
    if samples.fingerprint(found.train, found.validation) != found.fingerprint:
        for key in computed:
            folder_.forget(output, key)
        raise ValueError(
            f"images must stay as they are while a study runs (some changed; {len(computed)} cells were taken out). "
            "Begin a new folder with the images as they are now."
        )


def _judge(found: Plan, output: Path) -> None:
    """Choose; only then open the test part, and let the kept models of what was chosen answer."""
    chosen = choice.choose(found.cells, folder_.records(output, [cell.key for cell in found.cells]))
    cells = [cell for row in chosen if not row.row.untrained for cell in row.cells]
    pairs = [(pair.name, str(pair.ours), str(pair.theirs)) for pair in choice.pair(found.config, chosen)]
    folder_.choose(output, {"cells": [cell.key for cell in cells], "contests": pairs})
    test = sources.open_test(found.source, found.config.window)
    sample = samples.fingerprint(test)
    folder_.keep(output / "final" / "part.npz", test.labels, test.groups)
    for cell in cells:
        if not folder_.answered(output, cell.key, sample):
            folder_.answer(output, cell.key, sample, cell_.answers(task(found, output, cell), test))


def _named(config: Config) -> list[str]:
    return [*(config.mechanics.encoders if config.mechanics else ()), *chain(*config.encoders)]


def _absent(stems: Collection[str]) -> dict[str, str]:
    try:
        if brain_mr.NAME in stems:
            brain_mr.load()
    except brain_mr.Absent as error:
        return {brain_mr.NAME: str(error)}
    return {}


def _known(key: str, name: str, allowed: Any) -> None:
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=2, cutoff=0.3) or sorted(allowed)
        raise ValueError(f"{key} must name one of {', '.join(allowed)} (got {name!r}). Nearest: {', '.join(near)}.")
