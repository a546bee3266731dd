"""Architectures: where each family's four quarters lie, and how a network is cut after a block.

The map is data: one `Family` per timm class. A block is named by the module whose output ends it; whatever comes
before it in the network (stem, downsampling, convolution) goes with it. A cut then needs no code per family: every
module behind the block is dropped, and timm's own `forward_features` computes what is left.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models._manipulate import reinit_non_persistent_buffers
from torch import nn

from zoo.networks.depth import blocks_kept, depths_of

Quarters = list[list[str]]

# Arguments by which timm reads files or asks the Hub: weights come through `zoo.fetching.opened` and no other way.
_OUTSIDE = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "features_only"}


@dataclass(frozen=True)
class Family:
    """How one kind of network is read.

    Attributes:
        quarters: The names of the blocks of each of the four quarters.
        consumer: The name of the activation norm that the next consumer of a block's output applies to it, if any.
        norm: The network's own last norm before pooling, kept at depth 1 only.
        pooled_norm: Candidates for its own last norm after pooling, kept at depth 1 only.
    """

    quarters: Callable[[nn.Module], Quarters]
    consumer: Callable[[nn.Module, str], str] | None = None
    norm: str | None = None
    pooled_norm: str | None = None


@dataclass(frozen=True)
class Cut:
    """A network cut at a depth: `trunk` computes the map, `norm` is applied after pooling.

    `sources` gives for each key of the state dict its name in the full network; `blocks` are the kept blocks per
    quarter, `depths` the depth at the end of each of them, and `taps`, for each but the last, the module whose output
    is what an encoder cut there gives before pooling.
    """

    trunk: nn.Module
    norm: nn.Module
    blocks: Quarters
    depths: tuple[float, ...]
    taps: list[str]
    sources: dict[str, str]


def build(architecture: str, kwargs: dict[str, Any], device: str = "meta") -> nn.Module:
    """Build the timm network without a classifier; on the meta device it has shapes and code, but no numbers.

    Raises:
        ValueError: timm does not know the architecture or its arguments, or its quarters are not mapped.
    """
    if not timm.is_model(architecture) or (outside := sorted(_OUTSIDE & kwargs.keys())):
        got = repr(architecture) if not timm.is_model(architecture) else f"the argument {outside[0]}"
        raise ValueError(f"architecture must be a name that timm lists, built from numbers (got {got}). Edit the card.")
    try:
        with torch.device(device):
            network = timm.create_model(architecture, pretrained=False, num_classes=0, **kwargs)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"architecture must be one timm builds (got {architecture!r}: {error}). Edit the card."
        ) from None
    family(network)
    return network


def family(network: nn.Module) -> Family:
    """The row of the quarter map for `network`."""
    for kind in type(network).__mro__:
        if kind.__name__ in FAMILIES:
            return FAMILIES[kind.__name__]
    raise ValueError(f"architecture must be one of {sorted(FAMILIES)} (got {type(network).__name__}). Choose another.")


def cut(network: nn.Module, depth: float) -> Cut:
    """Cut `network` in place at `depth`: nothing of a later block stays, but the norm that ends the last one."""
    kind = family(network)
    names = {id(value): name for name, value in _state(network)}
    quarters = kind.quarters(network)
    kept = blocks_kept(depth, [len(blocks) for blocks in quarters])
    blocks = _first(quarters, kept)
    last = blocks[-1][-1]
    whole = kept == sum(map(len, quarters))
    norm = _submodule(network, kind.pooled_norm if whole else None)
    tap = _submodule(network, kind.consumer(network, last) if kind.consumer else None)
    inner = [block for quarter in blocks for block in quarter][:-1]
    taps = [kind.consumer(network, block) for block in inner] if kind.consumer else inner
    depths = depths_of([len(quarter) for quarter in quarters])[:kept]
    drop_after(network, last.split("."), keep=kind.norm if whole else None)
    if kind.consumer:
        network.get_submodule("features").add_module("tap", tap)
    pieces = {"trunk": network, "norm": norm}
    sources = {f"{p}.{key}": names[id(value)] for p, piece in pieces.items() for key, value in _state(piece)}
    return Cut(network, norm, blocks, depths, taps, sources)


def drop_after(module: nn.Module, path: list[str], keep: str | None = None) -> None:
    """Remove from `module` every child behind the one `path` leads to, but the child called `keep`."""
    found = False
    for name, child in list(module.named_children()):
        if found and name != keep:
            _drop(module, name)
        elif name == path[0]:
            found = True
            if path[1:]:
                drop_after(child, path[1:])


def materialise(module: nn.Module) -> None:
    """Compute the buffers that no file holds, by the network's own code; nothing may be left on the meta device."""
    for child in module.modules():
        if hasattr(child, "init_non_persistent_buffers"):
            for name in child._non_persistent_buffers_set:
                if (buffer := child._buffers[name]) is not None and buffer.is_meta:
                    child._buffers[name] = torch.empty_like(buffer, device="cpu")
    reinit_non_persistent_buffers(module)
    empty = [
        name for name, value in itertools.chain(module.named_parameters(), module.named_buffers()) if value.is_meta
    ]
    if empty:
        raise RuntimeError(f"every tensor must hold numbers (without: {empty}). Report this architecture as a bug.")


def _drop(module: nn.Module, name: str) -> None:
    # A container runs what it holds; an attribute is called by name and becomes a pass-through.
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        delattr(module, name)
    else:
        setattr(module, name, nn.Identity())


def _submodule(network: nn.Module, name: str | None) -> nn.Module:
    try:
        return network.get_submodule(name) if name else nn.Identity()
    except AttributeError:
        return nn.Identity()


def _first(quarters: Quarters, count: int) -> Quarters:
    left = iter(range(count))
    taken = [[block for block, _ in zip(blocks, left, strict=False)] for blocks in quarters]
    return [blocks for blocks in taken if blocks]


def _state(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    return iter(module.state_dict(keep_vars=True).items())


def _numbered(network: nn.Module, stages: str, inner: str = "") -> list[str]:
    return [f"{stages}{inner}.{i}" for i in range(len(network.get_submodule(f"{stages}{inner}")))]  # type: ignore[arg-type]


def _resnet(network: nn.Module) -> Quarters:
    return [_numbered(network, f"layer{q}") for q in (1, 2, 3, 4)]


def _densenet(network: nn.Module) -> Quarters:
    names = [
        [name for name, _ in network.get_submodule(f"features.denseblock{q}").named_children()] for q in range(1, 5)
    ]
    return [[f"features.denseblock{q}.{name}" for name in block] for q, block in enumerate(names, 1)]


def _densenet_consumer(network: nn.Module, block: str) -> str:
    quarter, layer = (int("".join(filter(str.isdigit, part))) for part in block.split(".")[1:])
    if block != _densenet(network)[quarter - 1][-1]:
        return f"features.denseblock{quarter}.denselayer{layer + 1}.norm1"
    return f"features.transition{quarter}.norm" if quarter < 4 else "features.norm5"


def _vgg(network: nn.Module) -> Quarters:
    stages: Quarters = [[]]
    layers = list(network.get_submodule("features").named_children())
    for (name, layer), (_, following) in itertools.pairwise(layers):
        if isinstance(layer, nn.MaxPool2d):
            stages.append([])
        elif isinstance(following, nn.Conv2d | nn.MaxPool2d):
            stages[-1].append(f"features.{name}")
    return [stages[0] + stages[1], *stages[2:]]


def _isotropic(network: nn.Module) -> Quarters:
    blocks = _numbered(network, "blocks")
    ends = [blocks_kept(q / 4, [1] * len(blocks)) for q in range(5)[1:]]
    return [blocks[start:end] for start, end in itertools.pairwise([0, *ends])]


def _staged(stages: str) -> Callable[[nn.Module], Quarters]:
    return lambda network: [_numbered(network, f"{stages}.{q}", ".blocks") for q in range(4)]


FAMILIES = {
    "ResNet": Family(_resnet),
    "DenseNet": Family(_densenet, consumer=_densenet_consumer),
    "VGG": Family(_vgg),
    "VisionTransformer": Family(_isotropic, norm="norm", pooled_norm="fc_norm"),
    "Eva": Family(_isotropic, norm="norm", pooled_norm="fc_norm"),
    "SwinTransformer": Family(_staged("layers"), norm="norm"),
    "ConvNeXt": Family(_staged("stages"), norm="norm_pre", pooled_norm="head.norm"),
}
