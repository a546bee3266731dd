"""Where the four quarters of each family lie: the map is data, one `Family` per timm class."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from zoo.networks.depth import blocks_kept

Quarters = list[list[str]]


@dataclass(frozen=True)
class Family:
    """Rules for how one kind of network is read.

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


def family(network: nn.Module) -> Family:
    """The row of the quarter map for `network`."""
    for kind in type(network).__mro__:
        if kind.__name__ in FAMILIES:
            return FAMILIES[kind.__name__]
    raise ValueError(f"architecture must be one of {sorted(FAMILIES)} (got {type(network).__name__}). Choose another.")


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
