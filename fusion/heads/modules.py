"""Heads that train: torch modules from the features of one or several encoders to logits.

Each takes one block (N, D_e) per encoder, None where an encoder is missing, and gives (N, K). Blocks are standardised
by the mean and deviation of the training features, so that a wide or loud encoder does not drown the others.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import zoo

Blocks = Sequence[Tensor | None]
Arrays = dict[str, npt.NDArray[np.floating]]

_WIDTH = 64  # of the tokens that `attention` compares
_PARTS = 4  # attention heads


class Standard(nn.Module):
    """Standardisation by numbers that do not train; a block that is missing becomes the training mean, 0."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale


class TrainedHead(nn.Module):
    """What all of them share: standardised blocks in, logits out."""

    def __init__(self, widths: Sequence[int], classes: int, multilabel: bool = False) -> None:
        super().__init__()
        self.standards = nn.ModuleList(Standard(width) for width in widths)
        self.widths, self.classes, self.multilabel = list(widths), classes, multilabel

    def forward(self, blocks: Blocks) -> Tensor:
        """One (N, D_e) per encoder, or None -> logits (N, K)."""
        present = next((block for block in blocks if block is not None), None)
        if present is None or len(blocks) != len(self.widths):
            raise ValueError(f"blocks must be {len(self.widths)}, not all of them missing. Keep one encoder.")
        seen = torch.tensor([block is not None for block in blocks], device=present.device)
        filled = [
            present.new_zeros(len(present), width) if block is None else standard(block)
            for block, standard, width in zip(blocks, self.standards, self.widths, strict=True)
        ]
        return self.join(filled, seen)

    def join(self, blocks: list[Tensor], seen: Tensor) -> Tensor:
        """Standardised blocks, and which of them are there (E,) -> (N, K)."""
        raise NotImplementedError

    def standardise(self, blocks: Sequence[npt.NDArray[np.floating]]) -> None:
        """Take mean and deviation from training features (N, D_e)."""
        for standard, block in zip(self.standards, blocks, strict=True):
            deviation = block.std(0, dtype=np.float64)
            _set(cast(Standard, standard).mean, block.mean(0, dtype=np.float64))
            _set(cast(Standard, standard).scale, np.where(deviation > 0, deviation, 1.0))

    def log_proba(self, logits: Tensor) -> Tensor:
        """Logits to log-probabilities: of one class among K, or of each label by itself."""
        return nn.functional.logsigmoid(logits) if self.multilabel else logits.log_softmax(-1)


class Concat(TrainedHead):
    """One linear map on all blocks side by side."""

    def __init__(self, widths: Sequence[int], classes: int, multilabel: bool = False) -> None:
        super().__init__(widths, classes, multilabel)
        self.linear = nn.Linear(sum(widths), classes)

    def join(self, blocks: list[Tensor], seen: Tensor) -> Tensor:
        del seen
        return cast(Tensor, self.linear(torch.cat(blocks, 1)))


class Mean(TrainedHead):
    """A linear map per encoder; the plain mean of their logits."""

    def __init__(self, widths: Sequence[int], classes: int, multilabel: bool = False) -> None:
        super().__init__(widths, classes, multilabel)
        self.linears = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def join(self, blocks: list[Tensor], seen: Tensor) -> Tensor:
        parts = torch.stack([linear(x) for linear, x in zip(self.linears, blocks, strict=True)], 1)  # (N, E, K)
        return self.weigh(parts, blocks, seen)

    def weigh(self, parts: Tensor, blocks: list[Tensor], seen: Tensor) -> Tensor:
        """(N, E, K) -> (N, K)."""
        del blocks
        return parts[:, seen].mean(1)


class Convex(Mean):
    """Weights >= 0 that sum to 1, the same for all images."""

    def __init__(self, widths: Sequence[int], classes: int, multilabel: bool = False) -> None:
        super().__init__(widths, classes, multilabel)
        self.balance = nn.Parameter(torch.zeros(len(widths)))

    def weigh(self, parts: Tensor, blocks: list[Tensor], seen: Tensor) -> Tensor:
        del blocks
        weights = self.balance.masked_fill(~seen, -torch.inf).softmax(0)
        return torch.einsum("nek,e->nk", parts, weights)


class Gated(Mean):
    """Weights >= 0 that sum to 1, chosen for every image from all features. Source: Arevalo et al. arXiv:1702.01992."""

    def __init__(self, widths: Sequence[int], classes: int, multilabel: bool = False) -> None:
        super().__init__(widths, classes, multilabel)
        self.gate = nn.Linear(sum(widths), len(widths))
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def weigh(self, parts: Tensor, blocks: list[Tensor], seen: Tensor) -> Tensor:
        weights = self.gate(torch.cat(blocks, 1)).masked_fill(~seen, -torch.inf).softmax(1)  # (N, E)
        return torch.einsum("nek,ne->nk", parts, weights)


class Stack(Mean):
    """A second linear map on the log-probabilities of all encoders' own; a missing one has no opinion."""

    def __init__(self, widths: Sequence[int], classes: int, multilabel: bool = False) -> None:
        super().__init__(widths, classes, multilabel)
        self.second = nn.Linear(len(widths) * classes, classes)

    def weigh(self, parts: Tensor, blocks: list[Tensor], seen: Tensor) -> Tensor:
        del blocks
        opinions = parts * seen[:, None]  # (N, E, K)
        opinions = opinions if self.multilabel else opinions.log_softmax(-1)
        return cast(Tensor, self.second(opinions.flatten(1)))


class Attention(TrainedHead):
    """A learned query looks at one token per encoder. Source: Vaswani et al. arXiv:1706.03762, multi-head attention."""

    def __init__(self, widths: Sequence[int], classes: int, multilabel: bool = False) -> None:
        super().__init__(widths, classes, multilabel)
        self.tokens = nn.ModuleList(nn.Linear(width, _WIDTH) for width in widths)
        self.query = nn.Parameter(torch.randn(1, 1, _WIDTH) / _WIDTH**0.5)
        self.attention = nn.MultiheadAttention(_WIDTH, _PARTS, batch_first=True)
        self.linear = nn.Linear(_WIDTH, classes)

    def join(self, blocks: list[Tensor], seen: Tensor) -> Tensor:
        tokens = torch.stack([token(x) for token, x in zip(self.tokens, blocks, strict=True)], 1)  # (N, E, D)
        query = self.query.expand(len(tokens), -1, -1)
        missing = (~seen).expand(len(tokens), -1)
        found, _ = self.attention(query, tokens, tokens, key_padding_mask=missing, need_weights=False)
        return cast(Tensor, self.linear(found[:, 0]))  # (N, 1, D) -> (N, K)


MODULES: dict[str, type[TrainedHead]] = {
    "concat": Concat,
    "convex": Convex,
    "gated": Gated,
    "attention": Attention,
    "stack": Stack,
    "mean": Mean,
}


class Fused(nn.Module):
    """Encoders and a head as one network: a list of (N, C, H, W), one per encoder, -> logits (N, K)."""

    def __init__(self, encoders: Sequence[zoo.Encoder], head: TrainedHead) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.head = head

    def forward(self, images: Sequence[Tensor], dropped: int | None = None) -> Tensor:
        """`dropped`: the encoder that is missing in this batch."""
        blocks = [
            None if e == dropped else encoder(x)
            for e, (encoder, x) in enumerate(zip(self.encoders, images, strict=True))
        ]
        return cast(Tensor, self.head(blocks))


def settle_modes(module: nn.Module, statistics: bool, training: bool = True) -> None:
    """Training mode where weights move, `eval()` where they are frozen: there statistics stand still, dropout is off.

    Args:
        module: What is settled, with all it holds.
        statistics: Whether BatchNorm statistics move where the weights do.
        training: The mode of modules without weights: that of what comes before them.
    """
    own = list(module.parameters())
    training = any(parameter.requires_grad for parameter in own) if own else training
    still = isinstance(module, nn.modules.batchnorm._BatchNorm) and not statistics
    module.training = training and not still
    for child in module.children():
        settle_modes(child, statistics, training)
        weights = list(child.parameters())
        training = any(weight.requires_grad for weight in weights) if weights else training


def _set(target: Tensor, values: npt.NDArray[np.floating]) -> None:
    target.copy_(torch.from_numpy(np.asarray(values)).to(target))
