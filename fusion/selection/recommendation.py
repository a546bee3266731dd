"""From what probes say of images that they have not seen to depths and a set of encoders, and how sure that is."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion.evaluation import intervals
from fusion.evaluation.metrics import Figure
from fusion.heads.probe import Folds, normalised
from fusion.heads.solved import Floats, Ints
from fusion.selection import by_fold
from fusion.selection.nesting import Nested

Key = tuple[str, float]  # encoder, depth
Opinions = Mapping[str, Mapping[float, Floats]]  # by encoder and depth (N, K) log-probabilities

_DRAWS = 100


@dataclass(frozen=True)
class Recommendation:
    """The depth of each encoder, and the names of those to fuse, best first.

    `auc` is the figure that they were chosen by, the highest of many: it flatters, and is not for reports.
    """

    depths: dict[str, float]
    names: list[str]
    auc: float

    @property
    def keys(self) -> list[Key]:
        """Those to fuse, each at its depth."""
        return [(name, self.depths[name]) for name in self.names]


class Panel:
    """Opinions of all probes, judged together under weights of images.

    Args:
        opinions: Out of fold.
        y: (N,) class numbers.
        fold: (N,) the fold of each image: AUCs are means over folds.
    """

    def __init__(self, opinions: Opinions, y: Ints, fold: Ints) -> None:
        self.opinions, self.y, self.fold = opinions, y, fold
        self._figures: dict[frozenset[Key], Figure] = {}

    def auc(self, keys: Sequence[Key], weights: Floats) -> float:
        """Compute the AUC of the mean of several opinions, as `head="mean"` gives it."""
        known = frozenset(keys)
        if known not in self._figures:
            self._figures[known] = by_fold.auc(self.y, self.mean(keys), self.fold)
        return self._figures[known](weights)

    def mean(self, keys: Sequence[Key]) -> Floats:
        """(N, K) log-probabilities that several probes have together."""
        said = [self.opinions[name][depth] for name, depth in keys]
        return normalised(np.mean(said, axis=0), multilabel=False)

    def recommend(self, weights: Floats) -> Recommendation:
        """The best depth of each encoder, then encoders one by one as long as the next one adds to the AUC."""
        depths = {
            name: max(sorted(by_depth), key=lambda depth, name=name: self.auc([(name, depth)], weights))  # type: ignore[misc]
            for name, by_depth in self.opinions.items()
        }
        taken: list[Key] = []
        reached, left = -np.inf, list(depths.items())
        while left:
            following = max(left, key=lambda key: self.auc([*taken, key], weights))
            if (found := self.auc([*taken, following], weights)) <= reached:
                break
            reached = found
            taken.append(following)
            left.remove(following)
        return Recommendation(depths, [name for name, _ in taken], reached)


class Inside:
    """Choices made anew inside each fold's training images, and what they say of the fold that they have not seen.

    Args:
        found: By encoder and depth.
        short: By encoder the depths that may be chosen without each fold.
        y: (N,) class numbers.
        folds: Of the cross-validation.
    """

    def __init__(
        self,
        found: Mapping[str, Mapping[float, Nested]],
        short: Mapping[str, Sequence[Collection[float]]],
        y: Ints,
        folds: Folds,
    ) -> None:
        fold = by_fold.places(folds, len(y))
        self.outer = Panel({e: {d: said.outer for d, said in own.items()} for e, own in found.items()}, y, fold)
        self._tests, self._panels = [test for _, test in folds], []
        for i, (train, _) in enumerate(folds):
            seen = {e: {d: found[e][d].inner[i][train] for d in sorted(short[e][i])} for e in found}
            self._panels.append(Panel(seen, y[train], fold[train]))
        self.chosen = [panel.recommend(np.ones(len(panel.y))) for panel in self._panels]

    def recommended(self) -> Floats:
        """(N, K) log-probabilities by the sets that were chosen without each image's fold."""
        return self._answers(lambda _, chosen: chosen.keys)

    def together(self, names: Collection[str]) -> Floats:
        """(N, K) by these encoders at the depths that were chosen without each image's fold."""
        return self._answers(lambda _, chosen: [(name, chosen.depths[name]) for name in names])

    def better(self, names: Collection[str]) -> Floats:
        """(N, K) by the one of these that does best without each image's fold."""

        def pick(panel: Panel, chosen: Recommendation) -> list[Key]:
            even = np.ones(len(panel.y))
            return [max(((n, chosen.depths[n]) for n in names), key=lambda key: panel.auc([key], even))]

        return self._answers(pick)

    def auc(self, answers: Floats) -> float:
        """The mean over folds of the AUC of answers (N, K)."""
        return by_fold.auc(self.outer.y, answers, self.outer.fold)(np.ones(len(answers)))

    def spread(self, answers: Floats) -> float:
        """The standard error of `auc`, from how it differs between folds."""
        return by_fold.spread(by_fold.areas(self.outer.y, answers, self.outer.fold)(np.ones(len(answers))))

    def _answers(self, pick: Callable[[Panel, Recommendation], list[Key]]) -> Floats:
        said = [self.outer.mean(pick(*pair)) for pair in zip(self._panels, self.chosen, strict=True)]
        found = np.empty_like(said[0])
        for test, own in zip(self._tests, said, strict=True):
            found[test] = own[test]
        return found


def stability(panel: Panel, best: Recommendation, groups: npt.NDArray[Any] | None) -> dict[str, float]:
    """The share of draws of groups, with replacement, in which each encoder's depth, and the set, are the same.

    The probes are not fitted anew: opinions are out of fold, so that a draw only weighs them. A fold of which a draw
    holds one class, or nothing, does not count in it.
    """
    members = np.arange(len(panel.y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    drawn = [
        panel.recommend(weights)
        for weights in intervals.draws(panel.y, members, int(panel.y.max()) + 1, _DRAWS, seed=0)
    ]
    same = {name: np.mean([found.depths[name] == depth for found in drawn]) for name, depth in best.depths.items()}
    sets = [dict(found.keys) == dict(best.keys) for found in drawn]
    return {**{name: float(share) for name, share in same.items()}, "set": float(np.mean(sets))}
