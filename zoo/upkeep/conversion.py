"""From a pickled checkpoint to safetensors under timm's names: opened in a subprocess, renamed, checked, hashed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from zoo.fetching import digests as digests_
from zoo.fetching import header, opened, places, whole
from zoo.fetching.digests import Digests
from zoo.fetching.hub import WeightsError
from zoo.fetching.pieces import Store, write
from zoo.loading import joined
from zoo.networks import cutting, layouts
from zoo.networks.layouts import Reading
from zoo.registry.cards import Card
from zoo.registry.words import some
from zoo.upkeep import choosing

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
    prefix: str = "",
    ema: bool | None = None,
) -> Digests:
    """Write the network in `source`, without heads, as safetensors with timm's names.

    What its names begin with is found and taken off, and `report` tells what was taken and what was left out.

    Args:
        source: A pickled checkpoint, or a safetensors file with other names.
        output: The file to write, in an existing folder; it appears whole or not at all.
        architecture: timm's name of the network that the file must fill exactly.
        kwargs: For `timm.create_model`.
        layout: How its names become timm's; None finds that out.
        allow: The classes, beside tensors, that the pickle may hold: `argparse.Namespace` at most.
        prefix: What the names of the wanted network begin with, at least their end, where several fit.
        ema: Whether to take the averaged weights where raw ones lie beside them; None takes those that are named
            EMA, as timm does, and of other pairs (teacher and student) none.

    Raises:
        WeightsError: The file holds anything but tensors, is broken, does not fit the architecture, or holds several
            sets of weights that do.
        ValueError: There is no such architecture or layout.
    """
    if not source.is_file():
        raise WeightsError(f"weights must be an existing file (got {str(source)!r}). Check the path.")
    network = cutting.build(architecture, kwargs)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=_SCRATCH) as scratch:
        raw = _unpickled(source, Path(scratch), allow) if _is_pickle(source) else source
        tensors = _tensors(source, raw)
        reading = _reading(source, tensors, network, layout, prefix, ema)
        _fill(source, network, tensors, reading.sources)
        told = {"taken": choosing.taken(reading), "left_out": choosing.left_out(reading, tensors)}
        write(output, _saved(network, {"format": "pt"} | told))
    return opened.digest(output, source=digests_.sha256_file(source))


def report(converted: Path) -> str:
    """What `convert` took from its source, and what it left out; the file itself keeps it."""
    with safe_open(converted, framework="pt") as stream:
        told = stream.metadata() or {}
    return f"Taken: {told.get('taken', 'not recorded')}. Left out: {told.get('left_out', 'not recorded')}."


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
    source, found = whole.fetch_whole(card, places.remote_of(card), places.store_of(card))
    path = places.converted(found, card)
    with (store := Store(path.parent)).lock():
        if not _done(path, store):
            _convert_into(path, store, source, card)
    with (pointer := places.store_of(card)).lock():
        if pointer.get(["source"]).get("source") != found.encode():
            pointer.quarantine(["source"])
            pointer.put("source", found.encode())
    return path


def averaged(card: Card) -> bool | None:
    """Whether the weights that a card means are the averaged ones: of a student and a teacher, the teacher."""
    return True if card.family == "self-distillation" else None


def _saved(network: nn.Module, told: dict[str, str]) -> bytes:
    """As safetensors; the same network and words give the same bytes, which the writer itself does not promise."""
    data = save(network.state_dict())
    size = int.from_bytes(data[:8], "little")
    head = json.dumps({"__metadata__": told} | json.loads(data[8 : 8 + size]), separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + data[8 + size :]


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
        ema=averaged(card),
    )
    store.put("digests", digests_.dump(made))


def _is_pickle(source: Path) -> bool:
    with source.open("rb") as stream:
        return "pickled" in (header.foreign(stream.read(8)) or "")


def _unpickled(source: Path, scratch: Path, allow: Collection[str]) -> Path:
    """The tensors of a pickle, under the file's names, as a safetensors file in `scratch`."""
    raw = scratch / "raw.safetensors"
    options = [f"--allow={name}" for name in allow]
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


def _tensors(source: Path, raw: Path) -> dict[str, Tensor]:
    try:
        header.read(raw)
    except ValueError as error:
        raise WeightsError(f"{source} must be a pickled checkpoint or safetensors: {error}. Fetch it again.") from None
    return load_file(raw)


def _reading(
    source: Path, tensors: dict[str, Tensor], network: nn.Module, layout: str | None, prefix: str, ema: bool | None
) -> Reading:
    """How the file is read; a layout that is given and does not fit is left to the strict load to say."""
    if layout is not None and layout not in layouts.LAYOUTS:
        layouts.rename(layout, [])
    wanted = network.state_dict().keys()
    found = layouts.readings(tensors, wanted, layout=layout, prefix=f"{prefix.rstrip('.')}." if prefix else "")
    if found[0].differs(wanted):
        if layout is None or prefix:
            raise WeightsError(f"{source}: {layouts.misfit(found[0], wanted)}")
        return found[0]
    try:
        return choosing.choose(found, tensors, ema)
    except ValueError as error:
        raise WeightsError(f"{source}: {error}") from None


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
