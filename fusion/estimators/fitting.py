"""How a classifier is fitted: a head solved on frozen features, or encoders and head tuned together."""

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

import zoo
from fusion.data import folds as folds_
from fusion.data import labels as labels_
from fusion.data import shifts
from fusion.data.labels import Targets
from fusion.data.samples import Samples, fingerprint
from fusion.estimators import parameters
from fusion.estimators.leaderboard import Controls, Leaderboard, leaderboard
from fusion.features import extract
from fusion.features.taps import Taps
from fusion.heads.calibration import Calibration, by_prior, calibrate, frequencies, neutral
from fusion.heads.losses import Weighting
from fusion.heads.modules import TRAINED
from fusion.heads.optimum import ModuleHead, take_over
from fusion.heads.probe import EXACT, TOLERANCE, OutOfFold, normalised
from fusion.heads.solved import SOLVED, Head
from fusion.tuning.loop import Fit
from fusion.tuning.network import Fused, disown, same_bytes
from fusion.tuning.phases import Stretch
from fusion.tuning.settings import Training


@dataclass
class Fitted:
    """What a fit gave.

    Attributes:
        head: Ready to answer.
        trained: Number of values that moved, the head's included.
        changed: Names of the tensors that moved, of each encoder.
        history: A row per epoch.
        earlier: Seconds that were spent before this process took the fit up.
        calibration: What makes its answers probabilities.
        leaderboard: The fit beside what it must beat, where asked for.
    """

    head: Head
    calibration: Calibration
    trained: int
    changed: list[set[str]]
    history: list[dict[str, Any]] = field(default_factory=list)
    earlier: float = 0.0
    leaderboard: Leaderboard | None = None


@dataclass
class Job:
    """Everything that a fit needs.

    Attributes:
        model: The estimator, for its parameters.
        taps: The model's own encoders, each with its depths; a tuning moves them in place.
        samples: Images with class numbers (N,), or labels (N, K) of 0 and 1, and groups.
        known: The labels as they came in.
        weighting: How much each image counts.
    """

    model: Any
    taps: list[Taps]
    samples: Samples
    known: Targets
    weighting: Weighting

    @property
    def encoders(self) -> list[zoo.Encoder]:
        """One per entry of `taps`."""
        return [taps.encoder for taps in self.taps]

    def solve(self) -> Fitted:
        """Fit the head to its optimum on the features as they are, and where asked on those of shifted copies."""
        folds = folds_.folds(self.samples.labels, self.samples.groups, self.model.folds, self.model.seed)
        if self.model.select == "shifted":
            return self._solve_shifted(folds)
        images, controls = self.samples.images, self._controls()
        found = [extract.blocks(taps, images, beside=beside) for taps, beside in self._beside(controls)]
        return self._solved_on(found, self.samples.labels, folds, self.weighting, controls)

    def _blocks(self, images: Any) -> list[extract.Floats]:
        """Features (N, D) of every encoder at each of its depths."""
        return [block for taps in self.taps for block in extract.blocks(taps, images)]

    def _controls(self) -> Controls | None:
        """What reads the same pixels as the first encoder, where a leaderboard is asked for."""
        return Controls.of(self.taps[0], len(self.samples)) if self.model.compare_baselines else None

    def _parted(self, found: list[list[extract.Floats]]) -> tuple[list[extract.Floats], list[extract.Floats]]:
        """The encoders' blocks, and what the controls saw, which comes behind those of the first encoder."""
        each = zip(self.taps, found, strict=True)
        return [x for taps, own in each for x in own[: len(taps.depths)]], found[0][len(self.taps[0].depths) :]

    def _beside(self, controls: Controls | None) -> list[tuple[Taps, extract.Beside | None]]:
        return [(taps, None if place else controls) for place, taps in enumerate(self.taps)]

    def _solve_shifted(self, folds: folds_.Folds) -> Fitted:
        """Fit and choose on images and their copies, all copies of an image on one side of each fold."""
        parts = shifts.copies(len(self.samples))
        rows = shifts.rows(parts)
        controls, images = self._controls(), self.samples.images
        copies = [extract.copied(taps, images, parts, beside=beside) for taps, beside in self._beside(controls)]
        given = 1 if self.weighting.images is None else self.weighting.images[rows]
        weighting = Weighting(self.weighting.balanced, given / np.bincount(rows)[rows])
        return self._solved_on(
            copies, self.samples.labels[rows], folds_.of_copies(folds, rows), weighting, controls, rows
        )

    def _solved_on(
        self,
        found: list[list[extract.Floats]],
        labels: npt.NDArray[np.int64],
        folds: folds_.Folds,
        weighting: Weighting,
        controls: Controls | None,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> Fitted:
        """Fit on what each encoder found, with what the controls saw behind the first one's blocks."""
        blocks, beside = self._parted(found)
        folded = OutOfFold(blocks, labels, folds, weighting)
        head = self._solved(blocks, labels, folds, weighting, folded=folded)
        held = cast(npt.NDArray[np.float64], head.held)
        calibrated = self._calibration(held, labels, weighting)
        board = None
        if controls:
            board = leaderboard(held, folded, self.taps, controls.named(beside), self.samples.groups, rows)
        return Fitted(head, calibrated, head.size, [set() for _ in self.encoders], leaderboard=board)

    def tune(self, stretches: list[Stretch], validation: tuple[Any, Any] | None) -> Fitted:
        """Move encoders and head through the stretches, with early stopping where there are images for it."""
        model, settings, board = self.model, self.model.training or Training(), self._frozen()
        train, held, weighting = self._parts(validation, settings.patience)
        whole = len(train) == len(self.samples)
        count = model.folds if whole else folds_.fewer(train.labels, train.groups, model.folds)
        solves = any(stretch.solve for stretch in stretches)
        folds = folds_.folds(train.labels, train.groups, count, model.seed) if solves else []
        before = [{name: v.detach().cpu().clone() for name, v in e.state_dict().items()} for e in self.encoders]
        head = self._new_head(train)
        network = Fused(self.encoders, head, [taps.places for taps in self.taps])
        options = {"seed": model.seed, "device": model.device, "weighting": weighting}
        fit = Fit(network, stretches, train, held, settings, **options)
        identity = {
            "encoders": model.origins_,
            "head": [model.head, model.C, count],
            **self._depths(),
            "images": fingerprint(train),
            "validation": fingerprint(held) if held else None,
            "weights": None if weighting.images is None else weighting.images.tolist(),
        }
        history = fit.run(lambda network: self._solve_into(network, train, folds, weighting), identity)
        after = [encoder.eval().state_dict() for encoder in self.encoders]
        changed = [{n for n in a if not same_bytes(a[n].cpu(), b[n])} for a, b in zip(after, before, strict=True)]
        for encoder in self.encoders:
            disown(encoder.requires_grad_(True))
        moved = sum(fit.progress.moved.values())
        found = cast(Head, ModuleHead(model.head, head))
        return Fitted(found, self._calibrated(found, held), moved, changed, history, fit.earlier, board)

    def _frozen(self) -> Leaderboard | None:
        """The leaderboard of the encoders before they move, where asked for and the images allow folds."""
        samples, controls = self.samples, self._controls()
        if controls is None or not folds_.foldable(samples.labels, samples.groups):
            return None
        count = folds_.fewer(samples.labels, samples.groups, self.model.folds)
        folds = folds_.folds(samples.labels, samples.groups, count, self.model.seed)
        found = [extract.blocks(taps, samples.images, beside=beside) for taps, beside in self._beside(controls)]
        blocks, beside = self._parted(found)
        folded = OutOfFold(blocks, samples.labels, folds, self.weighting)
        held = normalised(folded.together(folded.best_together(), TOLERANCE), samples.labels.ndim == 2)
        return leaderboard(held, folded, self.taps, controls.named(beside), samples.groups, tuned=True)

    def _depths(self) -> dict[str, Any]:
        """What tells a checkpoint's fit from one at other depths; encoders at their ends say nothing, as ever."""
        told = any(taps.depths != (taps.encoder.depth,) for taps in self.taps)
        return {"depths": [list(taps.depths) for taps in self.taps]} if told else {}

    def _calibrated(self, head: Head, held: Samples | None) -> Calibration:
        """By what a tuned head says of images that stopped it, where there were any."""
        if held is None:
            wanted, several = frequencies(self.samples.labels, self.weighting), self.known.multilabel
            return by_prior(wanted, multilabel=several) if self.weighting.balanced else neutral(len(wanted), several)
        answers = head.log_proba(self._blocks(held.images))
        return self._calibration(answers, held.labels, Weighting(self.weighting.balanced))

    def _calibration(self, held: npt.NDArray[np.float64], y: npt.NDArray[Any], weighting: Weighting) -> Calibration:
        wanted = frequencies(self.samples.labels, self.weighting)
        return calibrate(held, y, wanted, weighting, temperature=self.model.calibration == "temperature")

    def _new_head(self, train: Samples) -> Any:
        blocks = self._blocks(train.images)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.model.seed)
            widths = [block.shape[1] for block in blocks]
            head = TRAINED[self.model.head](widths, len(self.known.classes), self.known.multilabel)
        head.standardise(blocks)
        return head

    def _parts(
        self, validation: tuple[Any, Any] | None, patience: int | None
    ) -> tuple[Samples, Samples | None, Weighting]:
        """What is trained on, what stops it early, and how much each of the former counts."""
        whole, model = self.samples, self.model
        if validation is not None:
            images, labels = zoo.listed(validation[0]), validation[1]
            numbers = labels_.numbered(labels, len(images), self.known.classes, multilabel=self.known.multilabel)
            return whole, Samples(images, numbers), self.weighting
        if patience is None:
            return whole, None, self.weighting
        train, test = folds_.held_out(whole.labels, whole.groups, model.folds, model.seed)
        return whole.take(train), whole.take(test), self.weighting.take(train)

    def _solve_into(self, network: Fused, train: Samples, folds: folds_.Folds, weighting: Weighting) -> None:
        head = self._solved(self._blocks(train.images), train.labels, folds, weighting, EXACT, hold=False)
        if isinstance(head, ModuleHead):
            network.head.load_state_dict(cast(torch.nn.Module, head.module).state_dict())
        else:
            take_over(network.head, head.arrays())

    def _solved(
        self,
        blocks: list[Any],
        labels: npt.NDArray[np.int64],
        folds: folds_.Folds,
        weighting: Weighting,
        tolerance: float = TOLERANCE,
        *,
        hold: bool = True,
        folded: OutOfFold | None = None,
    ) -> Head:
        kind, seed = self.model.head, self.model.seed
        made: Any = SOLVED[kind]() if kind in SOLVED else ModuleHead(kind, seed=seed, drop=hold)
        made.tolerance = tolerance
        penalties = parameters.penalties(self.model.C, len(blocks))
        return cast(Head, made.fit(blocks, labels, folds, penalties, weighting, hold=hold, folded=folded))


def weighting(model: Any, sample_weight: Any, samples: Samples) -> Weighting:
    """How much each image counts.

    Raises:
        ValueError: Weights are not one per image, finite and not negative, or a class has fewer images that count than
            there are folds.
    """
    balanced = model.class_weight == "balanced" and (model.training or Training()).class_weight == "balanced"
    if sample_weight is None:
        return Weighting(balanced)
    found = _weights(sample_weight, len(samples))
    counting = samples.labels[found > 0]
    sides = [np.bincount(counting)] if counting.ndim == 1 else [np.bincount(label, minlength=2) for label in counting.T]
    classes = len(np.unique(samples.labels)) if counting.ndim == 1 else 2
    fewest = min(int(side.min()) if len(side) == classes else 0 for side in sides)
    if fewest < model.folds:
        raise ValueError(
            f"sample_weight must let {model.folds} images of each class count, as many as folds (got {fewest}). "
            "Lower folds, or leave out the class."
        )
    return Weighting(balanced, found)


def _weights(given: Any, count: int) -> npt.NDArray[np.float64]:
    try:
        found = np.ma.filled(np.ma.asarray(given, dtype=np.float64), np.nan)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (count,) or not np.isfinite(found).all() or (found < 0).any():
        raise ValueError(
            f"sample_weight must be {count} finite numbers from 0 (got shape {found.shape}). Give one each."
        )
    return found
