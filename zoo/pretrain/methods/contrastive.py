"""MoCo v2 for a grey CNN encoder, whole in this file.

Two random views of one patch pass through a query and a momentum encoder; the query must find its partner among a
queue of other patches. Loss, queue, projection heads and views are lightly's.
Source: He et al. arXiv:1911.05722 (momentum contrast), Chen et al. arXiv:2003.04297 (MLP head, stronger views).
"""

import copy
from typing import Any, cast

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms.moco_transform import MoCoV2Transform
from lightly.utils.scheduler import cosine_schedule
from PIL import Image
from torch import Tensor, nn

from zoo.pretrain.recipe import Pretraining, Recipe


class Contrastive(Pretraining):
    """MoCo v2: `training_step` takes a pair of views, each (N, 1, H, W), and returns the contrastive loss."""

    def __init__(self, encoder: nn.Module, recipe: Recipe) -> None:
        super().__init__(encoder, recipe)
        options = recipe.options
        width = cast(Any, encoder).num_features
        self.head = MoCoProjectionHead(width, width, options["dimensions"])
        self.encoder_momentum = copy.deepcopy(self.encoder)
        self.head_momentum = copy.deepcopy(self.head)
        deactivate_requires_grad(self.encoder_momentum)
        deactivate_requires_grad(self.head_momentum)
        self.loss = NTXentLoss(options["temperature"], memory_bank_size=(options["queue"], options["dimensions"]))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        query_view, key_view = batch
        momentum = cosine_schedule(self.current_epoch, self.recipe.epochs, self.recipe.options["momentum"], 1)
        update_momentum(self.encoder, self.encoder_momentum, momentum)
        update_momentum(self.head, self.head_momentum, momentum)
        query = self.head(self.encoder(query_view))  # (N, 1, H, W) -> (N, D)
        with torch.no_grad():
            key = self.head_momentum(self.encoder_momentum(key_view))  # (N, 1, H, W) -> (N, D)
        return self.record(self.loss(query, key))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # lightly leaves the queue out of the state dict; a resumed run would start with an empty one.
        checkpoint["queue"] = dict(self.loss.memory_bank.named_buffers())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["queue"].items():
            setattr(self.loss.memory_bank, name, value)


def views(recipe: Recipe, size: int) -> Any:
    """The two random views of MoCo v2 for grey patches: crop, brightness and contrast, blur, left-right flip."""
    return _Grey(
        MoCoV2Transform(
            input_size=size,
            cj_bright=recipe.options["jitter"],
            cj_contrast=recipe.options["jitter"],
            min_scale=recipe.options["crop"],
            random_gray_scale=0.0,
            normalize={"mean": [recipe.mean], "std": [recipe.std]},
        )
    )


class _Grey:
    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __call__(self, patch: Any) -> Any:
        return self.transform(Image.fromarray(patch))
