"""Encoders and a head as one network, and which of its parts are in training mode."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

import zoo
from fusion.heads.modules import TrainedHead


class Fused(nn.Module):
    """Encoders and a head as one network: a list of (N, C, H, W), one per encoder, -> logits (N, K)."""

    def __init__(self, encoders: Sequence[zoo.Encoder], head: TrainedHead) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.head = head

    def forward(self, images: Sequence[Tensor], dropped: int | None = None) -> Tensor:
        """Return logits (N, K); `dropped` is the encoder that is missing in this batch."""
        blocks = [
            None if e == dropped else encoder(x)
            for e, (encoder, x) in enumerate(zip(self.encoders, images, strict=True))
        ]
        return cast(Tensor, self.head(blocks))


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


def disown(encoder: zoo.Encoder) -> None:
    """Say in its report that the encoder is not what its name loads."""
    if encoder.report:
        encoder.report = replace(encoder.report, digest=encoder.identity(), verified="fine-tuned")
