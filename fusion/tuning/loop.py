"""One loop for one or many encoders: phases, early stopping, checkpoints; `accelerate` sees to the devices."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import send_to_device, tqdm
from safetensors import SafetensorError
from torch import Tensor

import zoo
from fusion.data.augmentation import augment
from fusion.data.samples import Samples
from fusion.evaluation import metrics
from fusion.heads import losses
from fusion.heads.losses import EVEN, Weighting
from fusion.tuning import lora, rules
from fusion.tuning.batches import Batch, Doubts, Shuffled, loader
from fusion.tuning.checkpoints import Checkpoints, Progress
from fusion.tuning.finite import Finite
from fusion.tuning.network import Fused, neighbours, set_modes
from fusion.tuning.phases import Stretch, movers
from fusion.tuning.randomness import repeatable
from fusion.tuning.settings import Training, cosine, default_rate

Watch = Callable[[dict[str, Any]], None]


class Fit:
    """One fit of a network on images, in place.

    Args:
        network: Its encoders move as the stretches say, its head always trains.
        stretches: From `strategies.plan`.
        train: Images with class numbers (N,) or labels (N, K) of 0 and 1.
        validation: Images with labels of the same kind; without them there is no early stopping, and the last weights
            stay.
        settings: See `Training`.
        seed: Of order, augmentation and dropout.
        device: `auto`, `cpu` or `cuda`.
        weighting: How much each training image counts; without balance in the settings, classes are not balanced.
        watch: Is told of every step: stretch, epoch, loss, and the learning rate of every group.
    """

    def __init__(
        self,
        network: Fused,
        stretches: Sequence[Stretch],
        train: Samples,
        validation: Samples | None,
        settings: Training,
        *,
        seed: int = 0,
        device: str = "auto",
        watch: Watch | None = None,
        weighting: Weighting = EVEN,
    ) -> None:
        self.network, self.stretches, self.settings, self.seed = network, stretches, settings, seed
        self.train, self.validation, self.device, self.watch = train, validation, device, watch
        self.encoders = [cast(zoo.Encoder, encoder) for encoder in network.encoders]
        if settings.augment:  # an unknown modality is refused before anything is written
            augment(torch.zeros(0, 1, 1, 1), settings.augment, ())
        balanced = weighting.balanced and settings.class_weight == "balanced"
        self.weight = losses.class_weights(train.labels, network.head.classes) if balanced else None
        self.each = None if weighting.images is None else torch.from_numpy(weighting.images.astype(np.float32))
        self.anchor = rules.Anchor(self.encoders)
        given = settings.learning_rate
        rates = [default_rate(e.card.architecture) if given is None else given for e in self.encoders]
        self.learning_rate = max(rates)
        self.shares = [rate / self.learning_rate if self.learning_rate else 1.0 for rate in rates]
        self.progress, self.doubts = Progress(), Doubts(self.encoders)
        self.earlier, self.started = 0.0, time.monotonic()

    def run(self, solve: Callable[[Fused], None], identity: dict[str, Any]) -> list[dict[str, Any]]:
        """Train to the end, restore the best weights, and return the history: a row per epoch, 0 is before training.

        Args:
            solve: Fits the head to its optimum on the training images.
            identity: What a checkpoint must have been written with, beside settings and stretches.

        Raises:
            FloatingPointError: The loss is not finite.
            OSError: The checkpoint cannot be written.
            ValueError: The checkpoint is of another fit.
        """
        with repeatable(self.seed, self.settings.deterministic):
            self._start(identity)
            for number in range(self.progress.stretch, len(self.stretches)):
                self.progress.enter(number)
                if self.stretches[number].solve:
                    solve(self.network)
                    self.progress.score = None  # what follows begins here, whatever the head before was worth
                    self._record(None)
                else:
                    self._stretch(self.stretches[number])
            self.accelerator.end_training()
        return self.progress.history

    def _start(self, identity: dict[str, Any]) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)  # an earlier fit may have had another device, precision
        self.accelerator = Accelerator(
            cpu=self.device == "cpu",
            mixed_precision=self.settings.precision,
            log_with=list(self.settings.trackers) or None,
            project_dir=self.settings.checkpoint,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        plan = {"stretches": [asdict(stretch) for stretch in self.stretches], "training": self._identity()}
        plan["processes"] = self.accelerator.num_processes
        self.checkpoints = Checkpoints(self.settings.checkpoint, {**identity, **plan})
        self.finite = Finite(self.checkpoints)
        if self.settings.trackers:
            self.accelerator.init_trackers("sslzoo")
        self.network.to(self.accelerator.device)
        self.resume = self.checkpoints.latest()
        if self.resume:
            self.checkpoints.restore(self.resume, self.progress)
        else:
            self._record(None)

    def _identity(self) -> dict[str, Any]:
        """The settings that decide a result, as fits before these modes and rates wrote them."""
        said = {"strategy": True, "frozen": False}.get(str(self.settings.statistics), self.settings.statistics)
        own = {**asdict(self.settings), "statistics": said, "learning_rate": self.learning_rate, "seed": self.seed}
        own |= {"checkpoint": "", "progress": "", "workers": ""}
        return own if set(self.shares) == {1.0} else {**own, "shares": self.shares}

    def _stretch(self, stretch: Stretch) -> None:
        pairs = zip(self.encoders, stretch.phases, strict=True)
        added = [lora.add(encoder, phase.lora) for encoder, phase in pairs if phase.lora]
        optimiser, batches = self._optimiser(stretch), self._batches()
        self.accelerator.free_memory()  # a network is wrapped anew: other weights may move now
        self.model, self.optimiser, self.loader = self.accelerator.prepare(self.network, optimiser, batches.loader)
        if len(batches.loader) < self.accelerator.num_processes:
            raise ValueError(
                f"batch must leave one for each of {self.accelerator.num_processes} processes "
                f"(got {len(batches.loader)} of {len(self.train)} images). Pass a smaller batch."
            )
        if self.resume:
            self._take_up(self.resume)
            self.resume, self.earlier = None, self.progress.seconds
        else:
            self.progress.keep(self.network)
        with tqdm(initial=self.progress.in_stretch, total=stretch.epochs, disable=not self.settings.progress) as bar:
            while self.progress.in_stretch < stretch.epochs and not self._stale():
                self._epoch(stretch, batches)
                bar.update()
        if self.validation:
            self.network.load_state_dict(self.progress.best)
        for adapter in added:
            lora.merge(adapter)
        self.progress.keep(self.network)

    def _take_up(self, state: Path) -> None:
        try:
            self.accelerator.load_state(str(state))
        except (OSError, RuntimeError, ValueError, KeyError, UnpicklingError, SafetensorError) as error:
            raise self.checkpoints.damaged(state, error) from None

    def _optimiser(self, stretch: Stretch) -> torch.optim.Optimizer:
        moving = movers(stretch, self.encoders, self.network.head, self.shares)
        self.progress.moved |= {name: p.numel() for name, p in self.network.named_parameters() if p.requires_grad}
        decay = 0.0 if any(phase.penalty for phase in stretch.phases) else self.settings.weight_decay
        return torch.optim.AdamW(moving, lr=0.0, weight_decay=decay)

    def _batches(self) -> Shuffled:
        settings = self.settings
        vary = partial(_augmented, settings.augment) if settings.augment else None
        return Shuffled(self.train, self.encoders, settings.batch, self.seed, vary=vary, workers=settings.workers)

    def _epoch(self, stretch: Stretch, batches: Shuffled) -> None:
        batches.set_epoch(self.progress.done)
        self._measure(stretch, batches)
        self.network.train()
        mode = self.settings.statistics
        for encoder, phase in zip(self.encoders, stretch.phases, strict=True):
            by_strategy = mode == "strategy" and phase.statistics and not phase.lora
            set_modes(encoder, mode == "batch" or by_strategy, along=neighbours(encoder) if mode == "batch" else ())
        steps, total = len(self.loader), 0.0
        for step, batch in enumerate(self.loader):
            share = cosine(self.progress.in_stretch * steps + step, stretch.epochs * steps, self.settings.warmup)
            total += self._step(stretch, self.doubts.heard(batch), self.learning_rate * share, step)
        self.doubts.tell()
        self.progress.end_epoch()
        if self.accelerator.num_processes > 1:
            for buffer in self.network.buffers():  # BatchNorm statistics: one network, that of the first process
                torch.distributed.broadcast(buffer, 0)
        self._record(total / steps)
        self.progress.seconds = self.earlier + time.monotonic() - self.started
        self.checkpoints.save(self.accelerator, self.progress)

    def _step(self, stretch: Stretch, batch: Batch, learning_rate: float, step: int) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate * group["rate"]
        self.optimiser.zero_grad()
        dropped = self._dropped(step)
        each = self._counted(losses.losses(self.model(batch["images"], dropped), batch["target"], self.weight), batch)
        loss = each.mean() + self.anchor.penalty(stretch.phases, self.network.head, dropped)
        value = float(self.accelerator.reduce(loss.detach(), "mean"))
        if not math.isfinite(value):
            where = f"in epoch {self.progress.done + 1}, batch {step + 1}"
            raise self.finite.loss(value, each, self.train, batch["index"].tolist(), where)
        self.accelerator.backward(loss)
        self.optimiser.step()
        if self.watch:
            rates = {group["name"]: group["lr"] for group in self.optimiser.param_groups}
            place = {"stretch": self.progress.stretch, "epoch": self.progress.done, "step": step}
            self.watch({**place, "loss": value, "rates": rates})
        return value

    def _measure(self, stretch: Stretch, batches: Shuffled) -> None:
        """Auto-RGN: rates from the first batches of this epoch, the same in every process; nothing moves here."""
        for encoder, phase in zip(self.encoders, stretch.phases, strict=True):
            if not phase.rule:
                continue
            self.network.eval()
            rates = rules.measured_rates(encoder, batches.loader, self._mean_loss, phase.rule)
            for group in self.optimiser.param_groups:
                owner, _, name = group["name"].rpartition(" ")
                if owner == encoder.name:
                    group["rate"] = group["share"] * rates[name]

    def _mean_loss(self, batch: Batch) -> Tensor:
        batch = send_to_device(batch, self.accelerator.device)
        return self._counted(losses.losses(self.network(batch["images"]), batch["target"], self.weight), batch).mean()

    def _counted(self, each: Tensor, batch: Batch) -> Tensor:
        """The loss (N,) of training images, as much of each as it counts."""
        return each if self.each is None else each * self.each[batch["index"].cpu()].to(each)

    def _record(self, loss: float | None) -> None:
        """One row of the history; better weights than any before are kept."""
        progress = self.progress
        figures = self._validate()
        row = {"stretch": progress.stretch, "epoch": progress.done, "loss": loss, **figures}
        progress.history.append(row)
        self.accelerator.log({key: value for key, value in row.items() if value is not None}, step=progress.done)
        if figures and progress.improved(figures, self.settings.monitor):
            progress.keep(self.network)

    def _stale(self) -> bool:
        patience = self.settings.patience
        return self.validation is not None and patience is not None and self.progress.stale >= patience

    def _validate(self) -> dict[str, float]:
        where = f"after epoch {self.progress.done}"
        if self.validation is None:
            self.finite.weights(self.network, where)
            return {}
        self.network.eval()
        places = loader(self.validation, self.encoders, self.settings.batch, self.settings.workers)
        with torch.inference_mode():
            parts = [self._answers(batch) for batch in self.accelerator.prepare_data_loader(places)]
        logits, target = (torch.cat(column) for column in zip(*parts, strict=True))
        loss = float(losses.losses(logits, target, self.weight).mean())
        if not math.isfinite(loss):
            each = losses.losses(logits, target, None)
            raise self.finite.loss(loss, each, self.validation, range(len(each)), where)
        proba = self.network.head.log_proba(logits).double().exp().cpu().numpy()
        truth = target.cpu().numpy()
        return {"validation_auc": metrics.auc(truth, proba)(np.ones(len(truth))), "validation_loss": loss}

    def _answers(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pair = self.network(batch["images"]).float(), batch["target"]
        return cast(tuple[Tensor, Tensor], self.accelerator.gather_for_metrics(pair))

    def _dropped(self, step: int) -> int | None:
        """The encoder that is missing in this step: drawn by seed, epoch and step, the same in every process."""
        if len(self.encoders) < 2 or not self.settings.drop_encoder:
            return None
        draw = np.random.default_rng([self.seed, self.progress.done, step])
        return int(draw.integers(len(self.encoders))) if draw.random() < self.settings.drop_encoder else None


def _augmented(modality: str, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
    return augment(pixels, modality, seeds)
