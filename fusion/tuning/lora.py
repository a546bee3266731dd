"""LoRA by `peft`: small trainable maps beside frozen ones, added for a fit and merged into the weights after it."""

from typing import Any

from torch import nn

import zoo


def add(encoder: zoo.Encoder, rank: int) -> Any:
    """Put adapters beside every convolution and linear map of the encoder, and freeze all the rest.

    Raises:
        ImportError: `peft` is not installed.
    """
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ImportError:
        raise ImportError("strategy 'lora' needs peft (got none). Run: pip install peft") from None
    targets = [name for name, module in encoder.trunk.named_modules() if _is_map(module)]
    encoder.norm.requires_grad_(False)  # it lies outside the trunk, whose weights peft freezes
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets)
    return LoraModel(encoder.trunk, config, "default")


def merge(adapters: Any) -> None:
    """Add what the adapters learned to the weights, and take them out again."""
    adapters.merge_and_unload()


def _is_map(module: nn.Module) -> bool:
    # peft has no adapters for grouped convolutions of every shape: they stay frozen.
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
