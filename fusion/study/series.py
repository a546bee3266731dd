"""A series: one config, a study per target and fold, each in a folder of its own, `TARGET/fold-K`."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zoo
from fusion.data.sets import sources
from fusion.study import config as config_
from fusion.study import encoders, grid
from fusion.study import folder as folder_
from fusion.study import run as study
from fusion.study.config import Config
from fusion.study.engine import Step
from fusion.study.run import Plan

_OWN = ".series"  # holds the lock; no target has this name


@dataclass(frozen=True)
class Member:
    """A study of the series.

    Attributes:
        target: The name of its data.
        fold: From 1; None where the data keep their own parts.
        source: Its data, as a study takes them.
        folder: Where it is.
    """

    target: str
    fold: int | None
    source: str
    folder: Path

    def __str__(self) -> str:
        return self.target if self.fold is None else f"{self.target}, fold {self.fold}"


def lay_out(config: Config, output: Path, data: str | Path | None = None) -> list[Member]:
    """The studies of a config with folds or targets.

    Raises:
        ValueError: No data are named, or twice, or they are a fold already.
    """
    targets = _targets(config, data)
    if config.folds is None:
        return [Member(name, None, source, _place(output, name, None)) for name, source in targets]
    for _, source in targets:
        if sources.divided(source)[1] is not None:
            raise ValueError(f"data must be whole where the config has folds (got {source!r}). Drop what is behind @.")
    return [
        Member(name, fold, sources.at_fold(source, fold, config.folds), _place(output, name, fold))
        for name, source in targets
        for fold in range(1, config.folds + 1)
    ]


def parts(output: Path) -> list[Member]:
    """The studies of the series in the folder, whether they were begun or not; of a folder of one study none.

    Raises:
        OSError: Nothing was begun there.
    """
    listed = folder_.study(output).get("members", [])
    return [Member(**entry, folder=_place(output, entry["target"], entry["fold"])) for entry in listed]


def run(
    config: Config,
    output: str | Path,
    data: str | Path | None = None,
    jobs: int = 1,
    *,
    final: bool = False,
    announce: Callable[[Plan], None] = lambda _: None,
    step: Step = lambda _: None,
) -> None:
    """Run the only study of a config, or each of one with folds or targets; one that fails does not stop the rest.

    Args:
        config: Of the study or series.
        output: Its folder; of a series each study has one of its own in it.
        data: Where the config names neither data nor targets.
        jobs: As in `fusion.study.run.run`.
        final: As there; each study chooses for itself.
        announce: Called with the plan of each study.
        step: Called with each result.

    Raises:
        ValueError: The config names what does not exist, or the folder belongs to another.
        OSError: The folder cannot be written, or another run holds it.
    """
    one = partial(study.run, jobs=jobs, final=final, announce=announce, step=step)
    if not config.several:
        one(config, output, data)
        return
    study.check_jobs(jobs)
    study.check(config)
    output = Path(output)
    members = lay_out(config, output, data)
    with folder_.opened(output / _OWN, ()):
        folder_.agree(output, config.model_dump(mode="json"), _about(config, members))
        for member in members:
            own = config.model_copy(update={"folds": None, "targets": None, "small": {}, "data": member.source})
            _recorded(member, output, partial(one, own, member.folder))
        shutil.rmtree(output / _OWN / "work", ignore_errors=True)


def _recorded(member: Member, output: Path, one: Callable[[], object]) -> None:
    """Run one study; its error is written down, and that of an earlier run forgotten."""
    known = {name: error for name, error in folder_.failures(output).items() if name != str(member)}
    try:
        one()
    except Exception as error:
        known[str(member)] = f"{type(error).__name__}: {error}"
    folder_.fail(output, known)


def _about(config: Config, members: list[Member]) -> dict[str, Any]:
    laid = study.lay_out(config, "")
    names = sorted({zoo.split_name(name)[0] for cell in laid.cells if not cell.untrained for name in cell.encoders})
    listed = [{"target": member.target, "fold": member.fold, "source": member.source} for member in members]
    return {
        "fingerprint": grid.digest(listed),
        "version": version("sslzoo"),
        "weights": {name: encoders.digest(name) for name in names},
        "members": listed,
        "cells": [str(cell) for cell in laid.cells],
        "skipped": laid.skipped,
    }


def _targets(config: Config, data: str | Path | None) -> list[tuple[str, str]]:
    """(name, source) of each."""
    if not config.targets:
        source = config_.source(config, data)
        return [(_name(source), source)]
    if data is not None:
        raise ValueError(f"data must be left out where the config names targets (got {str(data)!r}). Drop --data.")
    return [(name, sources.resolved(source)) for name, source in config.targets.items()]


def _place(output: Path, name: str, fold: int | None) -> Path:
    return output / name if fold is None else output / name / f"fold-{fold}"


def _name(source: str) -> str:
    """Of the only target: its file's, in the letters that targets have."""
    return re.sub("[^a-z0-9]+", "-", Path(source).stem.lower()).strip("-") or "data"
