"""Architectures: where each family's four quarters lie, and how a network is cut after a block.

The map is data: one `Family` per timm class. A block is named by the module whose output ends it; whatever comes
before it in the network (stem, downsampling, convolution) goes with it. A cut then needs no code per family: every
module behind the block is dropped, and timm's own `forward_features` computes what is left.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models._manipulate import reinit_non_persistent_buffers
from torch import nn
from torch.overrides import TorchFunctionMode

from zoo.networks.depth import blocks_kept, depths_of
from zoo.networks.families import Family, Quarters, family

# Arguments by which timm reads files or asks the Hub: weights come through `zoo.fetching.opened` and no other way.
_OUTSIDE = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "features_only"}


# The largest networks that timm lists and quarters map have 7 billion numbers in 3,000 tensors. A card may ask for any.
_MOST_NUMBERS = 10_000_000_000
_MOST_TENSORS = 10_000
_MOST_BUFFERS = 50_000_000
_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.tensor, torch.rand, torch.randn, torch.arange}


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
        ValueError: timm does not know the architecture or its arguments, it is too large, or its quarters are not
            mapped.
    """
    if not timm.is_model(architecture) or (outside := sorted(_OUTSIDE & kwargs.keys())):
        got = repr(architecture) if not timm.is_model(architecture) else f"the argument {outside[0]}"
        raise ValueError(f"architecture must be a name that timm lists, built from numbers (got {got}). Edit the card.")
    with _clear(architecture):
        network = _built(architecture, kwargs, "meta")
    kind = family(network)
    with _clear(architecture):
        _check_built(network, kind)
        return network if device == "meta" else _built(architecture, kwargs, device)


@contextmanager
def _clear(architecture: str) -> Iterator[None]:
    """Whatever the arguments of a card provoke in timm is one sentence about the card."""
    try:
        yield
    except Exception as error:
        fact = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(
            f"architecture must be one timm builds (got {architecture!r}: {fact}). Edit the card."
        ) from None


class _Bounded(TorchFunctionMode):
    """Stops a build in this thread that makes more tensors, or larger ones, than any network has."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors = self.numbers = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in _FACTORIES and isinstance(made, torch.Tensor):
            self.tensors += 1
            self.numbers += made.numel()
            if self.tensors > _MOST_TENSORS or self.numbers > _MOST_NUMBERS:
                raise ValueError(
                    f"its arguments ask for more than {_MOST_TENSORS:,} tensors or {_MOST_NUMBERS:,} numbers"
                )
        return made


def _built(architecture: str, kwargs: dict[str, Any], device: str) -> nn.Module:
    with torch.device(device), _Bounded():
        network: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=0, **kwargs)
    return network


def _check_built(network: nn.Module, kind: Family) -> None:
    quarters = kind.quarters(network)
    if len(quarters) != 4 or not any(quarters):
        raise ValueError(f"its four quarters must hold blocks, not {[len(blocks) for blocks in quarters]}")
    # No file holds these: they are computed at every load.
    if sum(value.numel() for value in network.buffers()) > _MOST_BUFFERS:
        raise ValueError(f"its arguments ask for buffers of more than {_MOST_BUFFERS:,} numbers")


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
