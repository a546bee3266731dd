"""What the two methods share: the recipe they are given and the Lightning module they fill in."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning import LightningModule, seed_everything
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """A pretraining recipe, read from YAML; an unknown or missing key is refused."""

    name: str
    method: str
    architecture: str
    kwargs: dict[str, Any]
    patches: dict[str, int]
    mean: float
    std: float
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int
    options: dict[str, Any]


def read(path: Path) -> Recipe:
    """Read the recipe in `path`; raises `ValueError` when a key is unknown or missing, or stands there twice."""
    try:
        values = yaml.load(path.read_text(), _Once)
    except yaml.YAMLError as error:
        raise ValueError(f"recipe {path} must be valid YAML (got {' '.join(str(error).split())}). Edit it.") from None
    known = set(Recipe.__dataclass_fields__)
    wrong = sorted(known.symmetric_difference(values))
    if wrong:
        raise ValueError(f"recipe {path} must hold exactly {sorted(known)} (differs in {wrong}). Edit that file.")
    return Recipe(**values)


class _Once(yaml.SafeLoader):
    """Refuses a key that is given twice: YAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [name for name, count in counts.items() if count > 1]:
            raise yaml.YAMLError(f"the key {twice[0]!r} twice")
        return super().construct_mapping(node, deep)


class Pretraining(LightningModule):
    """An encoder, AdamW, a cosine schedule with a warm-up epoch, and a seed per epoch: a resumed run repeats."""

    def __init__(self, encoder: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.recipe = recipe

    def on_train_epoch_start(self) -> None:
        seed_everything(self.recipe.seed + 1 + self.current_epoch, verbose=False)
        if self.current_epoch:
            # The loader that made the shipped encoders spent a draw here; spent again, their runs can be repeated.
            torch.empty((), dtype=torch.int64).random_()

    def record(self, loss: Tensor) -> Tensor:
        """Log `loss` and hand it back; a loss that is not finite stops the run."""
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss must be finite (got {loss.item()}). Lower learning_rate in the recipe.")
        self.log("loss", loss, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        moving = [p for p in self.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(moving, self.recipe.learning_rate, weight_decay=self.recipe.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        warm = max(1, steps // self.recipe.epochs)
        schedule = torch.optim.lr_scheduler.SequentialLR(
            optimiser,
            [
                torch.optim.lr_scheduler.LinearLR(optimiser, 0.01, total_iters=warm),
                torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps - warm)),
            ],
            [warm],
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
