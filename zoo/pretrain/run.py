"""Run a recipe: patches -> method -> weights. Started again after a kill, it goes on from the last finished epoch."""

import os
from pathlib import Path
from typing import Any

import timm
import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

from zoo.pretrain import patches, recipe, sources
from zoo.pretrain.methods import contrastive, restorative

METHODS: dict[str, Any] = {
    "contrastive": (contrastive.Contrastive, contrastive.views),
    "restorative": (restorative.Restorative, restorative.views),
}


def run(config: Path, output: Path, images: Path) -> Path:
    """Pretrain by the recipe in `config`; returns the fp16 safetensors file written into `output`.

    Args:
        config: A recipe in YAML.
        output: Folder for checkpoints, the loss log and the weights; a run found there is continued.
        images: Folder for the source images, fetched when they are not there.
    """
    plan = recipe.read(config)
    if plan.method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)} (got {plan.method!r}). Edit {config}.")
    sources.fetch(images)
    seed_everything(plan.seed, verbose=False)
    method, views = METHODS[plan.method]
    data = _Patches(patches.cut(images, plan.patches, plan.seed), views(plan, patches.SIZE))
    module = method(timm.create_model(plan.architecture, num_classes=0, **plan.kwargs), plan)
    resume = output / "last.ckpt"
    trainer = _trainer(plan, output)
    trainer.fit(module, _loader(data, plan), ckpt_path=resume if resume.exists() else None)
    return _export(module.encoder, output / f"{plan.name}.safetensors")


def _trainer(plan: recipe.Recipe, output: Path) -> Trainer:
    return Trainer(
        max_epochs=plan.epochs,
        accelerator="auto",
        devices=1,
        logger=CSVLogger(output, name="log", version=0),
        callbacks=[ModelCheckpoint(output, save_last=True), TQDMProgressBar(refresh_rate=20)],
        enable_model_summary=False,
        log_every_n_steps=20,
    )


def _loader(data: "_Patches", plan: recipe.Recipe) -> DataLoader[Any]:
    # In this process: the transforms then draw from the generators that are seeded anew at every epoch.
    # The loader's own generator keeps it from drawing from those, which would shift them in a resumed run.
    sampler, own = _Shuffled(len(data), plan.seed), torch.Generator()
    return DataLoader(data, plan.batch_size, sampler=sampler, generator=own, drop_last=True)


def _export(encoder: torch.nn.Module, path: Path) -> Path:
    half = {k: v.half() if v.is_floating_point() else v for k, v in encoder.state_dict().items()}
    scratch = path.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in half.items()}, scratch)
    os.replace(scratch, path)
    return path


class _Patches(Dataset[Any]):
    def __init__(self, images: patches.Bytes, transform: Any) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.images[index])


class _Shuffled(torch.utils.data.Sampler[int]):
    """A shuffle that depends on seed and epoch only; Lightning calls `set_epoch`, also after a resume."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(torch.randperm(self.count, generator=generator).tolist())

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
