"""A series: one config, a study per target and fold, each in a folder of its own, `TARGET/fold-K`.

What runs a study is given by who calls: `fusion.study.run_series` does.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fusion.data import sources
from fusion.study import encoders, grid
from fusion.study import folder as folder_
from fusion.study.config import Config

One = Callable[[Config, Path], object]

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


def run(config: Config, output: Path, one: One, data: str | Path | None = None) -> None:
    """Run every study; an error of one is recorded, and the others go on.

    Args:
        config: With folds or targets.
        output: The folder of the series.
        one: Runs a config in a folder, or goes on with it.
        data: Where the config names neither data nor targets.

    Raises:
        ValueError: As `lay_out`, or the folder belongs to another config.
        OSError: The folder cannot be written, or another run holds it.
    """
    members = lay_out(config, output, data)
    with folder_.opened(output / _OWN, ()):
        folder_.agree(output, config.model_dump(mode="json"), _about(config, members))
        for member in members:
            _run(member, config, one, output)
        shutil.rmtree(output / _OWN / "work", ignore_errors=True)


def _run(member: Member, config: Config, one: One, output: Path) -> None:
    known = {name: error for name, error in folder_.failures(output).items() if name != str(member)}
    own: dict[str, Any] = {"folds": None, "targets": None, "small": {}, "data": member.source}
    try:
        one(config.model_copy(update=own), member.folder)
    except Exception as error:
        known[str(member)] = f"{type(error).__name__}: {error}"
    folder_.fail(output, known)


def _about(config: Config, members: list[Member]) -> dict[str, Any]:
    laid = encoders.lay_out(config, "")
    names = sorted({name.partition("@")[0] for cell in laid.cells if not cell.untrained for name in cell.encoders})
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
        source = sources.source(config, data)
        return [(_name(source), source)]
    if data is not None:
        raise ValueError(f"data must be left out where the config names targets (got {str(data)!r}). Drop --data.")
    return [(name, sources.resolved(source)) for name, source in config.targets.items()]


def _place(output: Path, name: str, fold: int | None) -> Path:
    return output / name if fold is None else output / name / f"fold-{fold}"


def _name(source: str) -> str:
    """Of the only target: its file's, in the letters that targets have."""
    return re.sub("[^a-z0-9]+", "-", Path(source).stem.lower()).strip("-") or "data"
