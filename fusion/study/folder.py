"""A study's folder: every result whole or not there, whatever stops the study.

`config.yaml` and `study.json` say what is run; of each cell `cells/KEY.npz`, `models/KEY/` and, last, `cells/KEY.json`;
`work/` holds what lets a killed cell go on; `final/` the answers on the test part. The folder of a series holds
`config.yaml` and `study.json` too, `failures.json`, and folders of studies.
"""

import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import yaml
from filelock import FileLock, Timeout

from fusion.data.writing import write

_POLL = 0.05
# Of what decides a result and is not in the config.
_SAME = {
    "fingerprint": "the same data (got other images or labels)",
    "version": "the same version of sslzoo (got another)",
    "weights": "the same weights (got cards with others)",
}


@contextmanager
def opened(output: Path, folders: Sequence[str] = ("cells", "models")) -> Iterator[None]:
    """Hold the folder for one run, made where it is not there yet, and `folders` in it.

    Raises:
        OSError: It cannot be written, or another run holds it.
    """
    try:
        for name in (*folders, "work"):
            (output / name).mkdir(parents=True, exist_ok=True)
        write(output / "work" / "writable", b"")
    except OSError as error:
        raise OSError(
            f"output must be a folder that can be written (got {str(output)!r}: {error.strerror}). Choose another."
        ) from None
    lock = FileLock(output / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OSError(f"{output} must be free (another run holds it). Wait for it, or choose another.") from None
    try:
        for mark in (output / "work").glob("*.begun"):
            mark.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


@contextmanager
def begun_cell(output: Path, key: str) -> Iterator[None]:
    """Hold one cell: a worker that outlived its killed study may still be at it. The mark tells who died at work."""
    with FileLock(output / "work" / f"{key}.lock", poll_interval=_POLL):
        write(output / "work" / f"{key}.begun", b"")
        yield
        (output / "work" / f"{key}.begun").unlink(missing_ok=True)


def begun(output: Path) -> set[str]:
    """The cells that were begun and did not end, one way or the other."""
    return {mark.stem for mark in (output / "work").glob("*.begun")}


def agree(output: Path, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Keep the config and `facts` of a new folder; refuse others in one that has them.

    Raises:
        ValueError: The folder belongs to another config, data set, version or set of weights.
    """
    if (output / "config.yaml").exists():
        known = yaml.safe_load((output / "config.yaml").read_text(encoding="utf-8"))
        if other := sorted(key for key in {*known, *config} if known.get(key) != config.get(key)):
            raise ValueError(
                f"{output} must be of the same config (got others in {', '.join(other)}). Choose another --output."
            )
        begun = study(output) if (output / "study.json").exists() else facts
        for key, said in _SAME.items():
            if begun.get(key) != facts[key]:
                raise ValueError(f"{output} must be of {said}. Choose another --output.")
    write(output / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False).encode())
    write(output / "study.json", _json(facts))


def study(output: Path) -> dict[str, Any]:
    """Read what is run in the folder.

    Raises:
        OSError: No study was begun there.
    """
    try:
        return cast(dict[str, Any], json.loads((output / "study.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        raise OSError(f"{output} must hold a study (got no study.json). Begin one: fusion study run.") from None


def config(output: Path) -> dict[str, Any]:
    """The config that the folder was begun with."""
    return cast(dict[str, Any], yaml.safe_load((output / "config.yaml").read_text(encoding="utf-8")))


def land(output: Path, key: str, record: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]] | None) -> None:
    """Put a cell's result into the folder; its JSON comes last and says that all is there."""
    if arrays is not None:
        write(output / "cells" / f"{key}.npz", packed(arrays))
    write(output / "cells" / f"{key}.json", _json(record))
    shutil.rmtree(output / "work" / key, ignore_errors=True)


def forget(output: Path, key: str) -> None:
    """Take a cell's result out of the folder again; its JSON, which says that it is there, goes first."""
    (output / "cells" / f"{key}.json").unlink(missing_ok=True)
    (output / "cells" / f"{key}.npz").unlink(missing_ok=True)
    shutil.rmtree(output / "models" / key, ignore_errors=True)


def record(output: Path, key: str) -> dict[str, Any] | None:
    """Read what landed of a cell; None if nothing did."""
    try:
        return cast(dict[str, Any], json.loads((output / "cells" / f"{key}.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def done(output: Path, key: str) -> bool:
    """Tell whether the cell is there; one that failed is not."""
    found = record(output, key)
    return found is not None and found["status"] == "done"


def records(output: Path, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read what landed of the cells that are done, by key."""
    found = {key: record(output, key) for key in keys}
    return {key: value for key, value in found.items() if value and value["status"] == "done"}


def choose(output: Path, choices: Mapping[str, Any]) -> None:
    """Write down what was chosen, before the test part is opened."""
    write(output / "final" / "choices.json", _json(choices))


def answered(output: Path, key: str, sample: str) -> bool:
    """Tell whether the cell has answered the test part with this fingerprint."""
    path = output / "final" / f"{key}.npz"
    return path.exists() and str(arrays(path, "sample")["sample"]) == sample


def answer(output: Path, key: str, sample: str, probabilities: npt.NDArray[Any]) -> None:
    """Keep the cell's answers on the test part."""
    write(output / "final" / f"{key}.npz", packed({"probabilities": probabilities, "sample": np.array(sample)}))


def fail(output: Path, failures: Mapping[str, str]) -> None:
    """Write down which studies of a series ended in an error."""
    write(output / "failures.json", _json(failures))


def failures(output: Path) -> dict[str, str]:
    """The studies of a series that ended in an error, and the error."""
    path = output / "failures.json"
    return cast(dict[str, str], json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def keep(path: Path, labels: npt.NDArray[Any], groups: npt.NDArray[Any] | None) -> None:
    """Keep what a part is judged against, so that a report needs no images."""
    write(path, packed({"labels": labels} if groups is None else {"labels": labels, "groups": groups}))


def arrays(path: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Read an `.npz` that holds the names at least; no objects.

    Raises:
        ValueError: It is damaged, or was not written by a study.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file) | {name: file[name] for name in names}
    except Exception:  # numpy reads headers by Python's own parser: of a damaged file anything may come
        wanted = ", ".join(names)
        raise ValueError(
            f"{path} must be what a study wrote, with {wanted}. Remove it, and run the study on."
        ) from None


def packed(values: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The bytes of an `.npz`."""
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **values)
    return stream.getvalue()


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1, default=float) + "\n").encode()
