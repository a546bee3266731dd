"""From a pickled checkpoint to safetensors under timm's names: opened in a subprocess, renamed, checked, hashed."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from zoo.fetching import digests as digests_
from zoo.fetching import header, opened, places, whole
from zoo.fetching.digests import Digests
from zoo.fetching.hub import WeightsError
from zoo.fetching.pieces import Store, write
from zoo.loading import joined
from zoo.networks import cutting, layouts
from zoo.registry.cards import Card
from zoo.registry.words import some

_PATIENCE = 1800  # seconds; the largest public checkpoint takes less than one minute
# No token, proxy or address of a Hub is in the environment of the process that opens the file.
_ENVIRONMENT = (
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "OMP_NUM_THREADS",
)
_SCRATCH = "scratch-"


def convert(
    source: Path,
    output: Path,
    *,
    architecture: str,
    kwargs: dict[str, Any],
    layout: str | None = None,
    allow: Collection[str] = (),
) -> Digests:
    """Write the network in `source`, without heads, as safetensors with timm's names.

    Args:
        source: A pickled checkpoint, or a safetensors file with other names.
        output: The file to write, in an existing folder; it appears whole or not at all.
        architecture: timm's name of the network that the file must fill exactly.
        kwargs: For `timm.create_model`.
        layout: How its names become timm's; None finds that out.
        allow: The classes, beside tensors, that the pickle may hold: `argparse.Namespace` at most.

    Raises:
        WeightsError: The file holds anything but tensors, is broken, or does not fit the architecture.
        ValueError: There is no such architecture or layout.
    """
    if not source.is_file():
        raise WeightsError(f"weights must be an existing file (got {str(source)!r}). Check the path.")
    network = cutting.build(architecture, kwargs)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=_SCRATCH) as scratch:
        raw = _unpickled(source, Path(scratch), allow) if _is_pickle(source) else source
        names = _names(source, raw, network, layout)
        _fill(source, network, load_file(raw), names)
        write(output, save(network.state_dict(), metadata={"format": "pt"}))
    return opened.digest(output, source=digests_.sha256_file(source))


def convert_card(card: Card) -> Path:
    """Fetch the pickled file of `card` whole, check and convert it into the cache, where `zoo.load` looks for it.

    Does nothing that was done before; may be killed at any moment, and run twice at once.

    Raises:
        WeightsError: The file cannot be had, is not the published one, or cannot be converted (see `convert`).
        ValueError: The card names no pickled file on the Hub.
    """
    if str(card.weights.file).endswith(".safetensors"):
        raise ValueError(f"{card.name} must name a pickled file (got {card.weights.file}). zoo.load takes it as it is.")
    if card.weights.repo is None or card.weights.file is None:
        raise ValueError(
            f"{card.name} must name a pickled file on the Hub (got {card.weights.file!r} in {card.weights.repo}). "
            f"Run zoo-upload convert FILE OUTPUT --card {card.path}."
        )
    if card.weights.revision is None:
        step = f"Run zoo-upload convert {card.name} --revision <40 hex digits>."
        raise ValueError(f"revision of {card.name} must be pinned (got None). {step}")
    source, found = whole.fetch_whole(card)
    path = places.converted(found, card)
    with (store := Store(path.parent)).lock():
        if not _done(path, store):
            _convert_into(path, store, source, card)
    with (pointer := places.store_of(card)).lock():
        if pointer.get(["source"]).get("source") != found.encode():
            pointer.quarantine(["source"])
            pointer.put("source", found.encode())
    return path


def _done(path: Path, store: Store) -> bool:
    made = store.get(["digests"])
    return bool(made) and path.is_file() and digests_.parse(made["digests"]).file == digests_.sha256_file(path)


def _convert_into(path: Path, store: Store, source: Path, card: Card) -> None:
    for left in path.parent.glob(f"{_SCRATCH}*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    store.quarantine(["digests"])  # first: without them nothing loads the file
    made = convert(
        source,
        path,
        architecture=card.architecture,
        kwargs=card.kwargs,
        layout=card.weights.layout,
        allow=card.weights.allow,
    )
    store.put("digests", digests_.dump(made))


def _is_pickle(source: Path) -> bool:
    with source.open("rb") as stream:
        return "pickled" in (header.foreign(stream.read(8)) or "")


def _unpickled(source: Path, scratch: Path, allow: Collection[str]) -> Path:
    """The tensors of a pickle, under the file's names, as a safetensors file in `scratch`."""
    raw = scratch / "raw.safetensors"
    options = [f"--allow={name}" for name in allow] + [f"--unwrap={key}" for key in layouts.UNWRAP]
    program = [sys.executable, "-P", "-W", "ignore", str(Path(__file__).with_name("unpickling.py"))]
    try:
        done = subprocess.run(
            [*program, str(source.resolve()), str(raw.resolve()), *options],
            cwd=scratch,
            env={key: os.environ[key] for key in _ENVIRONMENT if key in os.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(f"{source} must open within {_PATIENCE} s (got no end). Ask its publisher.") from None
    if done.returncode:
        told = (done.stderr.strip().splitlines() or [""])[-1]
        died = f"must be a checkpoint that torch can open (got exit code {done.returncode}: {told}). Fetch it again."
        raise WeightsError(f"{source} {told if told.startswith('must ') else died}")
    return raw


def _names(source: Path, raw: Path, network: nn.Module, layout: str | None) -> layouts.Sources:
    """For each of timm's names those of the file."""
    try:
        found = header.read(raw).spans
    except ValueError as error:
        raise WeightsError(f"{source} must be a pickled checkpoint or safetensors: {error}. Fetch it again.") from None
    if layout is not None:
        return layouts.rename(layout, found)
    try:
        return layouts.rename(layouts.detect(_uncounted(found), _uncounted(network.state_dict())), found)
    except ValueError as error:
        raise WeightsError(f"{source}: {error}") from None


def _uncounted(names: Collection[str]) -> list[str]:
    # Old files lack BatchNorm's counters, and torch fills them in.
    return [name for name in names if not name.endswith(".num_batches_tracked")]


def _fill(source: Path, network: nn.Module, tensors: dict[str, Tensor], names: layouts.Sources) -> None:
    """Put the tensors, as they are stored, into an empty network; none may be missing, left over or not finite."""
    try:
        network.load_state_dict(
            {new: joined([tensors[old] for old in olds]) for new, olds in names.items()}, assign=True
        )
    except RuntimeError as error:
        fact = " ".join(str(error).split()).partition(": ")[2]
        raise WeightsError(
            f"{source} must hold exactly the network's tensors (got: {fact[:500]}). "
            "Check the architecture, its kwargs and the layout."
        ) from None
    if broken := [name for name, value in network.state_dict().items() if not torch.isfinite(value).all()]:
        raise WeightsError(
            f"{source} must hold finite numbers (got NaN or infinity in {some(broken)}). Fetch it again."
        )
