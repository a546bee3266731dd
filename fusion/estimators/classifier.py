"""FusionClassifier: one or several encoders, frozen or fine-tuned, one head, a scikit-learn estimator."""

import copy
import time
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

import zoo
from fusion.data import folds as folds_
from fusion.data import labels as labels_
from fusion.data.samples import Samples, digests
from fusion.estimators import fitting, parameters, saving
from fusion.features import extract
from fusion.features.taps import Taps, named, whole
from fusion.heads.calibration import frequencies, moved
from fusion.tuning import strategies
from fusion.tuning.settings import Training


class FusionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify images by one or several encoders.

    Args:
        encoders: Names of `zoo.names()`, with `@depth` where another depth than the card's is wanted, or loaded
            `zoo.Encoder` objects; these are not changed. `name@0.25+0.5+1` takes the features at several depths from
            one pass, each a block of its own for the head, `name@quarters` those at the ends of all four quarters, and
            `fusion.Taps` those of a loaded encoder. One alone needs no list. `auto`: those that `fusion.scan`
            recommends, which judges by the head `mean`.
        head: `concat`, `convex`, `gated`, `attention`, `stack` or `mean`, see `fusion.heads`.
        strategy: How the encoders' weights move: a name of `fusion.strategies()`, a list of phases, or one of either
            per encoder, as a list or by name. `probe`: they do not.
        C: Inverse strength of the L2 penalty of solved heads: one, one per block (encoder and depth, in the order
            given), or None to choose them on the folds.
        folds: Folds of the out-of-fold predictions and of the choice of C.
        training: How a fine-tuning goes; None takes the defaults of `fusion.Training`.
        device: `auto` takes the GPU where there is one.
        seed: Of the folds, of a new head and of the order of images.
        candidates: Names that `auto` chooses from; None takes the embedded ones, so that nothing is downloaded.
        class_weight: `balanced` lets every class count the same in the fit and in `predict`; None every image. Either
            way probabilities are those of classes as frequent as in training. `Training.class_weight=None` says the
            same.
        select: `shifted` fits and chooses the head on images and five copies of each, as other scanners might have made
            them (`fusion.data.shifts`), at six times the cost; of 1,000 images and more one copy of each, of the five
            kinds in turn, at twice the cost. `clean`: on the images alone. Where images of another
            site are at hand, compare both on these.
        calibration: `temperature` also makes answers as sure as they are right, by one number that is fitted to
            answers out of fold, or on `validation`; None leaves that.
        compare_baselines: Whether the fit also judges what it must beat, for `leaderboard_`; a fit of image
            files takes up to a fifth longer, one of few small arrays in memory up to two thirds.

    Attributes:
        classes_: (K,) labels as they came in; columns of `predict_proba`.
        taps_: The encoders with the depths at which their features are taken, fine-tuned where the strategy says so.
        encoders_: The encoders of `taps_`.
        head_: The fitted head.
        scan_: What `auto` found.
        prior_: (K,) how often each class, or each label, is in training; None of a model saved before 0.2.
        calibration_: What makes the head's answers probabilities, see `fusion.heads.calibration`.
        leaderboard_: The fit beside a thumbnail, random weights and each encoder alone, see `fusion.Leaderboard`; None
            where it was not asked for or could not be, and of models saved before.
        history_: A row per epoch of a fine-tuning: stretch, epoch, loss, validation AUC and loss; 0 is before it.
        trained_: How many parameters moved, the head's included.
        seen_: Digests of the images and patients of the fit, without those of `validation`: `fusion.evaluate` refuses
            to judge on them.
        seconds_: How long the fit took; one that was killed counts what its checkpoint had behind it.

    Example:
        >>> from fusion import FusionClassifier, brain_regions
        >>> train = brain_regions("train", labels=60)
        >>> model = FusionClassifier(["mocov2-mini", "mae-mini"]).fit(train.images, train.labels)
        >>> model.predict(train.images[:1]).shape
        (1,)
    """

    def __init__(  # noqa: PLR0913 - an estimator says all it is told here
        self,
        encoders: Sequence[str | zoo.Encoder | Taps] | str | zoo.Encoder | Taps = ("mocov2-mini", "mae-mini"),
        head: str = "concat",
        strategy: strategies.Strategy = "probe",
        C: float | Sequence[float] | None = None,
        folds: int = 5,
        training: Training | None = None,
        device: str = "auto",
        seed: int = 0,
        candidates: Sequence[str] | None = None,
        class_weight: str | None = "balanced",
        calibration: str | None = None,
        select: str = "clean",
        compare_baselines: bool = True,
    ) -> None:
        self.encoders = encoders
        self.head = head
        self.strategy = strategy
        self.C = C
        self.folds = folds
        self.training = training
        self.device = device
        self.seed = seed
        self.candidates = candidates
        self.class_weight = class_weight
        self.calibration = calibration
        self.select = select
        self.compare_baselines = compare_baselines

    @property
    def encoders_(self) -> list[zoo.Encoder]:
        """Those of `taps_`."""
        return [taps.encoder for taps in self.taps_]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "encoders_" in self.__dict__:  # pickled before there were taps
            self.taps_ = [whole(encoder) for encoder in self.__dict__.pop("encoders_")]

    def fit(
        self,
        X: Any,
        y: Any,
        groups: Any = None,
        *,
        validation: tuple[Any, Any] | None = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit the head, and move the encoders' weights as the strategy says.

        Args:
            X: Paths, PIL images, arrays (N, H, W[, C]) or torch tensors (N, C, H, W), uint8 or float in [0, 1], or a
                DataFrame with one column of paths.
            y: (N,) labels; where an image may have several, (N, K) of 0 and 1, or a list of labels per image.
            groups: (N,) patients; no fold then holds a part of a patient, nor copies of an image apart.
            validation: Images and labels for early stopping. None: a fold of the training images, with fewer and larger
                folds where it would lack a class, unless `training.patience` is None.
            sample_weight: (N,) how much each image counts, from 0; None is 1 each.

        Raises:
            ValueError: A parameter is not one of its values, lengths differ, there is one class only, or there are
                more folds than images of a class or than groups.
            FloatingPointError: The loss is not finite.
        """
        started = time.monotonic()
        parameters.check(self)
        images = zoo.listed(X)
        known = labels_.read(y, len(images))
        samples = Samples(images, known.numbers, folds_.members(groups, len(images), images))
        weighting = fitting.weighting(self, sample_weight, samples)
        given = self._given(images, y, samples.groups)
        taps = extract.tapped([e if isinstance(e, str) else copy.deepcopy(e) for e in given], self.device)
        encoders = named(taps)
        stretches = strategies.plan(self.strategy, encoders, (self.training or Training()).epochs)
        parameters.check_read(stretches, taps)
        solved = all(stretch.solve for stretch in stretches)
        parameters.check_effect(self, solved, validation, multilabel=known.multilabel)
        self.origins_ = [{"name": encoder.name, "identity": encoder.identity()} for encoder in encoders]
        job = fitting.Job(self, taps, samples, known, weighting)
        found = job.solve() if solved else job.tune(stretches, validation)
        self.head_, self.history_, self.changed_ = found.head, found.history, found.changed
        self.calibration_, self.prior_ = found.calibration, frequencies(known.numbers, weighting)
        self.leaderboard_ = found.leaderboard
        self.trained_, self.seconds_ = found.trained, found.earlier + time.monotonic() - started
        self.classes_, self.taps_, self.multilabel_ = known.classes, taps, known.multilabel
        self.seen_ = digests(Samples(images, known.numbers, groups))  # ids as given: copies joined some
        return self

    def predict_log_proba(self, X: Any, without: Collection[str] = (), *, prior: Any = None) -> npt.NDArray[np.float64]:
        """Answer with the logarithms (N, K) of `predict_proba`, whose arguments these are."""
        self._check_fitted("predicts")
        names = [taps.name for taps in self.taps_]
        listed = isinstance(without, Collection) and not isinstance(without, str)
        if not listed or set(without) - set(names) or not set(names) - set(without):
            raise ValueError(f"without must name encoders of {names}, not all (got {without!r}). Keep one.")
        images = zoo.listed(X)
        each = [(taps, taps.name in without) for taps in self.taps_]
        parts = [[None] * len(taps.depths) if out else extract.blocks(taps, images) for taps, out in each]
        blocks = [block for part in parts for block in part]
        if not any(on and x is not None for on, x in zip(self.head_.on, blocks, strict=True)):
            owners = [taps.name for taps in self.taps_ for _ in taps.depths]
            used = list(dict.fromkeys(name for name, on in zip(owners, self.head_.on, strict=True) if on))
            warnings.warn(
                f"without {used} all images get one answer: the head left the other encoders out, since they only "
                "cost. Fit on those that are to answer alone.",
                UserWarning,
                stacklevel=2,
            )
        found = self.calibration_.apply(np.asarray(self.head_.log_proba(blocks)))
        if prior is None:
            return found
        if self.prior_ is None:
            raise ValueError("prior must be left out: this saved model is of an earlier version. Fit it again.")
        wanted = parameters.prior(prior, self.classes_, multilabel=self.multilabel_)
        return moved(found, self.prior_, wanted, multilabel=self.multilabel_)

    def predict_proba(self, X: Any, without: Collection[str] = (), *, prior: Any = None) -> npt.NDArray[np.float64]:
        """(N, K) probabilities, columns in the order of `classes_`: of one class, or of each label by itself.

        They are for classes as frequent as in training, whatever `class_weight` is.

        Args:
            X: As in `fit`.
            without: Names of encoders to answer without, with all their depths.
            prior: (K,) frequencies of the classes, or labels, where the images are from, in the order of `classes_` or
                as a dictionary: a screening has fewer diseased than a clinic. None takes those of training, `prior_`.

        Raises:
            ValueError: `without` names no encoder or all, or `prior` is not a frequency for each class.
        """
        return np.exp(self.predict_log_proba(X, without, prior=prior))

    def decide(self, proba: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
        """What `predict` says of answers (N, K) of `predict_proba` without `prior`: as the head does.

        Where classes counted the same in the fit, they do here: it is about the class whose probability is most above
        its frequency, not the largest one. At 2 % prevalence hardly any image would otherwise be called diseased. For
        other thresholds see `fusion.operating_point`.
        """
        with np.errstate(divide="ignore"):
            own = self.calibration_.undo(np.log(np.asarray(proba, np.float64)))
        if self.multilabel_:
            return np.asarray(own >= np.log(0.5), np.int64)
        return np.asarray(self.classes_[own.argmax(1)])

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """(N,) labels of the kind given to `fit`; of several labels per image (N, K) 0 and 1; as `decide` says."""
        return self.decide(self.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean accuracy; of several labels per image, the share of images with all of them right.

        As scikit-learn's tools need it, also of training images; how sure it is, says `fusion.evaluate`.

        Args:
            X: As in `fit`.
            y: As in `fit`, labels of training.
            sample_weight: (N,) how much each image counts.

        Raises:
            ValueError: A label was not in training or is missing, or lengths differ.
        """
        self._check_fitted("is judged")
        images = zoo.listed(X)
        known = labels_.placed(y, len(images), self.classes_, multilabel=self.multilabel_)
        said = self.predict(images)
        right = (said == known).all(1) if self.multilabel_ else said == self.classes_[known]
        return float(np.average(right, weights=sample_weight))

    def save(self, path: str | Path) -> None:
        """Write the head, what moved of the encoders, and `ATTRIBUTION.md` into the folder `path`.

        What did not move stays in the zoo; an encoder that the zoo does not give is stored whole, with its card. The
        encoders' terms go with the model, and are in the text. A model that was there is whole until this one is.

        Raises:
            NotFittedError: `fit` was not called.
        """
        self._check_fitted("is saved")
        saving.save(self, Path(path))

    @classmethod
    def load(
        cls, path: str | Path, *, encoders: Sequence[zoo.Encoder | Taps] | None = None, device: str = "auto"
    ) -> Self:
        """Read a model that `save` wrote.

        Args:
            path: Its folder.
            encoders: The encoders, or their `Taps`, in order as before the fit, where the zoo cannot load them by name.
            device: As in the constructor.

        Raises:
            OSError: The folder does not hold a model, or a file is not the one that was saved.
            ValueError: An encoder is not the one the head was fitted on.
        """
        return saving.load(cls, Path(path), encoders, device)

    def _given(self, X: Any, y: Any, groups: npt.NDArray[Any] | None) -> Sequence[str | zoo.Encoder | Taps]:
        if self.encoders != "auto":
            return list(parameters.listed(self.encoders))
        from fusion.selection import scan  # only here: a classifier is otherwise no part of choosing one

        options: dict[str, Any] = {"folds": self.folds, "device": self.device, "select": self.select}
        self.scan_ = scan.scan(self.candidates or scan.EMBEDDED, X, y, groups, **options)
        return self.scan_.recommended

    def _check_fitted(self, verb: str) -> None:
        if not hasattr(self, "head_"):
            raise NotFittedError(f"FusionClassifier must be fitted before it {verb}. Call fit first.")
