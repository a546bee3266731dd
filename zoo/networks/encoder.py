"""The encoder: a truncated network with its card's preprocessing, pooling and load report."""

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.images.preprocess import Preprocess
from zoo.networks.cutting import Cut
from zoo.networks.families import Quarters
from zoo.networks.twin import twin
from zoo.registry.cards import Card


@dataclass(frozen=True)
class Report:
    """Report of what a load did.

    Attributes:
        name: The encoder's name, `card@depth`.
        depth: The depth in (0, 1].
        depth_evidence: Why this depth: `argument`, or the card's `measured`, `prior` or `default`.
        matched: Tensors loaded.
        dropped: Tensors of the file that the depth does not need.
        missing, unexpected: Keys that did not fit; a load that returns has none.
        parameters: Parameters held.
        dtype: The floating type stored in the file; the encoder computes in float32.
        fetched: Bytes that came over the network for this load.
        file: The file, or the folder of its pieces; None when nothing was loaded.
        sha256: Of the whole file, where it is known.
        digest: Of the tensors loaded: their names and sha256s, hashed; the identity of what this encoder holds.
        verified: What every byte was compared with at this load: the digests of the `card`, of the `hub` (beside the
            weights), of the `whole file` (whose own sha256 was right), of a `conversion`, of the `first-use` (nothing
            yet, the first time); `own file`, `untrained` and `fine-tuned`: with nothing.
        revision: The commit it was fetched at.
        preprocess: The rule from stored pixels to the encoder's input.
    """

    name: str
    depth: float
    depth_evidence: str
    matched: int
    dropped: int
    parameters: int
    dtype: str
    fetched: int
    file: str | None
    sha256: str | None
    digest: str | None
    verified: str
    revision: str | None
    preprocess: str
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shapes:
    """Shapes of what comes out: the width after pooling, and the channels and strides of each map of the pyramid."""

    num_features: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]


class Encoder(nn.Module):
    """A pretrained network up to a depth, in `eval()` mode, with gradients possible.

    Made by `zoo.load`. `encoder(x)` takes (N, C, H, W), as `encoder.preprocess` returns it, and gives (N, D).

    Attributes:
        name: `card@depth`, for example `mocov2-chest@0.75`.
        card: The record it was built from.
        report: What was loaded, and how it was verified.
        num_features: D, the width after pooling.
        channels, strides: Of each map that `pyramid` returns.
        depths: At the end of each kept block, in (0, 1].
        preprocess: The card's way from images to (N, C, H, W).
    """

    def __init__(self, cut: Cut, card: Card, depth: float) -> None:
        super().__init__()
        self.trunk, self.norm = cut.trunk, cut.norm
        self.card = card
        self.depth = depth
        self.name = f"{card.name}@{depth:g}"
        self.preprocess = Preprocess(card)
        self._blocks, self._taps, self.depths = cut.blocks, cut.taps, cut.depths
        self.report: Report | None = None
        shapes = self._shapes()
        self.num_features, self.channels, self.strides = shapes.num_features, shapes.channels, shapes.strides

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D), pooled as the card says."""
        return self._pool(self._features(x))

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> one map (N, C_i, H / s_i, W / s_i) at the end of each kept quarter, shallow to deep."""
        ends = itertools.accumulate(len(quarter) for quarter in self._blocks[:-1])
        inner, last = self._caught(x, [self._taps[end - 1] for end in ends], self._as_map)
        return [*inner, self._as_map(last)]

    def maps(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> one map (N, C_l, H_l, W_l) at the end of each kept block, as `depths` names them."""
        inner, last = self._caught(x, self._taps, self._as_map)
        return [*inner, self._as_map(last)]

    def at_depths(self, x: Tensor, places: Sequence[int] | None = None) -> list[Tensor]:
        """(N, C, H, W) -> for each of `depths` the features (N, D_l) of the encoder cut there, from one pass.

        Args:
            x: As `preprocess` gives it.
            places: Of those of `depths` that are wanted, from 0 and rising; None takes all.

        Raises:
            ValueError: There is no place, or they do not rise, or one lies outside of `depths`.
        """
        last = len(self.depths) - 1
        wanted = list(range(last + 1) if places is None else places)
        if not wanted or wanted != sorted(set(wanted) & set(range(last + 1))):
            raise ValueError(
                f"{self.name}: places must rise from 0 to {last} at most (got {wanted}). "
                "Leave them out for all of encoder.depths."
            )
        if wanted == [last]:
            return [self(x)]
        inner, deepest = self._caught(x, [self._taps[place] for place in wanted if place < last], self._average)
        return [*inner, self._pool(deepest)] if last in wanted else inner

    def at_rest(self) -> "Encoder":
        """Give the encoder in `eval()` mode, for a call or many: it shares every tensor and leaves all modes alone."""
        return twin(self, training=False)

    def identity(self) -> str:
        """Return what tells this encoder from any that gives other features, as 64 hex digits.

        It is hashed from every tensor that is held, and from what the card says of architecture, pooling and input:
        neither a name nor where it came from.
        """
        facts = {key: getattr(self.card, key) for key in ("architecture", "kwargs", "pool")}
        facts |= {"input": self.card.input.model_dump(), "depth": self.depths}
        found = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        for name, value in sorted(self.state_dict().items()):
            held = value.detach().cpu().contiguous()
            found.update(f"{name} {held.dtype} {tuple(held.shape)} ".encode())
            found.update(held.view(torch.uint8).numpy() if held.ndim else held.reshape(1).view(torch.uint8).numpy())
        return found.hexdigest()

    def quarters(self) -> list[dict[str, Any]]:
        """The parameters in order of depth, one group per kept quarter, as a torch optimiser takes them.

        Example:
            >>> import torch, zoo
            >>> encoder = zoo.load("mocov2-mini")
            >>> optimiser = torch.optim.AdamW([{**group, "lr": 1e-4} for group in encoder.quarters()])
        """
        return _named("quarter", self._grouped(self._blocks))

    def blocks(self) -> list[dict[str, Any]]:
        """Group parameters as `quarters`, by kept block: `stem` (where the network has one), `block-1`, `block-2`, ...

        Downsampling goes with the block behind it, the last norm with the last block.
        """
        ends = [block for quarter in self._blocks for block in quarter]
        first, *others = self._grouped([[end] for end in ends])
        own = {id(parameter) for parameter in self.trunk.get_submodule(ends[0]).parameters()}
        stem = [parameter for parameter in first if own and id(parameter) not in own]
        block = [parameter for parameter in first if not own or id(parameter) in own]
        return ([{"name": "stem", "params": stem}] if stem else []) + _named("block", [block, *others])

    def _grouped(self, spans: Quarters) -> list[list[nn.Parameter]]:
        names = [name for name, _ in self.trunk.named_modules()]
        ends = [max(i for i, name in enumerate(names) if f"{name}.".startswith(f"{span[-1]}.")) for span in spans]
        groups: list[list[nn.Parameter]] = [[] for _ in ends]
        for name, parameter in self.trunk.named_parameters():
            # A class token or position embedding is registered on the network itself: it goes with the first group.
            place = names.index(name.rpartition(".")[0])
            group = next((g for g, end in enumerate(ends) if place <= end), len(ends) - 1)
            groups[group].append(parameter)
        groups[-1] += list(self.norm.parameters())
        return groups

    def extra_repr(self) -> str:
        return f"{self.name}: {self.num_features} features, strides {self.strides}"

    def _features(self, x: Tensor) -> Tensor:
        channels = self.card.input.channels
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(
                f"{self.name}: x must be (N, {channels}, H, W) (got {tuple(x.shape)}). "
                "Take what this encoder's own preprocess gives: encoder(encoder.preprocess(images))."
            )
        return cast(Tensor, cast(Any, self.trunk).forward_features(x))

    def _pool(self, x: Tensor) -> Tensor:
        if x.ndim == 3:
            return cast(Tensor, self.norm(self._pool_tokens(x)))
        # ConvNeXt's norm after pooling wants a map: (N, D, H, W) -> (N, D, 1, 1) -> (N, D)
        return cast(Tensor, self.norm(self._as_map(x).mean((2, 3), keepdim=True)).flatten(1))

    def _pool_tokens(self, tokens: Tensor) -> Tensor:
        cls, patches = tokens[:, 0], tokens[:, self._prefix :].mean(1)  # (N, T, D) -> (N, D) each
        return {"cls": cls, "avg": patches, "cls+avg": torch.cat([cls, patches], 1)}[self.card.pool]

    def _average(self, x: Tensor) -> Tensor:
        return self._pool_tokens(x) if x.ndim == 3 else self._as_map(x).mean((2, 3))

    def _caught(self, x: Tensor, names: list[str], reduce: Callable[[Tensor], Tensor]) -> tuple[list[Tensor], Tensor]:
        """What the modules of these names give, each reduced at once: few maps are held. And what the trunk gives."""
        caught: list[Tensor] = []
        own = twin(self)  # its taps are this call's alone
        for name in names:
            own.trunk.get_submodule(name).register_forward_hook(lambda *a: caught.append(reduce(a[2])))
        return caught, own._features(x)

    def _as_map(self, x: Tensor) -> Tensor:
        if x.ndim == 3:
            height, width = cast(Any, self.trunk).patch_embed.grid_size
            tokens = x[:, self._prefix :].transpose(1, 2)  # (N, T, D) -> (N, D, H * W)
            return tokens.reshape(len(x), -1, height, width)  # (N, D, H * W) -> (N, D, H, W)
        if getattr(self.trunk, "output_fmt", "NCHW") == "NHWC":
            return x.permute(0, 3, 1, 2)  # (N, H, W, D) -> (N, D, H, W)
        return x

    @property
    def _prefix(self) -> int:
        return int(getattr(self.trunk, "num_prefix_tokens", 0))

    def _shapes(self) -> Shapes:
        # Shapes are measured, not declared; on the meta device, where `load` builds, this costs nothing.
        size, channels = self.card.input.size, self.card.input.channels
        was_training = self.training
        self.eval()
        with torch.no_grad():
            place = next(self.trunk.parameters()).device
            x = torch.zeros(2, channels, size, size, device=place)
            deepest = self._features(x)
            if deepest.ndim != 3 and self.card.pool != "avg":
                raise ValueError(
                    f"pool must be avg for {self.card.architecture} (got {self.card.pool!r}). Edit the card."
                )
            maps = self.pyramid(x)
        self.train(was_training)
        strides = tuple(round(size / level.shape[-1]) for level in maps)
        return Shapes(self._pool(deepest).shape[1], tuple(level.shape[1] for level in maps), strides)


def _named(kind: str, groups: list[list[nn.Parameter]]) -> list[dict[str, Any]]:
    return [{"name": f"{kind}-{number}", "params": group} for number, group in enumerate(groups, 1)]
