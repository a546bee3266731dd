"""Encoders and a head as one network, and which of its parts are in training mode."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

import zoo
from fusion.heads.modules import TrainedHead


class Fused(nn.Module):
    """Encoders and a head as one network: a list of (N, C, H, W), one per encoder, -> logits (N, K).

    Args:
        encoders: One pass of each gives all its blocks of features.
        head: Takes the blocks of all encoders, in their order.
        places: Of each encoder, where its blocks are taken, as `zoo.Encoder.at_depths` has them; None takes its end.
    """

    def __init__(
        self, encoders: Sequence[zoo.Encoder], head: TrainedHead, places: Sequence[Sequence[int]] | None = None
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.head = head
        self.places = [[len(encoder.depths) - 1] for encoder in encoders] if places is None else places

    def forward(self, images: Sequence[Tensor], dropped: int | None = None) -> Tensor:
        """Return logits (N, K); `dropped` is the encoder that is missing in this batch, with all its blocks."""
        each = enumerate(zip(self.encoders, images, self.places, strict=True))
        parts = [
            [None] * len(places) if e == dropped else cast(zoo.Encoder, encoder).at_depths(x, places)
            for e, (encoder, x, places) in each
        ]
        return cast(Tensor, self.head([block for part in parts for block in part]))


def set_modes(module: nn.Module, statistics: bool, training: bool = True, along: Collection[int] = ()) -> None:
    """Training mode where weights move, `eval()` where they are frozen: there statistics stand still, dropout is off.

    Args:
        module: What is settled, with all it holds.
        statistics: Whether BatchNorm statistics move where the weights do.
        training: The mode of modules without weights: that of what comes before them.
        along: Ids of weights whose BatchNorm statistics move even where they are themselves frozen, see `neighbours`.
    """
    own = list(module.parameters())
    training = any(parameter.requires_grad for parameter in own) if own else training
    module.training = training
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.training = statistics and (training or any(id(parameter) in along for parameter in own))
    for child in module.children():
        set_modes(child, statistics, training, along)
        weights = list(child.parameters())
        training = any(weight.requires_grad for weight in weights) if weights else training


def neighbours(encoder: zoo.Encoder) -> set[int]:
    """Ids of all weights of the blocks in which a weight moves: the norms that Auto-RGN and LoRA freeze among them."""
    blocks = (group["params"] for group in encoder.blocks())
    return {id(p) for block in blocks if any(p.requires_grad for p in block) for p in block}


def same_bytes(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same, as `Encoder.identity` has it: -0.0 and 0.0 are two numbers."""
    alike = first.dtype == second.dtype and first.shape == second.shape
    return alike and torch.equal(*(value.contiguous().reshape(-1).view(torch.uint8) for value in (first, second)))


def disown(encoder: zoo.Encoder) -> None:
    """Say in its report that the encoder is not what its name loads."""
    if encoder.report:
        encoder.report = replace(encoder.report, digest=encoder.identity(), verified="fine-tuned")
