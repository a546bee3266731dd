"""A trained head as the classifier keeps it, and its beginning: the solved head, or the optimum found by descent."""

from collections.abc import Sequence
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fusion.evaluation.metrics import auc_of
from fusion.heads.losses import EVEN, Weighting, losses
from fusion.heads.modules import TRAINED, Concat, Convex, Mean, Stack, TrainedHead
from fusion.heads.probe import count
from fusion.heads.solved import SOLVED, Head

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Block = npt.NDArray[np.floating]

# Inverse strengths of the L2 penalty that are tried where a head has no closed objective of its own.
_GRID = (0.01, 0.1, 1.0)
_STEPS = 200
# A weight of 0 would never move again.
_LEAST = 1e-6


class ModuleHead:
    """A `TrainedHead` behind the interface of `fusion.heads.solved.Head`.

    Fitted by itself, on frozen features, it is the optimum of the probe's objective: balanced log-loss with an L2
    penalty on all weights, found by L-BFGS. That is how `gated` and `attention` are probes.
    """

    def __init__(self, kind: str, module: TrainedHead | None = None, seed: int = 0) -> None:
        self.kind, self.module, self.seed = kind, module, seed
        self.tolerance = 0.0  # L-BFGS goes on until nothing is gained

    def fit(
        self,
        blocks: Sequence[Block],
        y: Ints,
        folds: Any,
        penalties: Sequence[float] | None,
        weighting: Weighting = EVEN,
    ) -> Self:
        """Fit on blocks (N, D_e); without `penalties` the strength is chosen by out-of-fold AUC.

        Raises:
            ValueError: Penalties differ; these heads have a single one.
        """
        if penalties and len(set(penalties)) > 1:
            raise ValueError(
                f"C must be one value for head {self.kind!r} (got {list(penalties)}). Try C={penalties[0]}."
            )
        strength = penalties[0] if penalties else max(_GRID, key=lambda c: self._held(blocks, y, folds, c, weighting))
        self.module = self._optimum(blocks, y, strength, weighting)
        return self

    def log_proba(self, blocks: Sequence[Block | None]) -> Floats:
        """Blocks (N, D_e), None where missing -> (N, K)."""
        module = cast(TrainedHead, self.module).eval()
        device = next(module.parameters()).device
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):  # a head computes in full precision
            inputs = [None if x is None else torch.from_numpy(np.asarray(x, np.float32)).to(device) for x in blocks]
            return np.asarray(module.log_proba(module(inputs)).double().cpu().numpy())

    @property
    def size(self) -> int:
        """Number of values that train."""
        return sum(parameter.numel() for parameter in cast(TrainedHead, self.module).parameters())

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The module's numbers."""
        return {name: value.cpu().numpy() for name, value in cast(TrainedHead, self.module).state_dict().items()}

    @classmethod
    def restore(cls, kind: str, arrays: dict[str, npt.NDArray[Any]], multilabel: bool) -> Self:
        """The inverse of `arrays`."""
        widths = [len(arrays[f"standards.{e}.mean"]) for e in range(sum(".mean" in name for name in arrays))]
        last = {"concat": "linear", "attention": "linear", "stack": "second"}.get(kind, "linears.0")
        module = TRAINED[kind](widths, len(arrays[f"{last}.bias"]), multilabel)
        module.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        return cls(kind, module)

    def _held(
        self, blocks: Sequence[Block], y: Ints, folds: Any, strength: float, weighting: Weighting = EVEN
    ) -> float:
        proba = np.zeros((len(y), count(y)))
        for train, test in folds:
            own = [x[train] for x in blocks], y[train], strength, weighting.take(train), proba.shape[1]
            fold = ModuleHead(self.kind, self._optimum(*own))
            proba[test] = np.exp(fold.log_proba([x[test] for x in blocks]))
        return auc_of(y, proba)

    def _optimum(
        self, blocks: Sequence[Block], y: Ints, strength: float, weighting: Weighting = EVEN, classes: int | None = None
    ) -> TrainedHead:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            total = classes or count(y)
            module = TRAINED[self.kind]([x.shape[1] for x in blocks], total, y.ndim == 2)
        module.standardise(blocks)
        inputs = [torch.from_numpy(np.asarray(x, np.float32)) for x in blocks]
        target, weight = torch.from_numpy(y), weighting.classes(y, total)
        each = 1.0 if weighting.images is None else torch.from_numpy(weighting.images.astype(np.float32))
        solver = torch.optim.LBFGS(module.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe")

        def objective() -> Tensor:
            solver.zero_grad()
            squares = torch.stack([p.square().sum() for p in module.parameters() if p.ndim > 1]).sum()
            value = (each * losses(module(inputs), target, weight)).mean() + squares / (2 * strength * y.size)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        with torch.autocast("cpu", enabled=False):  # rounded gradients would end the descent too soon
            solver.step(objective)  # type: ignore[no-untyped-call]
        return module


def restored(kind: str, arrays: dict[str, npt.NDArray[Any]], *, solved: bool, multilabel: bool) -> Head:
    """The head whose `arrays` these are.

    Args:
        kind: Its name.
        arrays: Its numbers.
        solved: Whether it is one of `SOLVED`, not a module.
        multilabel: Whether an image may have several labels.
    """
    if solved:
        return cast(Head, SOLVED[kind].restore(arrays, multilabel=multilabel))
    return cast(Head, ModuleHead.restore(kind, arrays, multilabel))


def take_over(module: TrainedHead, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Give a module the numbers of the solved head of its kind (`fusion.heads.solved`), so that it answers the same."""
    with torch.no_grad():
        if isinstance(module, Concat):
            for standard, place in zip(module.standards, _places(module.widths), strict=True):
                _copy(standard, {"mean": arrays["mean"][place], "scale": arrays["scale"][place]})
            _copy(module.linear, arrays)
            return
        for e, (standard, linear) in enumerate(zip(module.standards, cast(Mean, module).linears, strict=True)):
            own = {key: arrays[f"{e}.{key}"] for key in ("mean", "scale", "weight", "bias")}
            _copy(standard, own)
            _copy(linear, own)
        if isinstance(module, Convex):
            module.balance.copy_(torch.from_numpy(np.log(np.maximum(arrays["weights"], _LEAST))))
        if isinstance(module, Stack):
            _copy(module.second, {"weight": arrays["weights"][:, :-1], "bias": arrays["weights"][:, -1]})


def _places(widths: Sequence[int]) -> list[slice]:
    ends = np.cumsum(widths)
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


def _copy(layer: nn.Module, arrays: dict[str, npt.NDArray[Any]]) -> None:
    for name, target in layer.state_dict().items():
        target.copy_(torch.from_numpy(np.asarray(arrays[name])))
