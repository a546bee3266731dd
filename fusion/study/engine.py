"""Tasks side by side: every one once, whatever dies meanwhile. Knows keys, processes and the marks in the folder."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from fusion.study import folder

T = TypeVar("T")
Record = dict[str, Any]  # holds the task's `key`
Step = Callable[[Record], None]

_BARREN = 2  # pools in a row that died before they did anything


@dataclass(frozen=True)
class Work(Generic[T]):
    """Instructions for what is done with a task.

    Attributes:
        do: Computes it and puts the result into the folder; runs in a worker where there are several.
        fail: Puts down that it failed.
        output: The study's folder.
    """

    do: Callable[[T], Record]
    fail: Callable[[T, BaseException], Record]
    output: Path


def compute(tasks: Mapping[str, T], work: Work[T], jobs: int, step: Step) -> None:
    """Every task once; one whose process dies is tried once more by itself, and then recorded as failed.

    Args:
        tasks: By key.
        work: What is done with each.
        jobs: Processes; 1 computes in this one.
        step: Called with each result.

    Raises:
        OSError: Workers die before they begin anything.
    """
    waiting, barren = dict(tasks), 0
    while waiting:
        before = len(waiting)
        try:
            for record in _results(list(waiting.values()), work, jobs):
                del waiting[record["key"]]
                step(record)
        except TerminatedWorkerError:
            for key in folder.begun(work.output) & waiting.keys():
                step(_by_itself(waiting.pop(key), work))
            barren = barren + 1 if len(waiting) == before else 0
            if barren == _BARREN:
                raise OSError(f"workers must live to begin a cell (got {barren} times none). Lower --jobs.") from None


def _results(tasks: list[T], work: Work[T], jobs: int) -> Iterator[Record]:
    if jobs == 1:
        return map(work.do, tasks)
    # Arrays go to the workers as copy-on-write maps of one file.
    place = work.output / "work"
    pool = Parallel(jobs, backend="loky", return_as="generator_unordered", mmap_mode="c", temp_folder=place)
    found: Iterator[Record] = pool(delayed(work.do)(task) for task in tasks)
    return found


def _by_itself(task: T, work: Work[T]) -> Record:
    try:
        return next(_results([task], work, 2))
    except TerminatedWorkerError:
        return work.fail(task, ChildProcessError("the cell's process died twice, killed or out of memory"))
