"""Heads that train: torch modules from the features of one or several encoders to logits.

Each takes blocks (N, D_e), of one encoder at one depth, None where one is missing, and gives (N, K). Blocks are
standardised by the mean and deviation of the training features, so that a wide or loud one does not drown the others.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

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
    """Base of all heads that train by gradients: standardised blocks in, logits out."""

    def __init__(self, widths: Sequence[int], classes: int, multilabel: bool = False) -> None:
        super().__init__()
        self.standards = nn.ModuleList(Standard(width) for width in widths)
        self.widths, self.classes, self.multilabel = list(widths), classes, multilabel

    def forward(self, blocks: Blocks) -> Tensor:
        """Blocks (N, D_e), or None -> logits (N, K)."""
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

    def looks(self) -> list[bool]:
        """Of each block whether it moves any answer; what a head was solved without, it may not look at."""
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

    def looks(self) -> list[bool]:
        return [bool(part.any()) for part in torch.split(self.linear.weight, self.widths, 1)]


class Mean(TrainedHead):
    """A linear map per block; the plain mean of their logits."""

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

    def looks(self) -> list[bool]:
        return [bool(linear.weight.any()) for linear in cast("list[nn.Linear]", self.linears)]


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

    def looks(self) -> list[bool]:
        heard = [bool(part.any()) for part in torch.split(self.second.weight, self.classes, 1)]
        return [flag and own for flag, own in zip(heard, super().looks(), strict=True)]


class Attention(TrainedHead):
    """A learned query looks at one token per block. Source: Vaswani et al. arXiv:1706.03762, multi-head attention."""

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

    def looks(self) -> list[bool]:
        return [bool(token.weight.any()) for token in cast("list[nn.Linear]", self.tokens)]


TRAINED: dict[str, type[TrainedHead]] = {
    "concat": Concat,
    "convex": Convex,
    "gated": Gated,
    "attention": Attention,
    "stack": Stack,
    "mean": Mean,
}


def _set(target: Tensor, values: npt.NDArray[np.floating]) -> None:
    target.copy_(torch.from_numpy(np.asarray(values)).to(target))
