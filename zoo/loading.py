"""From a name to an encoder: card -> verified file -> empty network -> cut -> strict load -> encoder."""

from pathlib import Path

import safetensors
import torch
from torch import Tensor

from zoo import architectures, cards, hub, layouts
from zoo import depth as depths
from zoo.encoder import Encoder, Report


def load(
    name: str,
    depth: float | None = None,
    *,
    card: str | Path | None = None,
    weights: str | Path | None = None,
    device: str | torch.device | None = None,
) -> Encoder:
    """Load the encoder called `name`, truncated at `depth`, verified, in `eval()` mode.

    Args:
        name: A name of `zoo.names()`, also `name@depth`; with `card`, any name for the encoder.
        depth: In (0, 1], quarters of 0.25; None takes the card's optimal depth.
        card: A card file of your own, for a checkpoint the registry does not have.
        weights: A local safetensors file, instead of the one the card names.
        device: Where to put the encoder; None leaves it on the CPU.

    Raises:
        CardError: The name is unknown (the nearest ones are offered) or the card is not valid.
        WeightsError: The file cannot be had, is not the published one, or does not fit the architecture.
        ValueError, TypeError: The depth is not a number in (0, 1].

    Example:
        >>> import zoo
        >>> encoder = zoo.load("mocov2-mini", depth=0.75)
        >>> encoder.num_features, encoder.strides
        (128, (4, 8, 16))
    """
    name, depth = _split(name, depth)
    record = cards.read(card) if card is not None else cards.find(name)
    depth, evidence = _resolve(record, depth)
    try:
        network = architectures.build(record.architecture, record.kwargs)
        shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
        cut = architectures.cut(network, depth)
        encoder = Encoder(cut, record, depth)
        file = hub.fetch(record, weights)
        dtype = _fill(encoder, file.path, layout=record.weights.layout, shapes=shapes, sources=cut.sources)
    except (ValueError, OSError) as error:
        raise type(error)(f"{record.name}@{depth:g}: {error}") from error
    encoder.report = Report(
        name=encoder.name,
        depth=depth,
        depth_evidence=evidence,
        matched=len(cut.sources),
        dropped=len(shapes) - len(cut.sources),
        parameters=sum(p.numel() for p in encoder.parameters()),
        dtype=dtype,
        fetched=file.fetched,
        file=str(file.path),
        sha256=file.sha256,
        verified=file.verified,
    )
    return encoder.eval().to(device)


def untrained(name: str, depth: float | None = None, *, seed: int = 0) -> Encoder:
    """The architecture of `name` at `depth` with random weights drawn under `seed`: a control, never a fallback."""
    name, depth = _split(name, depth)
    record = cards.find(name)
    depth, evidence = _resolve(record, depth)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architectures.build(record.architecture, record.kwargs, device="cpu")
    whole = len(network.state_dict())
    cut = architectures.cut(network, depth)
    encoder = Encoder(cut, record, depth)
    encoder.name = f"untrained-{encoder.name}#{seed}"
    encoder.report = Report(
        name=encoder.name,
        depth=depth,
        depth_evidence=evidence,
        matched=0,
        dropped=whole - len(cut.sources),
        parameters=sum(p.numel() for p in encoder.parameters()),
        dtype="float32",
        fetched=0,
        file=None,
        sha256=None,
        verified="untrained",
    )
    return encoder.eval()


def _split(name: str, depth: float | None) -> tuple[str, float | None]:
    stem, at, number = name.partition("@")
    if not at:
        return name, depth
    if depth is not None:
        raise ValueError(f"depth must be given once (got {name!r} and depth={depth!r}). Drop one of them.")
    try:
        return stem, float(number)
    except ValueError:
        raise ValueError(f"depth must be a number in (0, 1] (got {number!r}). Try {stem}@0.75.") from None


def _resolve(record: cards.Card, depth: float | None) -> tuple[float, str]:
    if depth is None:
        return record.depth.optimal, record.depth.evidence
    return depths.check(depth), "argument"


def _fill(encoder: Encoder, path: Path, *, layout: str, shapes: dict[str, list[int]], sources: dict[str, str]) -> str:
    """Check the file against the whole network, then give the encoder the tensors it needs; returns their dtype."""
    try:
        with safetensors.safe_open(path, framework="pt") as stored:
            names = layouts.rename(layout, stored.keys())
            _match(path, {new: stored.get_slice(old).get_shape() for new, old in names.items()}, shapes)
            tensors = {key: stored.get_tensor(names[source]) for key, source in sources.items()}
    except safetensors.SafetensorError as error:
        cause = hub.diagnose(path) or str(error)
        raise hub.WeightsError(f"{path} must be a whole safetensors file: {cause}. Fetch it again.") from None
    _check_finite(path, tensors, sources)
    floats = {key: _float32(value) for key, value in tensors.items()}
    encoder.load_state_dict(floats, strict=True, assign=True)
    architectures.materialise(encoder)
    return "+".join(sorted({str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()}))


def _match(path: Path, found: dict[str, list[int]], expected: dict[str, list[int]]) -> None:
    missing, unexpected = sorted(expected.keys() - found), sorted(found.keys() - expected)
    if missing or unexpected:
        raise hub.WeightsError(
            f"{path} must hold exactly the network's tensors (missing: {_some(missing)}; unexpected: "
            f"{_some(unexpected)}). Check the card's architecture, kwargs and layout."
        )
    misshapen = [f"{key} {found[key]}, not {expected[key]}" for key in sorted(expected) if found[key] != expected[key]]
    if misshapen:
        raise hub.WeightsError(
            f"{path} must hold tensors of the network's shapes (got {_some(misshapen)}). Check the card's kwargs."
        )


def _check_finite(path: Path, tensors: dict[str, Tensor], sources: dict[str, str]) -> None:
    broken = sorted(sources[key] for key, value in tensors.items() if not torch.isfinite(value).all())
    if broken:
        raise hub.WeightsError(f"{path} must hold finite numbers (NaN or infinity in {_some(broken)}). Fetch it again.")


def _float32(value: Tensor) -> Tensor:
    # A copy, so that the encoder does not live on the mapped file.
    return value.to(torch.float32, copy=True) if value.is_floating_point() else value.clone()


def _some(keys: list[str]) -> str:
    return f"{', '.join(keys[:5])} and {len(keys) - 5} more" if len(keys) > 5 else ", ".join(keys) or "none"
