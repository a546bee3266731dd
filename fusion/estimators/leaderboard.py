"""The leaderboard of a fit: what was fitted beside what it must beat, on the folds of its training images.

Every row is judged by what it says of images that it has not seen. The penalties of all rows are chosen on the same
folds, and which blocks a fusion leaves out is, too: its figure is a little high, those of single encoders less so. To
choose inside each fold, as `fusion.scan` does, would cost as much as the fit. What settles it is `fusion.evaluate` on
other patients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

import zoo
from fusion.evaluation import answers, intervals, metrics
from fusion.evaluation.answers import Truth
from fusion.evaluation.intervals import Interval, Scale
from fusion.features.extract import Floats
from fusion.features.taps import Taps
from fusion.heads.probe import TOLERANCE, OutOfFold, normalised, shared

FUSION, THUMBNAIL, RANDOM = "fusion", "thumbnail", "random weights"
SIDE = 12  # of the thumbnail, in pixels
MANY = 1000  # images; above, random weights would cost more than they say
DRAWS = 200

_SHALLOW = 0.25  # a deeper random network says no more and costs more
_SPOKEN = {FUSION: "the fusion", THUMBNAIL: "the thumbnail"}

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Standing:
    """A row of a leaderboard.

    Attributes:
        name: An encoder's, `fusion`, `thumbnail` or `random weights`.
        auc: Area under the ROC curve, one class against the rest, mean over classes or labels, out of fold.
        ahead: By how much the AUC of what was fitted, the first row, is above this one, paired; None of the first.
    """

    name: str
    auc: Interval
    ahead: Interval | None = None


@dataclass(frozen=True)
class Leaderboard:
    """What a fit gave beside what it must beat, all of it out of fold, each image counting once.

    Intervals are those of `fusion.evaluate`, at 95 %, over groups, from fewer draws; several comparisons are not
    corrected for. Which penalty is taken is chosen on the same folds for every row; see the module.

    Attributes:
        rows: The fit first, then each encoder alone, where there are several; a thumbnail of 12 x 12 pixels as the
            first encoder reads them; and the architecture of the first encoder with random weights, unless there are
            more than 1,000 images. These are cheap and no easier to beat for it: a quarter of the depth, which says
            more than a deeper random network, and where that can be, of half the side.
        images, groups: How many there were; without groups, every image is one.
        tuned: Whether the encoders moved afterwards: the first row then is a linear probe on all of them as they were
            before. What was tuned on all images has no figure here.
    """

    rows: tuple[Standing, ...]
    images: int
    groups: int
    tuned: bool = False

    @property
    def sentence(self) -> str:
        """What the intervals support."""
        own = _SPOKEN.get(self.rows[0].name, self.rows[0].name)
        if np.isnan(self.rows[0].auc.low):
            few = f"Too few patients for intervals, {self.groups}, or too few with a class"
            return f"{few}: {own} is not shown to beat anything."
        beaten, behind, open_ = self._parted()
        parts = [f"is shown to beat {_listed(beaten)}"] if beaten else []
        parts += [f"is not shown to beat {_listed(open_, 'or')}"] if open_ else []
        parts += [f"is shown to be worse than {_listed(behind)}"] if behind else []
        if not self.tuned:
            start = f"T{own[1:]}" if own in _SPOKEN.values() else own
            return f"{start} {', and it '.join(parts)}."
        end = "evaluate the tuned model on other images, for these taught it"
        return f"Before tuning, {own} {', and it '.join(parts)}; {end}."

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [f"{row.name:<{width}}  {row.auc}  {row.ahead or ''}".rstrip() for row in self.rows]
        return "\n".join([*lines, self.sentence])

    def values(self) -> dict[str, Any]:
        """The board as JSON has it, with its sentence; None where there is no interval."""
        return {**_plain(asdict(self)), "sentence": self.sentence}

    def _parted(self) -> tuple[list[str], list[str], list[str]]:
        """Names of the rows that the first is ahead of, that are ahead of it, and of which neither is shown."""
        ahead = [(row.name, row.ahead) for row in self.rows if row.ahead]
        beaten = [name for name, gap in ahead if gap.low > 0]
        behind = [name for name, gap in ahead if gap.high < 0]
        return beaten, behind, [name for name, _ in ahead if name not in (*beaten, *behind)]


@dataclass(frozen=True)
class Controls:
    """What is computed from the pixels that an encoder reads, beside its features.

    Attributes:
        random: Its architecture with random weights, on its device.
        step: Pixels that it sees as one, along each side.
    """

    random: zoo.Encoder | None
    step: int = 1

    @classmethod
    def of(cls, taps: Taps, images: int) -> "Controls":
        """Those of an encoder, for so many images."""
        if images > MANY:
            return cls(None)
        twin = zoo.untrained(taps.encoder, min(_SHALLOW, taps.depths[-1]))
        return cls(twin.to(next(taps.encoder.parameters()).device), 2 if _takes_half(twin) else 1)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Images (N, C, H, W) -> thumbnails (N, 144 C), and features (N, D) of random weights."""
        small = functional.adaptive_avg_pool2d(x.float(), SIDE).flatten(1)
        return [small] if self.random is None else [small, self.random(functional.avg_pool2d(x.float(), self.step))]

    @staticmethod
    def named(blocks: Sequence[Floats]) -> dict[str, Floats]:
        """What a call gave, by the name of its row."""
        return dict(zip((THUMBNAIL, RANDOM), blocks, strict=False))


def leaderboard(
    held: Doubles,
    folded: OutOfFold,
    taps: Sequence[Taps],
    beside: Mapping[str, Floats],
    groups: npt.NDArray[Any] | None,
    rows: Ints | None = None,
    *,
    tuned: bool = False,
) -> Leaderboard:
    """Judge a fit beside its encoders and controls.

    Args:
        held: (N, K) log-probabilities of the fit, out of fold.
        folded: Its blocks, labels and folds.
        taps: Whose blocks these are.
        beside: Features (N, D) of the controls.
        groups: Of images.
        rows: (N,) which image each is a copy of, the first of each being the image itself; None of no copies. Copies
            are fitted on and not judged.
        tuned: As of a `Leaderboard`.
    """
    kept = np.arange(len(folded.y)) if rows is None else np.unique(rows, return_index=True)[1]
    several, many = folded.y.ndim == 2, len(taps) > 1
    said = {FUSION if many else taps[0].name: held}
    said |= (
        {own.name: normalised(x, several) for own, x in zip(taps, _alone(folded, taps), strict=True)} if many else {}
    )
    said |= {name: normalised(_probed(x, folded), several) for name, x in beside.items()}
    return judged({name: np.exp(x[kept]) for name, x in said.items()}, folded.y[kept], groups, tuned=tuned)


def judged(
    said: Mapping[str, Doubles], y: Ints, groups: npt.NDArray[Any] | None, *, tuned: bool = False
) -> Leaderboard:
    """Judge probabilities (N, K) by the name of their row, the fit first; labels by number (N,), or (N, K) of 0 and 1.

    Figures and differences are those of `fusion.evaluation.score.score` of as many draws.
    """
    found = answers.truth(y, np.arange(next(iter(said.values())).shape[1]), groups)
    free = intervals.freedom(found.members, found.parts())
    drawn = _drawn(found) if np.isfinite(free) else []
    free = free if drawn else np.nan
    figures = {name: _aucs(found.y, proba, drawn) for name, proba in said.items()}
    first, *others = figures
    scale, count = Scale(), found.groups
    rows = [Standing(first, intervals.student(figures[first], count, free, scale))]
    for name in others:
        gap = intervals.student(figures[first] - figures[name], count, free, scale.differences())
        rows.append(Standing(name, intervals.student(figures[name], count, free, scale), gap))
    return Leaderboard(tuple(rows), len(y), count, tuned)


def restored(values: dict[str, Any] | None) -> Leaderboard | None:
    """The inverse of `Leaderboard.values`; None of a model without."""
    if values is None:
        return None
    rows = [
        Standing(row["name"], _interval(row["auc"]), row["ahead"] and _interval(row["ahead"])) for row in values["rows"]
    ]
    return Leaderboard(tuple(rows), values["images"], values["groups"], values["tuned"])


@torch.inference_mode()
def _takes_half(encoder: zoo.Encoder) -> bool:
    """Tell whether it reads images of half the side: a convolutional network does, at a quarter of the cost."""
    how = encoder.card.input
    try:
        encoder(torch.zeros(1, how.channels, how.size // 2, how.size // 2))
    except (AssertionError, RuntimeError, ValueError):
        return False
    return True


def _alone(folded: OutOfFold, taps: Sequence[Taps]) -> list[Doubles]:
    """Opinions (N, K) of each encoder by itself, all its depths side by side."""
    best = folded.best_alone()
    owners = [place for place, own in enumerate(taps) for _ in own.depths]
    each = [tuple(c * (owner == place) for c, owner in zip(best, owners, strict=True)) for place in range(len(taps))]
    return [folded.together(shared(strengths), TOLERANCE) for strengths in each]


def _probed(x: Floats, folded: OutOfFold) -> Doubles:
    """Opinions (N, K) of a probe on a control, its penalty chosen on the same folds."""
    own = OutOfFold([x], folded.y, folded.folds, folded.weighting)
    return own.alone(0, own.best_alone()[0], TOLERANCE)


def _drawn(found: Truth) -> list[Doubles]:
    """Weights (N,) of images, of each draw of groups; none where hardly any draw holds every class."""
    try:
        return list(intervals.draws(found.y, found.members, len(found.classes), DRAWS, seed=0))
    except ValueError:
        return []


def _aucs(y: Ints, proba: Doubles, drawn: Sequence[Doubles]) -> Doubles:
    """(1 + R,) of all images, then of each draw."""
    figure = metrics.auc(y, proba)
    return np.array([figure(weights) for weights in (np.ones(len(y)), *drawn)])


def _interval(values: Mapping[str, float | None]) -> Interval:
    return Interval(*(np.nan if values[key] is None else float(values[key] or 0) for key in ("value", "low", "high")))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _listed(names: Sequence[str], word: str = "and") -> str:
    spoken = [_SPOKEN.get(name, name) for name in names]
    return f" {word} ".join([", ".join(spoken[:-1]), spoken[-1]] if len(spoken) > 1 else spoken)
