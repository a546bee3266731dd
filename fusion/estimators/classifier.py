"""FusionClassifier: one or several encoders, frozen or fine-tuned, one head, a scikit-learn estimator."""

import copy
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

import zoo
from fusion.data import folds as folds_
from fusion.data import labels as labels_
from fusion.data.labels import Targets
from fusion.data.samples import Samples, fingerprint
from fusion.estimators import parameters, saving
from fusion.features import extract
from fusion.heads.modules import TRAINED
from fusion.heads.optimum import ModuleHead, take_over
from fusion.heads.probe import EXACT, TOLERANCE
from fusion.heads.solved import SOLVED, Head
from fusion.tuning import strategies
from fusion.tuning.loop import Fit
from fusion.tuning.network import Fused
from fusion.tuning.phases import Stretch
from fusion.tuning.settings import Training


class FusionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify images by one or several encoders.

    Args:
        encoders: Names of `zoo.names()`, with `@depth` where another depth than the card's is wanted, or loaded
            `zoo.Encoder` objects; these are not changed. `auto`: those that `fusion.scan` recommends, which judges
            by the head `mean`.
        head: `concat`, `convex`, `gated`, `attention`, `stack` or `mean`, see `fusion.heads`.
        strategy: How the encoders' weights move: a name of `fusion.strategies()`, a list of phases, or one of either
            per encoder, as a list or by name. `probe`: they do not.
        C: Inverse strength of the L2 penalty of solved heads: one, one per encoder, or None to choose it on the folds.
        folds: Folds of the out-of-fold predictions and of the choice of C.
        training: How a fine-tuning goes; None takes the defaults of `fusion.Training`.
        device: `auto` takes the GPU where there is one.
        seed: Of the folds, of a new head and of the order of images.
        candidates: Names that `auto` chooses from; None takes the embedded ones, so that nothing is downloaded.

    Attributes:
        classes_: (K,) labels as they came in; columns of `predict_proba`.
        encoders_: The encoders, fine-tuned where the strategy says so.
        head_: The fitted head.
        scan_: What `auto` found.
        history_: A row per epoch of a fine-tuning: stretch, epoch, loss, validation AUC and loss; 0 is before it.
        trained_: How many parameters moved, the head's included.
        seconds_: How long the fit took; one that was killed counts what its checkpoint had behind it.

    Example:
        >>> from fusion import FusionClassifier, brain_regions
        >>> train = brain_regions("train", labels=60)
        >>> model = FusionClassifier(["mocov2-mini", "mae-mini"]).fit(train.images, train.labels)
        >>> model.predict(train.images[:1]).shape
        (1,)
    """

    def __init__(
        self,
        encoders: Sequence[str | zoo.Encoder] | str = ("mocov2-mini", "mae-mini"),
        head: str = "concat",
        strategy: strategies.Strategy = "probe",
        C: float | Sequence[float] | None = None,
        folds: int = 5,
        training: Training | None = None,
        device: str = "auto",
        seed: int = 0,
        candidates: Sequence[str] | None = None,
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

    def fit(self, X: Any, y: Any, groups: Any = None, *, validation: tuple[Any, Any] | None = None) -> Self:
        """Fit the head, and move the encoders' weights as the strategy says.

        Args:
            X: Paths, PIL images, or arrays (N, H, W[, C]), uint8 or float in [0, 1].
            y: (N,) labels; where an image may have several, (N, K) of 0 and 1, or a list of labels per image.
            groups: (N,) patients; no fold then holds a part of a patient.
            validation: Images and labels for early stopping. None: a fold of the training images, with fewer and larger
                folds where it would lack a class, unless `training.patience` is None.

        Raises:
            ValueError: A parameter is not one of its values, lengths differ, there is one class only, or there are
                more folds than images of a class or than groups.
            FloatingPointError: The loss is not finite.
        """
        started = time.monotonic()
        parameters.check(self)
        known = labels_.read(y, len(X))
        patients = folds_.members(groups, len(X))
        given = self._given(X, y, patients)
        encoders = extract.loaded([e if isinstance(e, str) else copy.deepcopy(e) for e in given], self.device)
        stretches = strategies.plan(self.strategy, encoders, (self.training or Training()).epochs)
        parameters.check_weighting(self, stretches)
        self.origins_ = [{"name": encoder.name, "identity": encoder.identity()} for encoder in encoders]
        if all(stretch.solve for stretch in stretches):
            folds = folds_.folds(known.numbers, patients, self.folds, self.seed)
            blocks = [extract.extract(encoder, X) for encoder in encoders]
            self.head_ = self._solved(blocks, known.numbers, folds)
            self.history_: list[dict[str, Any]] = []
            self.trained_ = self.head_.size
            self.changed_: list[set[str]] = [set() for _ in encoders]
        else:
            started -= self._tune(encoders, stretches, X, known, patients, validation)
        self.seconds_ = time.monotonic() - started
        self.classes_, self.encoders_, self.multilabel_ = known.classes, encoders, known.multilabel
        return self

    def predict_proba(self, X: Any, without: Collection[str] = ()) -> npt.NDArray[np.float64]:
        """(N, K) probabilities, columns in the order of `classes_`: of one class, or of each label by itself.

        Args:
            X: As in `fit`.
            without: Names of encoders to answer without.
        """
        self._check_fitted("predicts")
        names = [encoder.name for encoder in self.encoders_]
        unknown = [name for name in without if name not in names]
        if unknown or not set(names) - set(without):
            raise ValueError(f"without must name encoders of {names}, not all (got {list(without)}). Keep one.")
        blocks = [None if e.name in without else extract.extract(e, X) for e in self.encoders_]
        return np.exp(self.head_.log_proba(blocks))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """(N,) labels of the kind given to `fit`; of several labels per image (N, K) 0 and 1, at probability 0.5."""
        proba = self.predict_proba(X)
        if self.multilabel_:
            return (proba >= 0.5).astype(np.int64)
        return cast(npt.NDArray[Any], self.classes_[proba.argmax(1)])

    def save(self, path: str | Path) -> None:
        """Write the head, what moved of the encoders, and `ATTRIBUTION.md` into the folder `path`.

        What did not move stays in the zoo; the encoders' terms go with the model, and are in the text.

        Raises:
            NotFittedError: `fit` was not called.
        """
        self._check_fitted("is saved")
        saving.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, *, encoders: Sequence[zoo.Encoder] | None = None, device: str = "auto") -> Self:
        """Read a model that `save` wrote.

        Args:
            path: Its folder.
            encoders: The encoders in their order, as they were before the fit, where the zoo cannot load them by name.
            device: As in the constructor.

        Raises:
            OSError: The folder does not hold a model.
            ValueError: An encoder is not the one the head was fitted on.
        """
        return saving.load(cls, Path(path), encoders, device)

    def _given(self, X: Any, y: Any, groups: npt.NDArray[Any] | None) -> Sequence[str | zoo.Encoder]:
        if self.encoders != "auto":
            return self.encoders
        from fusion.selection import scan  # only here: a classifier is otherwise no part of choosing one

        self.scan_ = scan.scan(self.candidates or scan.EMBEDDED, X, y, groups, folds=self.folds, device=self.device)
        return self.scan_.recommended

    def _tune(
        self,
        encoders: list[zoo.Encoder],
        stretches: list[Stretch],
        X: Any,
        known: Targets,
        groups: npt.NDArray[Any] | None,
        validation: tuple[Any, Any] | None,
    ) -> float:
        """Returns the seconds that were spent before this process took the fit up."""
        settings = self.training or Training()
        train, held = self._parts(Samples(X, known.numbers, groups), known, validation, settings.patience)
        whole = len(train) == len(known.numbers)
        count = self.folds if whole else folds_.fewer(train.labels, train.groups, self.folds)
        solves = any(stretch.solve for stretch in stretches)
        folds = folds_.folds(train.labels, train.groups, count, self.seed) if solves else []
        before = [{name: v.detach().cpu().clone() for name, v in e.state_dict().items()} for e in encoders]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            head = TRAINED[self.head]([e.num_features for e in encoders], len(known.classes), known.multilabel)
        head.standardise([extract.extract(encoder, train.images) for encoder in encoders])
        fit = Fit(Fused(encoders, head), stretches, train, held, settings, seed=self.seed, device=self.device)
        identity = {
            "encoders": self.origins_,
            "head": [self.head, self.C, count],
            "images": fingerprint(train),
            "validation": fingerprint(held) if held else None,
        }
        self.history_ = fit.run(lambda network: self._solve_into(network, train, folds), identity)
        self.trained_ = sum(fit.progress.moved.values())
        after = [encoder.eval().state_dict() for encoder in encoders]
        self.changed_ = [
            {n for n in a if not torch.equal(a[n].cpu(), b[n])} for a, b in zip(after, before, strict=True)
        ]
        self.head_ = cast(Head, ModuleHead(self.head, head))
        for encoder in encoders:
            saving.disown(encoder.requires_grad_(True))
        return fit.earlier

    def _parts(
        self, whole: Samples, known: Targets, validation: tuple[Any, Any] | None, patience: int | None
    ) -> tuple[Samples, Samples | None]:
        if validation is not None:
            held, labels = validation
            numbers = labels_.numbered(labels, len(held), known.classes, multilabel=known.multilabel)
            return whole, Samples(held, numbers)
        if patience is None:
            return whole, None
        train, test = folds_.held_out(whole.labels, whole.groups, self.folds, self.seed)
        return whole.take(train), whole.take(test)

    def _solve_into(self, network: Fused, train: Samples, folds: folds_.Folds) -> None:
        blocks = [extract.extract(cast(zoo.Encoder, encoder), train.images) for encoder in network.encoders]
        head = self._solved(blocks, train.labels, folds, EXACT)
        if isinstance(head, ModuleHead):
            network.head.load_state_dict(cast(torch.nn.Module, head.module).state_dict())
        else:
            take_over(network.head, head.arrays())

    def _solved(
        self, blocks: list[Any], numbers: labels_.Ints, folds: folds_.Folds, tolerance: float = TOLERANCE
    ) -> Head:
        made = SOLVED[self.head]() if self.head in SOLVED else ModuleHead(self.head, seed=self.seed)
        made.tolerance = tolerance
        return cast(Head, made).fit(blocks, numbers, folds, parameters.penalties(self.C, len(blocks)))

    def _check_fitted(self, verb: str) -> None:
        if not hasattr(self, "head_"):
            raise NotFittedError(f"FusionClassifier must be fitted before it {verb}. Call fit first.")
