"""One cell of a study: fit it, let it answer, land the result. Runs in a worker process."""

import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

import zoo
from fusion.data import folds as folds_
from fusion.data import labels as labels_
from fusion.data import shifts
from fusion.data.samples import Samples, draw
from fusion.estimators.classifier import FusionClassifier
from fusion.evaluation import metrics, score
from fusion.features import raw
from fusion.heads.losses import Weighting
from fusion.heads.solved import SolvedConcat
from fusion.study import encoders as encoders_
from fusion.study import folder, grid
from fusion.study.config import variant
from fusion.study.grid import Cell
from fusion.tuning.settings import Training
from fusion.tuning.strategies import pulled

Floats = npt.NDArray[np.float64]

_APART = 1_000_000  # between the seeds of the random encoders of one model
_SETTLED = 256  # images, at most, that BatchNorm of random weights is settled on


@dataclass(frozen=True)
class Task:
    """A cell with all that its worker needs.

    Attributes:
        cell: What is fitted.
        output: The study's folder.
        definition: The strategy as `FusionClassifier` takes it, or a variant of a name, as in a config.
        training: Fields of `fusion.Training`.
        stop_images: How many validation images early stopping looks at; None takes all.
        train, validation: The parts; the cell draws its own labels.
        size: Side of the input of networks with random weights; None takes the card's.
        alone: In a process of its own, on one thread.
        window: By which images are read; None takes the cards'.
    """

    cell: Cell
    output: Path
    definition: Any
    training: Mapping[str, Any]
    stop_images: int | None
    train: Samples
    validation: Samples
    size: int | None
    alone: bool
    window: encoders_.Window = None


def work(task: Task) -> dict[str, Any]:
    """Fit the cell unless it is there, and land it; an error is a result too."""
    if task.alone:
        torch.set_num_threads(1)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the study, which ends its workers
    key = task.cell.key
    with folder.begun_cell(task.output, key):
        known = folder.record(task.output, key)
        if known and known["status"] == "done":
            return known
        try:
            record, arrays = _fitted(task)
        except Exception as error:
            return failed(task, error)
        folder.land(task.output, key, record, arrays)
        return record


def failed(task: Task, error: BaseException) -> dict[str, Any]:
    """Land the cell as one that failed."""
    record = {**_heading(task.cell), "status": "failed", "error": f"{type(error).__name__}: {error}"}
    folder.land(task.output, task.cell.key, record, None)
    return record


def encoders(task: Task) -> list[zoo.Encoder]:
    """Load the cell's encoders as before the fit; random ones have seen images that they are to be trained on."""
    found, train = fresh(task), draw(task.train, task.cell.labels, task.cell.seed)
    few = train.take(np.linspace(0, len(train) - 1, min(len(train), _SETTLED)).astype(np.int64))
    for name, encoder in zip(task.cell.encoders, found, strict=True):
        if encoders_.is_random(name):
            encoders_.warm_norms(encoder, few.images)
    return found


def answers(task: Task, part: Samples) -> Floats:
    """(N, K) of the landed cell on another part, by its kept model."""
    cell = task.cell
    if not cell.encoders:  # seconds to fit anew, and the same to the bit
        return _pixels(task).fit(draw(task.train, cell.labels, cell.seed)).predict_proba(part.images)
    place = task.output / "models" / cell.key
    return _own(FusionClassifier.load(place), part.images)


class Pixels:
    """The control: a probe on 16 x 16 grey pixels."""

    def __init__(self, seed: int, window: encoders_.Window = None, select: str = "clean") -> None:
        self.seed, self.window, self.select = seed, window, select

    def fit(self, train: Samples) -> Self:
        """Fit the head; its penalty is chosen on folds, as a probe's is."""
        known = labels_.read(train.labels, len(train))
        folds = folds_.folds(known.numbers, train.groups, folds_.most(train.labels, train.groups), self.seed)
        self.classes_ = known.classes
        parts = shifts.copies(len(train)) if self.select == "shifted" else [(np.arange(len(train)), [])]
        views = [view for i, kinds in parts for view in raw.varied(train.take(i).images, kinds, self.window)]
        rows = shifts.rows(parts)
        weighting = Weighting(images=1 / np.bincount(rows)[rows])
        placed = folds_.of_copies(folds, rows)
        y = known.numbers[rows]
        self.head = SolvedConcat().fit([np.concatenate(views)], y, placed, None, weighting, hold=False)
        return self

    def predict_proba(self, images: Any) -> Floats:
        """Return (N, K) probabilities."""
        return np.exp(self.head.log_proba([raw.pixels(images, self.window)]))

    @property
    def size(self) -> int:
        """Number of values that the head has."""
        return sum(values.size for values in self.head.arrays().values())


def _pixels(task: Task) -> Pixels:
    return Pixels(task.cell.seed, task.window, variant(task.definition).get("select", "clean"))


def held(validation: Samples, labels: float | int | None) -> Samples:
    """The validation images of a plumbing check: a quarter as many as it is trained on, two of each class at least."""
    classes = len(np.unique(validation.labels)) if validation.labels.ndim == 1 else validation.labels.shape[1]
    return draw(validation, min(max(int(labels or 1) // 4, 2 * classes), len(validation)), 0)


def _fitted(task: Task) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    cell, started = task.cell, time.monotonic()
    train = draw(task.train, cell.labels, cell.seed)
    validation = held(task.validation, cell.labels) if cell.untrained else task.validation
    model: Pixels | FusionClassifier
    if cell.encoders:
        model = _classifier(task, train, validation)
        trained, size, history, seconds = model.trained_, _size(model), model.history_, model.seconds_
    else:
        model = _pixels(task).fit(train)
        trained, size, history, seconds = model.size, model.size, [], time.monotonic() - started
    proba = _own(model, validation.images)
    if isinstance(model, FusionClassifier) and not cell.untrained:
        model.save(task.output / "models" / cell.key)
    record = {
        **_heading(cell),
        "status": "done",
        "error": None,
        "seconds": round(seconds, 2),
        "trained": trained,
        "parameters": size,
        "history": history,
        "figures": _figures(validation, proba, model.classes_),
    }
    return record, {"probabilities": proba, "classes": np.asarray(model.classes_)}


def _own(model: Pixels | FusionClassifier, images: Any) -> Floats:
    """(N, K) for classes as they count in the fit: figures over classes then are those of the largest column."""
    if isinstance(model, Pixels):
        return model.predict_proba(images)
    return np.asarray(np.exp(model.calibration_.undo(model.predict_log_proba(images))))


def _classifier(task: Task, train: Samples, validation: Samples) -> FusionClassifier:
    cell, found = task.cell, encoders(task)
    model = FusionClassifier(
        found,
        head=cell.head,
        strategy=_strategy(task, found),
        folds=folds_.most(train.labels, train.groups),
        training=_training(task),
        seed=cell.seed,
        select=variant(task.definition).get("select", "clean"),
        compare_baselines=False,  # a study has controls of its own, on the validation part
    )
    stop = validation
    if task.stop_images is not None and task.stop_images < len(validation):
        stop = draw(validation, task.stop_images, 0)
    held = None if cell.learning_rate is None else (stop.images, stop.labels)
    return model.fit(train.images, train.labels, train.groups, validation=held)


def _strategy(task: Task, found: list[zoo.Encoder]) -> Any:
    told = variant(task.definition)
    if "alpha" in told:
        own: list[Any] | None = pulled(told["strategy"], found, told["alpha"])
    else:
        own = grid.per_encoder(told["strategy"], task.cell.encoders)
    return told["strategy"] if own is None else own[0] if len(own) == 1 else own


def fresh(task: Task) -> list[zoo.Encoder]:
    """The cell's encoders as their names say; two of random weights differ, even where their architecture is one."""
    cell, size = task.cell, task.size if task.cell.untrained else None
    return [
        encoders_.load(name, untrained=cell.untrained, seed=cell.seed + _APART * place, size=size, window=task.window)
        for place, name in enumerate(cell.encoders)
    ]


def _training(task: Task) -> Training | None:
    """The settings, with a checkpoint from which a killed cell goes on; plumbing is one epoch, and needs none."""
    cell = task.cell
    if cell.learning_rate is None:
        return None
    own = {"checkpoint": None, "trackers": ()} if cell.untrained else {"checkpoint": task.output / "work" / cell.key}
    mode = {key: value for key, value in variant(task.definition).items() if key == "statistics"}
    return Training(**{**task.training, **mode, "learning_rate": cell.learning_rate, **own})


def _heading(cell: Cell) -> dict[str, Any]:
    return {"key": cell.key, "cell": {key: value for key, value in asdict(cell).items() if key != "context"}}


def _size(model: FusionClassifier) -> int:
    """Parameters held, the head's numbers included."""
    head = sum(values.size for values in model.head_.arrays().values())
    return head + sum(p.numel() for encoder in model.encoders_ for p in encoder.parameters())


def _figures(part: Samples, proba: Floats, classes: Any) -> dict[str, float]:
    # One draw, which is not looked at: the intervals are the table's.
    figures = score.score(part.labels, proba, classes, part.groups, resamples=1)
    return {name: getattr(figures, name).value for name in metrics.METRICS}
