"""From a name to an encoder: card -> open file -> empty network -> cut -> strict, verified load -> encoder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from zoo.fetching import digests, hub
from zoo.fetching.header import Span
from zoo.fetching.opened import Local, Ranged
from zoo.fetching.published import card_of
from zoo.fetching.weights import open_weights
from zoo.networks import cutting, layouts
from zoo.networks import depth as depths
from zoo.networks.encoder import Encoder, Report
from zoo.registry import cards, terms
from zoo.registry.cards import Card
from zoo.registry.words import some

Form = tuple[tuple[int, ...], str]  # shape and kind

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load(  # noqa: PLR0913 - each is a fact of its own
    name: str,
    depth: float | None = None,
    *,
    card: str | Path | None = None,
    weights: str | Path | None = None,
    whole: bool = False,
    revision: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
    window: Sequence[float] | None = None,
) -> Encoder:
    """Load the encoder called `name`, truncated at `depth`, verified, in `eval()` mode.

    Only the bytes that the depth needs are fetched, and every byte is hashed at every load.

    Args:
        name: A name of `zoo.names()`, or `owner/name` of a repo on the Hub with a card; also `name@depth`.
        depth: In (0, 1], quarters of 0.25; None takes the card's optimal depth.
        card: A card file of your own, for a checkpoint the registry does not have.
        weights: A local safetensors file, instead of the one the card names.
        whole: Fetch the whole file and check its own sha256 first, as `ZOO_VERIFY=strict` does.
        revision: The commit, 40 hex digits, where the card does not pin one.
        mean: Of the pixels in the card's range, one number per channel, where the card does not know it.
        std: Standard deviation of the same, one number per channel, where the card does not know it.
        interpolation: `nearest`, `bilinear` or `bicubic`, where the card does not know it.
        window: The low and high end in the files' unit (Hounsfield units for CT), where the card has none: for grey
            DICOM, NIfTI and float arrays.

    Raises:
        CardError: The name is unknown (the nearest ones are offered) or the card is not valid.
        WeightsError: The file cannot be had, is not the published one, or does not fit the architecture.
        LicenceError: `ZOO_LICENSE_POLICY=refuse`, and the terms that bind are not permissive.
        ValueError, TypeError: The depth is not a number in (0, 1], or an argument contradicts the card.

    Example:
        >>> import zoo
        >>> encoder = zoo.load("mocov2-mini", depth=0.75)
        >>> encoder.num_features, encoder.strides
        (128, (4, 8, 16))
    """
    name, depth = _split(name, depth)
    record = _record(name, card, revision)
    record = cards.fill(record, mean=mean, std=std, interpolation=interpolation, window=window)
    terms.check(record)
    return assemble(record, depth, weights, whole=whole)


def assemble(card: Card, depth: float | None, weights: str | Path | None = None, *, whole: bool = False) -> Encoder:
    """The encoder of `card` at `depth`, whatever its terms; see `load`."""
    depth, evidence = _resolve(card, depth)
    try:
        network = cutting.build(card.architecture, card.kwargs)
        wanted = {key: (tuple(value.shape), _kind(value.dtype)) for key, value in network.state_dict().items()}
        cut = cutting.cut(network, depth)
        encoder = Encoder(cut, card, depth)
        file = open_weights(card, weights, whole=whole)
        dtype = _filled(encoder, file, wanted, cut.sources)
    except OSError as error:
        raise hub.WeightsError(f"{card.name}@{depth:g}: {error}") from error
    except ValueError as error:
        raise type(error)(f"{card.name}@{depth:g}: {error}") from error
    encoder.report = Report(
        name=encoder.name,
        depth=depth,
        depth_evidence=evidence,
        matched=len(cut.sources),
        dropped=len(wanted) - len(cut.sources),
        parameters=sum(p.numel() for p in encoder.parameters()),
        dtype=dtype,
        fetched=file.fetched,
        file=str(file.path),
        sha256=file.sha256,
        digest=digests.sha256(json.dumps(sorted(file.seen.items())).encode()),
        verified=file.verified,
        revision=card.weights.revision,
        preprocess=encoder.preprocess.rule,
    )
    return encoder.eval()


def restore(card: Card, depth: float, tensors: Mapping[str, Tensor]) -> Encoder:
    """Rebuild an encoder from its card and its own tensors, as a saved model holds them; nothing is read or fetched.

    Args:
        card: As `encoder.card` gave it.
        depth: In (0, 1].
        tensors: As `encoder.state_dict()` gave them, of any floating type.

    Raises:
        ValueError: The tensors are not those of this architecture at this depth, or not finite.
    """
    try:
        encoder = Encoder(cutting.cut(cutting.build(card.architecture, card.kwargs), depths.check(depth)), card, depth)
        encoder.load_state_dict(dict(tensors), strict=True, assign=True)
    except RuntimeError as error:
        fact = " ".join(str(error).split())[:300]
        raise ValueError(f"{card.name}@{depth:g} must hold its own tensors (got: {fact}). Save it again.") from None
    _check_finite(Path(card.name), dict(tensors), {name: name for name in tensors})
    cutting.materialise(encoder)
    encoder.report = _report(encoder, "own tensors")
    return encoder.eval()


def untrained(
    name: str | Encoder,
    depth: float | None = None,
    *,
    seed: int = 0,
    size: int | None = None,
    window: Sequence[float] | None = None,
) -> Encoder:
    """The architecture of `name` at `depth` with random weights drawn under `seed`: a control, never a fallback.

    An encoder in place of a name is one's own: its card, and its depth where no other is given.
    `size` is the side of its input in pixels, where another than the card's is wanted; `window` as in `load`.
    """
    if isinstance(name, Encoder):
        found, depth = name.card, depth or name.depth
    else:
        name, depth = _split(name, depth)
        found = cards.find(name)
    record = cards.fill(found, window=window)
    if size is not None:
        record = record.model_copy(update={"input": record.input.model_copy(update={"size": size})})
    depth, evidence = _resolve(record, depth)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = cutting.build(record.architecture, record.kwargs, device="cpu")
    whole = len(network.state_dict())
    cut = cutting.cut(network, depth)
    encoder = Encoder(cut, record, depth)
    encoder.name = f"untrained-{encoder.name}#{seed}"
    report = _report(encoder, "untrained")
    encoder.report = replace(report, depth_evidence=evidence, matched=0, dropped=whole - len(cut.sources))
    return encoder.eval()


def _report(encoder: Encoder, verified: str) -> Report:
    """Of an encoder that no file was opened for."""
    return Report(
        name=encoder.name,
        depth=encoder.depth,
        depth_evidence="argument",
        matched=len(encoder.state_dict()),
        dropped=0,
        parameters=sum(p.numel() for p in encoder.parameters()),
        dtype=str(next(encoder.parameters()).dtype).removeprefix("torch."),
        fetched=0,
        file=None,
        sha256=None,
        digest=None,
        verified=verified,
        revision=None,
        preprocess=encoder.preprocess.rule,
    )


def _split(name: str, depth: float | None) -> tuple[str, float | None]:
    stem, own = cards.split_name(name)
    if own is not None and depth is not None:
        raise ValueError(f"depth must be given once (got {name!r} and depth={depth!r}). Drop one of them.")
    return stem, depth if own is None else own


def _resolve(record: cards.Card, depth: float | None) -> tuple[float, str]:
    if depth is None:
        return record.depth.optimal, record.depth.evidence
    return depths.check(depth), "argument"


def _record(name: str, card: str | Path | None, revision: str | None) -> Card:
    """The caller's card, the one that a repo on the Hub carries, or the registry's."""
    if card is None and "/" in name:
        return card_of(name, revision)
    record = cards.find(name) if card is None else cards.read(card)
    if "/" in name and record.weights.repo is None:
        record = cards.within(record, name)
        revision = revision or record.weights.revision or hub.commits(name)[0]
    return cards.fill(record, revision=revision)


def _filled(encoder: Encoder, file: Local | Ranged, wanted: dict[str, Form], sources: dict[str, str]) -> str:
    try:
        return _fill(encoder, file, wanted, sources)
    except OSError as error:
        if file.verified == "first-use":
            raise hub.WeightsError(f"{error} Nothing vouches for a first use: try once with whole=True.") from error
        raise


def _fill(encoder: Encoder, file: Local | Ranged, wanted: dict[str, Form], sources: dict[str, str]) -> str:
    """Check the file against the whole network, then give the encoder the tensors it needs; returns their dtype."""
    spans = file.header.spans
    names = layouts.rename(file.layout, spans)
    _match(file.path, {new: _form([spans[old] for old in olds]) for new, olds in names.items()}, wanted)
    stored = {name: spans[name] for source in sources.values() for name in names[source]}
    values = {name: _tensor(data, spans[name]) for name, data in file.read(stored).items()}
    tensors = {key: joined([values[name] for name in names[source]]) for key, source in sources.items()}
    _check_finite(file.path, tensors, sources)
    encoder.load_state_dict({key: _float32(value) for key, value in tensors.items()}, strict=True, assign=True)
    cutting.materialise(encoder)
    return "+".join(sorted({str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()}))


def _kind(dtype: torch.dtype) -> str:
    # Floats of any width are read as float32; nothing else changes its kind.
    return "float" if dtype.is_floating_point else str(dtype).removeprefix("torch.")


def _form(spans: list[Span]) -> Form:
    """The shape and kind of tensors put together on their first dimension."""
    kinds = {_kind(_DTYPES[span.dtype]) if span.dtype in _DTYPES else span.dtype for span in spans}
    first, *others = (span.shape for span in spans)
    if any(shape[1:] != first[1:] for shape in others):
        return first, "unequal parts"
    return (sum(shape[0] for shape in (first, *others)), *first[1:]) if others else first, "+".join(sorted(kinds))


def _tensor(data: bytes, span: Span) -> Tensor:
    if not data:
        return torch.empty(span.shape, dtype=_DTYPES[span.dtype])
    return torch.frombuffer(bytearray(data), dtype=_DTYPES[span.dtype]).reshape(span.shape)


def joined(parts: list[Tensor]) -> Tensor:
    """Join what a file keeps in parts, on the first dimension."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _match(path: Path, found: dict[str, Form], wanted: dict[str, Form]) -> None:
    missing, unexpected = sorted(wanted.keys() - found), sorted(found.keys() - wanted)
    if missing or unexpected:
        raise hub.WeightsError(
            f"{path} must hold exactly the network's tensors (missing: {some(missing)}; unexpected: "
            f"{some(unexpected)}). Check the card's architecture, kwargs and layout."
        )
    if wrong := [f"{key} {_said(found[key])}, not {_said(form)}" for key, form in wanted.items() if found[key] != form]:
        raise hub.WeightsError(
            f"{path} must hold tensors of the network's shapes and kinds (got {some(wrong)}). Check the card's kwargs."
        )


def _said(form: Form) -> str:
    return f"{list(form[0])} {form[1]}"


def _check_finite(path: Path, tensors: dict[str, Tensor], sources: dict[str, str]) -> None:
    broken = sorted(sources[key] for key, value in tensors.items() if not torch.isfinite(value).all())
    if broken:
        raise hub.WeightsError(f"{path} must hold finite numbers (NaN or infinity in {some(broken)}). Fetch it again.")


def _float32(value: Tensor) -> Tensor:
    return value.to(torch.float32) if value.is_floating_point() else value
