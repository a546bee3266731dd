"""A fitted classifier as a folder: its record, its head, what of its encoders the zoo does not give, whom to credit.

What lies in the folder is named by its content, and the record comes last: a save that ends early leaves the model that
was there, and of two at a time one stands, whole.
"""

import copy
import hashlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

import zoo
from fusion.data import writing
from fusion.estimators import earlier, leaderboard, record
from fusion.estimators.record import FORMAT, File, Held, Model
from fusion.features import extract
from fusion.features.taps import Taps, joined, named
from fusion.heads.calibration import Calibration
from fusion.heads.optimum import ModuleHead, restored
from fusion.tuning import network
from fusion.tuning.phases import Phase
from fusion.tuning.settings import Training

T = TypeVar("T")
Tensors = dict[str, Tensor]

_OURS = re.compile(r"(head|encoders)(-[0-9a-f]{16})?\.safetensors")
# of the constructor
_CHOSEN = ("head", "strategy", "C", "folds", "seed", "training")
_KEPT = (*_CHOSEN, "class_weight", "calibration", "select", "compare_baselines")


def save(model: Any, folder: Path) -> None:
    """Write a fitted classifier.

    Raises:
        OSError: The folder cannot be written; a model that was there is still whole.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OSError(f"path must be a folder (got {str(folder)!r}, a file or below one). Choose another.") from None
    each = [_held(taps, origin["identity"]) for taps, origin in zip(model.taps_, model.origins_, strict=True)]
    stored = {f"{e}.{name}": value for e, (_, own) in enumerate(each) for name, value in own.items()}
    with FileLock(folder / ".lock"):
        head = _file(folder, "head", {k: torch.from_numpy(np.asarray(v)) for k, v in model.head_.arrays().items()})
        tensors = _file(folder, "encoders", stored) if stored else None
        writing.write(folder / "ATTRIBUTION.md", zoo.attribution([encoder.card for encoder in model.encoders_]))
        writing.write(folder / "model.json", record.dump(_record(model, [held for held, _ in each], head, tensors)))
        kept = {file.name for file in (head, tensors) if file}
        for path in folder.glob("*.safetensors"):
            if _OURS.fullmatch(path.name) and path.name not in kept:  # never what somebody else keeps here
                path.unlink(missing_ok=True)


def load(kind: type[T], folder: Path, encoders: Sequence[zoo.Encoder | Taps] | None, device: str) -> T:
    """Read a fitted classifier.

    Args:
        kind: Its class.
        folder: What `save` wrote.
        encoders: As they were before the fit, in their order; None takes them from the zoo and the folder.
        device: As in the constructor.

    Raises:
        OSError: The folder does not hold a whole model, or an encoder's weights cannot be had.
        ValueError: An encoder is not the one that was fitted, or its name would fetch from a repo.
    """
    try:
        known, arrays, stored = _read(folder)
    except (OSError, ValueError, SafetensorError) as error:
        raise OSError(f"{folder} must hold a whole saved model (got {error}). Save it again.") from error
    given = _given(encoders, known.encoders)
    each = [_encoder(held, own, stored, e) for e, (held, own) in enumerate(zip(known.encoders, given, strict=True))]
    there = zip(extract.placed(each, device), known.encoders, strict=True)
    taps = [Taps(encoder, tuple(held.depths or (encoder.depth,))) for encoder, held in there]
    named(taps)
    again = [_again(held, own) for held, own in zip(known.encoders, given, strict=True)]
    model: Any = kind(encoders=again, device=device, **_parameters(known))  # type: ignore[call-arg]
    model.taps_ = taps
    model.origins_ = [{"name": held.name, "identity": held.origin} for held in known.encoders]
    model.changed_ = [set(held.stored) if held.identity != held.origin else set() for held in known.encoders]
    model.head_ = _head(known, arrays, [width for own in taps for width in own.widths], folder)
    model.classes_ = np.asarray(known.classes, dtype=known.dtype)
    model.multilabel_, model.history_ = known.multilabel, known.history
    model.trained_, model.seconds_, model.seen_ = known.trained, known.seconds, set(known.seen)
    model.prior_, model.calibration_ = _calibration(known)
    model.leaderboard_ = leaderboard.restored(known.leaderboard)
    return cast(T, model)


def _given(encoders: Sequence[zoo.Encoder | Taps] | None, known: Sequence[Held]) -> list[zoo.Encoder | None]:
    if not encoders:
        return [None] * len(known)
    if len(encoders) != len(known):
        raise ValueError(f"encoders must be {len(known)}, one per encoder of the fit (got {len(encoders)}).")
    for own, held in zip(encoders, known, strict=True):
        if isinstance(own, Taps) and list(own.depths) != (held.depths or [held.depth]):
            wanted = tuple(held.depths or [held.depth])
            raise ValueError(f"encoders must be at the depths of the fit, {wanted} (got {own.depths}). Tap it there.")
    return [own.encoder if isinstance(own, Taps) else own for own in encoders]


def _again(held: Held, given: zoo.Encoder | None) -> str | zoo.Encoder | Taps:
    """What another fit of the model takes for the encoder."""
    if held.depths in (None, [held.depth]):
        return given or held.name
    depths = tuple(held.depths or ())
    return Taps(given, depths) if given else joined(held.name, depths)


def _held(taps: Taps, origin: str) -> tuple[Held, Tensors]:
    """The encoder's entry, and its tensors that the zoo does not give under its name."""
    encoder = taps.encoder
    identity, own = encoder.identity(), {k: v.detach().cpu().contiguous() for k, v in encoder.state_dict().items()}
    known = _of_the_zoo(_source(encoder.name, encoder.depth, list(taps.depths)))
    alike = known is not None and _facts(known.card) == _facts(encoder.card) and known.depths == encoder.depths
    card = None
    if known is not None and alike and known.state_dict().keys() == own.keys():
        theirs = known.state_dict()
        _check_built(encoder, known)
        own = {k: v for k, v in own.items() if not network.same_bytes(v, theirs[k])}
    else:
        card = encoder.card.model_dump(mode="json", exclude={"path"})
        _check_built(encoder, zoo.restore(encoder.card, float(encoder.depth), own))
    facts: dict[str, Any] = {"name": encoder.name, "depth": float(encoder.depth), "depths": list(taps.depths)}
    return Held(**facts, origin=origin, identity=identity, card=card, stored=sorted(own)), own


def _check_built(encoder: zoo.Encoder, rebuilt: zoo.Encoder) -> None:
    """Refuse what would not come back: hooks, and modules or an input that are not those of the card."""
    hooks = any(module._forward_hooks or module._forward_pre_hooks for module in encoder.modules())
    if hooks or repr(encoder.trunk) != repr(rebuilt.trunk) or encoder.preprocess.input != encoder.card.input:
        raise ValueError(
            f"encoders must be as their card builds them to be saved (got {encoder.name} with hooks, other modules "
            "or another input). Remove the hooks, or say the change in a card of its own."
        )


def _facts(card: zoo.Card) -> dict[str, Any]:
    return {key: getattr(card, key) for key in ("architecture", "kwargs", "pool", "input")}


def _of_the_zoo(name: str) -> zoo.Encoder | None:
    """What the registry gives under this name; None for one of a repo, or of nobody."""
    try:
        return None if "/" in name else zoo.load(name)
    except (ValueError, OSError):
        return None


def _encoder(held: Held, given: zoo.Encoder | None, stored: Tensors, number: int) -> zoo.Encoder:
    own = {name: stored[f"{number}.{name}"] for name in held.stored}
    if given is not None:
        if given.identity() != held.origin:
            raise ValueError(f"encoders must be those before the fit, {held.name} (got another). Fit again.")
        found = copy.deepcopy(given)
    elif held.card is not None:
        card = zoo.Card.model_validate({**held.card, "path": Path(held.name)})
        return _checked(zoo.restore(card, held.depth, own), held)
    else:
        found = _fetched(_source(held.name, held.depth, held.depths))
    found.load_state_dict({**found.state_dict(), **own}, assign=True)
    return _checked(found, held)


def _source(name: str, depth: float, depths: list[float] | None) -> str:
    return name if depths in (None, [depth]) else joined(name, [depth])


def _fetched(name: str) -> zoo.Encoder:
    if "/" in name:
        raise ValueError(
            f"{name} would be fetched from a repo that this folder names. "
            f"Trust it first: FusionClassifier.load(PATH, encoders=[zoo.load({name!r})])."
        )
    try:
        return zoo.load(name)
    except OSError as error:
        raise OSError(
            f"{name} must be there for this model ({error}). "
            f"Carry it: zoo export {name} FOLDER where it is, and zoo import FOLDER here."
        ) from error


def _checked(encoder: zoo.Encoder, held: Held) -> zoo.Encoder:
    encoder.name = held.name
    if encoder.identity() != held.identity:
        raise ValueError(
            f"encoders must be those of the fit, {held.name} (the zoo gives others under this name now). "
            "Load with the version of the cards and weights that was fitted, or fit again."
        )
    if held.identity != held.origin:
        network.disown(encoder)
    return encoder


def _head(known: Model, arrays: dict[str, Any], widths: Sequence[int], folder: Path) -> Any:
    kind = known.parameters["head"]
    try:
        head = restored(kind, arrays, solved=known.solved, multilabel=known.multilabel)
        found = np.exp(head.log_proba([np.zeros((1, width), np.float32) for width in widths]))
    except (KeyError, ValueError, RuntimeError, IndexError, TypeError) as error:
        raise OSError(f"{folder} must hold a head of these encoders ({' '.join(str(error).split())[:200]}).") from None
    if found.shape != (1, len(known.classes)) or not np.isfinite(found).all():
        raise OSError(f"{folder} must hold a finite head of {len(known.classes)} classes (got {found.shape}).")
    return head


def _calibration(known: Model) -> tuple[Any, Calibration]:
    count = len(known.classes)
    shift = np.zeros(count) if known.shift is None else np.asarray(known.shift)
    if shift.shape != (count,) or len(known.prior or known.classes) != count:
        raise OSError(f"model.json must hold a shift and a prior of {count} classes (got others). Save it again.")
    prior = None if known.prior is None else np.asarray(known.prior)
    return prior, Calibration(shift, known.temperature, known.multilabel)


def _read(folder: Path) -> tuple[Model, dict[str, Any], Tensors]:
    if earlier.is_one(folder):
        warnings.warn(f"{folder} is of an earlier version, without digests. Save it again.", UserWarning, stacklevel=4)
        return earlier.read(folder)
    known = record.read(folder / "model.json")
    stored = _opened(folder, known.tensors) if known.tensors else {}
    wanted = {f"{e}.{name}" for e, held in enumerate(known.encoders) for name in held.stored}
    if stored.keys() != wanted:
        raise ValueError("encoders of another model")
    return known, {key: value.numpy() for key, value in _opened(folder, known.head).items()}, stored


def _opened(folder: Path, file: File) -> Tensors:
    data = (folder / file.name).read_bytes()
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ValueError(f"{file.name} with another sha256: it was changed or damaged")
    return load_tensors(data)


def _file(folder: Path, stem: str, tensors: Tensors) -> File:
    data = dump_tensors({name: value.contiguous() for name, value in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    writing.write(folder / f"{stem}-{digest[:16]}.safetensors", data)
    return File(name=f"{stem}-{digest[:16]}.safetensors", sha256=digest)


def _record(model: Any, encoders: list[Held], head: File, tensors: File | None) -> Model:
    return Model(
        format=FORMAT,
        parameters={key: plain(getattr(model, key)) for key in _KEPT},
        encoders=encoders,
        classes=model.classes_.tolist(),
        dtype="object" if model.classes_.dtype == object else model.classes_.dtype.str,
        multilabel=model.multilabel_,
        trained=int(model.trained_),
        seconds=float(model.seconds_),
        history=model.history_,
        seen=sorted(model.seen_),
        prior=None if model.prior_ is None else model.prior_.tolist(),
        shift=model.calibration_.shift.tolist(),
        temperature=model.calibration_.temperature,
        leaderboard=model.leaderboard_.values() if model.leaderboard_ else None,
        solved=not isinstance(model.head_, ModuleHead),
        head=head,
        tensors=tensors,
    )


def _parameters(known: Model) -> dict[str, Any]:
    """Of the constructor; JSON has no tuples and no classes."""
    given = dict(known.parameters)
    if given["training"]:
        given["training"] = Training(**{**given["training"], "trackers": tuple(given["training"]["trackers"])})
    return given


def plain(value: Any) -> Any:
    """Turn phases and settings into what JSON has."""
    if isinstance(value, Training | Phase):
        return {key: str(entry) if isinstance(entry, Path) else plain(entry) for key, entry in asdict(value).items()}
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return [plain(entry) for entry in value] if isinstance(value, list | tuple | np.ndarray) else value
