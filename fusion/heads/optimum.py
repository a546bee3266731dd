"""A trained head as the classifier keeps it, and its beginning: the solved head, or the optimum found by descent."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fusion.evaluation.metrics import auc_of
from fusion.heads.losses import EVEN, Weighting, losses
from fusion.heads.modules import TRAINED, Concat, Convex, Mean, Stack, TrainedHead
from fusion.heads.probe import Flags, OutOfFold, Strengths, count, kept
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
    penalty on all weights, found by L-BFGS. That is how `gated` and `attention` are probes. Blocks that only cost are
    left out, unless `drop` is False, as it must be where the module trains on; they answer where no other is there.
    """

    def __init__(self, kind: str, module: TrainedHead | None = None, seed: int = 0, *, drop: bool = True) -> None:
        self.kind, self.module, self.seed, self.drop = kind, module, seed, drop
        self.tolerance = 0.0  # L-BFGS goes on until nothing is gained
        self.strengths: Strengths | None = None
        self.held: Floats | None = None
        self.kept: Flags = () if module is None else (True,) * len(module.widths)

    def fit(
        self,
        blocks: Sequence[Block],
        y: Ints,
        folds: Any,
        penalties: Sequence[float] | None,
        weighting: Weighting = EVEN,
        *,
        hold: bool = True,
        folded: OutOfFold | None = None,
    ) -> Self:
        """Fit on blocks (N, D_e); without `penalties` the strength is chosen by out-of-fold AUC.

        Raises:
            ValueError: Penalties differ; these heads have a single one.
        """
        del folded  # of probes on single blocks, which no part of these is
        if penalties and len(set(penalties)) > 1:
            raise ValueError(
                f"C must be one value for head {self.kind!r} (got {list(penalties)}). Try C={penalties[0]}."
            )
        job = _Optima(self.kind, blocks, y, folds, weighting, self.seed)
        strength = penalties[0] if penalties else max(_GRID, key=lambda c: job.auc(c, job.all))
        self.kept = job.kept(strength) if self.drop and not penalties else job.all
        self.strengths = tuple(strength * flag for flag in self.kept)
        self.held = job.held(strength, self.kept) if hold else None
        self.module = job.whole(strength, self.kept)
        return self

    def log_proba(self, blocks: Sequence[Block | None]) -> Floats:
        """Blocks (N, D_e), None where missing -> (N, K)."""
        left = [x if flag else None for x, flag in zip(blocks, self.kept, strict=True)]
        return _answers(cast(TrainedHead, self.module), blocks if all(x is None for x in left) else left)

    @property
    def on(self) -> Sequence[bool]:
        """Of each block whether the module looks at it at all."""
        return cast(TrainedHead, self.module).looks()

    @property
    def size(self) -> int:
        """Number of values that train."""
        return sum(parameter.numel() for parameter in cast(TrainedHead, self.module).parameters())

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The module's numbers, and which blocks it looks at where these are not all."""
        own = {name: value.cpu().numpy() for name, value in cast(TrainedHead, self.module).state_dict().items()}
        return own if all(self.kept) else {**own, "on": np.array(self.kept, np.float32)}

    @classmethod
    def restore(cls, kind: str, arrays: dict[str, npt.NDArray[Any]], multilabel: bool) -> Self:
        """The inverse of `arrays`."""
        widths = [len(arrays[f"standards.{e}.mean"]) for e in range(sum(".mean" in name for name in arrays))]
        last = {"concat": "linear", "attention": "linear", "stack": "second"}.get(kind, "linears.0")
        module = TRAINED[kind](widths, len(arrays[f"{last}.bias"]), multilabel)
        module.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items() if name != "on"})
        head = cls(kind, module)
        head.kept = tuple(bool(flag) for flag in arrays["on"] > 0) if "on" in arrays else head.kept
        return head


class _Optima:
    """Optima of one kind of head on blocks, some of them left out, and what these say out of fold."""

    def __init__(
        self, kind: str, blocks: Sequence[Block], y: Ints, folds: Any, weighting: Weighting, seed: int
    ) -> None:
        self.kind, self.y, self.folds, self.weighting, self.seed = kind, y, folds, weighting, seed
        self.blocks = [np.asarray(x, np.float32) for x in blocks]
        self.all: Flags = (True,) * len(blocks)
        self._known: dict[tuple[float, Flags], Floats] = {}

    def kept(self, strength: float) -> Flags:
        """The blocks that do not only cost."""
        places = range(len(self.all))
        alone = (
            [self.auc(strength, tuple(e == place for e in places)) for place in places] if len(self.all) > 1 else [1.0]
        )
        return kept(alone, lambda on: self.auc(strength, on))

    def auc(self, strength: float, on: Flags) -> float:
        return auc_of(self.y, self.held(strength, on))

    @cache  # noqa: B019 - lives as long as one fit
    def held(self, strength: float, on: Flags) -> Floats:
        """(N, K) log-probabilities of images by an optimum that has not seen them."""
        if (strength, on) not in self._known:
            found = np.zeros((len(self.y), count(self.y)))
            for train, test in self.folds:
                found[test] = _answers(self.optimum(strength, on, train), self._some(on, test))
            self._known[strength, on] = found
        return self._known[strength, on]

    def whole(self, strength: float, on: Flags) -> TrainedHead:
        """The module that is fitted on all images; what is left out answers by itself, and moves no joint answer."""
        rows = np.arange(len(self.y))
        module = self.optimum(strength, on, rows)
        for place in (e for e, flag in enumerate(on) if not flag):
            own = [p for name, p in module.named_parameters() if f".{place}." in name]
            self._descend(module, own, strength, tuple(e == place for e in range(len(on))), rows)
        return module

    def optimum(self, strength: float, on: Flags, rows: Ints) -> TrainedHead:
        """The module that is fitted on some of the images."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            module = TRAINED[self.kind]([x.shape[1] for x in self.blocks], count(self.y), self.y.ndim == 2)
        module.standardise([x[rows] for x in self.blocks])
        self._descend(module, list(module.parameters()), strength, on, rows)
        return module

    def _descend(self, module: TrainedHead, moving: list[nn.Parameter], strength: float, on: Flags, rows: Ints) -> None:
        """Move some parameters to where the objective is least."""
        y, weighting = self.y[rows], self.weighting.take(rows)
        inputs = [None if x is None else torch.from_numpy(x) for x in self._some(on, rows)]
        target, weight = torch.from_numpy(y), weighting.classes(y, count(self.y))
        each = 1.0 if weighting.images is None else torch.from_numpy(weighting.images.astype(np.float32))
        solver = torch.optim.LBFGS(moving, max_iter=_STEPS, line_search_fn="strong_wolfe")

        def objective() -> Tensor:
            module.zero_grad()
            squares = torch.stack([p.square().sum() for p in moving if p.ndim > 1]).sum()
            value = (each * losses(module(inputs), target, weight)).mean() + squares / (2 * strength * y.size)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        with torch.autocast("cpu", enabled=False):  # rounded gradients would end the descent too soon
            solver.step(objective)  # type: ignore[no-untyped-call]

    def _some(self, on: Flags, rows: Ints) -> list[Block | None]:
        return [x[rows] if flag else None for x, flag in zip(self.blocks, on, strict=True)]


def _answers(module: TrainedHead, blocks: Sequence[Block | None]) -> Floats:
    device = next(module.eval().parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):  # a head computes in full precision
        inputs = [None if x is None else torch.from_numpy(np.asarray(x, np.float32)).to(device) for x in blocks]
        return np.asarray(module.log_proba(module(inputs)).double().cpu().numpy())


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
            # A plain mean has no weights: where a probe is left out, the others' numbers say so.
            share = 1.0 if type(module) is not Mean else arrays["weights"][e] * len(module.widths)
            _copy(standard, own)
            _copy(linear, {"weight": share * own["weight"], "bias": share * own["bias"]})
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
