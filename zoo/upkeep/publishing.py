"""What a repo holds beside weights and digests: the pinned card, timm's config.json; and what must hold before."""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from timm.models._hub import save_config_for_hf
from torch import nn

from zoo import loading
from zoo.fetching import digests as digests_
from zoo.fetching import header, opened
from zoo.fetching.digests import Digests
from zoo.fetching.hub import WeightsError
from zoo.networks import cutting
from zoo.networks.encoder import Encoder
from zoo.registry import cards
from zoo.registry.cards import Card
from zoo.upkeep import golden

_CROPS = {"squash": "squash", "crop": "center", "pad": "border"}  # timm's names


def pin(text: str, place: dict[str, Any], tags: list[str]) -> str:
    """The card's text with another `weights` block, and with these tags too; every other byte stays."""
    front, mark, body = text.removeprefix("---\n").partition("\n---\n")
    root = yaml.compose(front, Loader=yaml.SafeLoader)
    edits = [(*_span(_child(_child(root, "zoo"), "weights")), _flow(place))]
    have = yaml.safe_load(front).get("tags") or []
    have = have if isinstance(have, list) else [have]
    if missing := [tag for tag in tags if tag not in have]:
        whole = yaml.safe_dump(have + missing, default_flow_style=True, width=math.inf, allow_unicode=True).strip()
        if node := _child(root, "tags"):
            # A list written in lines may start in the first column, where a bracket may not.
            edits.append((*_span(node), whole if getattr(node, "flow_style", True) else f" {whole}"))
        else:
            edits.append((len(front), len(front), f"\ntags: {whole}"))
    for start, stop, new in sorted(edits, reverse=True):
        front = front[:start] + new + front[stop:]
    return f"---\n{front}{mark}{body}"


def config(card: Card) -> bytes:
    """The config.json by which timm builds the same network, with the card's pooling and preprocessing where it can."""
    network = cutting.build(card.architecture, card.kwargs)
    network = cutting.build(card.architecture, {**card.kwargs, **_pooling(card, network)})
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "config.json"
        save_config_for_hf(network, str(path), data_config=pixels(card))
        return path.read_bytes()


def pixels(card: Card) -> dict[str, Any]:
    """The card's preprocessing in timm's words: a `pretrained_cfg` for `timm.data.resolve_data_config`."""
    how, (low, high) = card.input, card.input.range
    return {
        "input_size": (how.channels, how.size, how.size),
        # timm normalises pixels in [0, 1]
        "mean": tuple((value - low) / (high - low) for value in how.mean or ()),
        "std": tuple(value / (high - low) for value in how.std or ()),
        "interpolation": how.interpolation,
        "crop_pct": how.crop_pct,
        "crop_mode": _CROPS[how.resize],
    }


def examine(path: Path, file: Path) -> tuple[Card, Digests]:
    """Load and run the encoder at every quarter; returns its card and the file's digests with the golden features.

    Raises:
        CardError, WeightsError, ValueError: The card is not complete, or the file is not what it describes.
    """
    card = cards.read(path)
    if unknown := [key for key in ("mean", "std", "interpolation") if getattr(card.input, key) is None]:
        raise ValueError(f"{path} must state {', '.join(unknown)} (got null). Edit its front matter.")
    _check_names(card, file, path)
    found = _digests(file)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / path.name
        text = pin(path.read_text(encoding="utf-8"), {"repo": None, "file": file.name}, [])
        plain.write_text(text, encoding="utf-8")
        encoders = (loading.load(card.name, quarter / 4, card=plain, weights=file) for quarter in (1, 2, 3, 4))
        values = {f"{encoder.depth:g}": _run(encoder) for encoder in encoders}
    kept = {key: values[key] for key in (f"{depth:g}" for depth in golden.DEPTHS)}
    cosines = {depth: golden.cosine(kept[depth], known) for depth, known in found.golden.items()}
    if min(cosines.values(), default=1.0) < golden.CLOSE:
        raise WeightsError(f"{file} must give its golden features (got cosines {cosines}). Compare timm's version.")
    return card, found.model_copy(update={"golden": kept})


def _pooling(card: Card, network: nn.Module) -> dict[str, Any]:
    """What makes a network of tokens pool as the card says, while its norms keep their names."""
    wanted = {"avg": "avg", "cls": "token"}.get(card.pool)  # timm has no name for both together
    if wanted is None or not hasattr(network, "num_prefix_tokens") or network.global_pool == wanted:
        return {}
    flag = "use_fc_norm" if type(network).__name__ == "Eva" else "fc_norm"
    return {"global_pool": wanted, flag: not isinstance(network.fc_norm, nn.Identity)}


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _span(node: yaml.Node | None) -> tuple[int, int]:
    """Where a value lies; for YAML, one written in lines ends only where the next key starts."""
    assert node is not None
    last = node
    while isinstance(last, yaml.CollectionNode) and not last.flow_style:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    return node.start_mark.index, last.end_mark.index


def _flow(values: dict[str, Any]) -> str:
    return f"{{{', '.join(f'{key}: {json.dumps(value)}' for key, value in values.items())}}}"


def _check_names(card: Card, file: Path, path: Path) -> None:
    step = f"Run zoo-upload convert {file} OUTPUT --card {path}."
    try:
        have = header.read(file).spans.keys()
    except FileNotFoundError:
        raise WeightsError(f"weights must be an existing file (got {str(file)!r}). Check the path.") from None
    except ValueError as error:
        raise WeightsError(f"{file} must be a whole safetensors file: {error}. {step}") from None
    want = cutting.build(card.architecture, card.kwargs).state_dict().keys()
    if wrong := sorted(have ^ want):
        raise WeightsError(
            f"{file} must have exactly timm's names ({len(wrong)} differ: {', '.join(wrong[:5])}). {step}"
        )


def _digests(file: Path) -> Digests:
    """The file's digests; those that `convert` left beside it must agree, and tell its source."""
    found, beside = opened.digest(file), file.with_suffix(".digests.json")
    if not beside.is_file():
        return found
    kept = digests_.parse(beside.read_bytes())
    if kept.model_copy(update={"source": None, "golden": {}}) != found:
        raise WeightsError(f"{file} must be the file that {beside.name} lists (got another). Convert it again.")
    return kept


def _run(encoder: Encoder) -> list[float]:
    x = golden.fixed_input(encoder.card)
    with torch.no_grad():
        features = encoder(torch.cat([x, -x]))  # two times (1, C, H, W) -> (2, D)
    if not torch.isfinite(features).all():
        raise ValueError(f"{encoder.name}: features must be finite (got NaN or infinity). Check the weights.")
    if torch.allclose(features[0], features[1]):
        raise ValueError(f"{encoder.name}: features must tell two images apart (got equal ones). Check the weights.")
    return golden.values(encoder)
