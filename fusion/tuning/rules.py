"""Formulas of a fit: the loss, the distance from the pretrained weights, rates by relative gradient norm."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_MEASURED = 5  # batches
# What tensors' relative norms are divided by: the quantile of them at this level; the authors' is the largest.
RULES = {"auto-rgn": 1.0, "auto-rgn-robust": 0.75}

Ints = npt.NDArray[np.int64]


def kernels(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The weights that SP penalties see: of convolutions and linear maps; no biases, no norms, no tokens."""
    for name, parameter in module.named_parameters():
        if name.endswith("weight") and parameter.ndim > 1:
            yield name, parameter


def sp_penalty(kind: str, alpha: float, weights: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Distance of the weights from where pretraining left them.

    `l2-sp`: alpha / 2 * sum (w - w0)^2; `l1-sp`: alpha * sum |w - w0|.

    Args:
        kind: `l1-sp` or `l2-sp`.
        alpha: Strength.
        weights: Pairs of a weight and its pretrained value.

    Source: Li, Grandvalet and Davoine arXiv:1802.01483, equations 2 and 3.
    """
    distances = [w - w0 for w, w0 in weights]
    if kind == "l1-sp":
        return alpha * torch.stack([distance.abs().sum() for distance in distances]).sum()
    return alpha / 2 * torch.stack([distance.square().sum() for distance in distances]).sum()


def head_penalty(beta: float, weights: Iterable[Tensor]) -> Tensor:
    """beta / 2 * sum w^2 over the new head's weights: L2 for both penalties, biases left out.

    Source: Li, Grandvalet and Davoine arXiv:1802.01483, equation 2.
    """
    return beta / 2 * torch.stack([weight.square().sum() for weight in weights]).sum()


class Anchor:
    """The weights that pretraining left; SP penalties pull towards them in every phase, after a resume too."""

    def __init__(self, encoders: Sequence[nn.Module]) -> None:
        self.encoders = encoders
        self.origin = [{name: w.detach().clone() for name, w in kernels(encoder)} for encoder in encoders]

    def penalty(self, phases: Sequence[Any], head: nn.Module, dropped: int | None = None) -> Tensor | float:
        """Sum penalties of all encoders whose phase has one, but for the `dropped` one, and one of the head; else 0."""
        terms = []
        for e, (encoder, origin, phase) in enumerate(zip(self.encoders, self.origin, phases, strict=True)):
            if phase.penalty and e != dropped:
                pairs = [(w, origin[name].to(w.device)) for name, w in kernels(encoder)]
                terms.append(sp_penalty(phase.penalty, phase.alpha, pairs))
        betas = [phase.beta for phase in phases if phase.penalty]
        if not betas:
            return 0.0
        return torch.stack([*terms, head_penalty(max(betas), [w for _, w in kernels(head)])]).sum()


def measured_rates(
    encoder: nn.Module, batches: Iterable[Any], loss: Callable[[Any], Tensor], rule: str = "auto-rgn"
) -> dict[str, float]:
    """Auto-RGN's rate of every weight of the encoder that moves, from the gradients of the first batches.

    Args:
        encoder: What is measured; nothing moves here.
        batches: Of which the first five count.
        loss: The mean loss of a batch.
        rule: Of `RULES`.

    Source: Lee et al. arXiv:2210.11466, authors' code, for the five.
    """
    moving = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    norms = []
    for batch in itertools.islice(batches, _MEASURED):
        gradients = torch.autograd.grad(loss(batch), list(moving.values()))
        norms.append({name: float(gradient.norm()) for name, gradient in zip(moving, gradients, strict=True)})
    return relative_norms(norms, {name: float(p.detach().norm()) for name, p in moving.items()}, RULES[rule])


def relative_norms(
    gradients: Sequence[Mapping[str, float]], sizes: Mapping[str, float], level: float = 1.0
) -> dict[str, float]:
    """Auto-RGN's rates: mean over batches of |gradient| / |weight| for each tensor, divided by the largest.

    Args:
        gradients: For each batch the norm of each tensor's gradient.
        sizes: The norm of each tensor as it is; norm layers and the new head are not among them.
        level: In (0, 1], ours: divided by this quantile of the tensors instead, and cut at 1. A tensor far above the
            others, as a first convolution often is, then slows none of them.

    Returns:
        A rate in [0, 1] per tensor. A tensor of zeros has no relative size: it is left out of the maximum and moves
        at the full rate.

    Source: Lee et al. arXiv:2210.11466, Auto-RGN.
    """
    ratios = {
        name: sum(batch[name] for batch in gradients) / len(gradients) / size
        for name, size in sizes.items()
        if size > 0
    }
    found = list(ratios.values()) or [0.0]
    largest = float(np.quantile(found, level)) or max(found)
    return {name: min(1.0, ratios[name] / largest) if name in ratios and largest > 0 else 1.0 for name in sizes}
