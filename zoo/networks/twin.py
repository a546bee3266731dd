"""A module for one call: its tensors are shared, its hooks and modes are its own, so that a call leaves nothing behind.

Hooks and modes on a module that several threads use are read by all of them; those on a twin by the call that made it.
"""

import copy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)

_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks")


def twin(module: M, *, training: bool | None = None) -> M:
    """Copy a module and all below it, but no tensor.

    Args:
        module: What is copied; its own hooks go along.
        training: The mode of the twin and all below it; None keeps each as it is.
    """
    return _twin(module, training, {})


def _twin(module: M, training: bool | None, known: dict[int, nn.Module]) -> M:
    if id(module) not in known:  # a module may stand in several places
        made = copy.copy(module)
        known[id(module)] = made
        for name in _HOOKS:
            made.__dict__[name] = copy.copy(module.__dict__[name])
        made.__dict__["_compiled_call_impl"] = None  # what was compiled calls the module itself
        made.__dict__["_modules"] = {
            name: child if child is None else _twin(child, training, known) for name, child in module._modules.items()
        }
        if training is not None:
            made.training = training
    return known[id(module)]  # type: ignore[return-value]
