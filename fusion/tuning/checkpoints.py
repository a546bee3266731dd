"""The state of a fit on disk: written whole or not at all, read back only by the fit that wrote it."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from fusion.data.writing import write

_FORMAT = 2  # of the state, and of how images are told apart; one of another format is begun anew


class Progress:
    """How far a fit is, and its best weights; accelerate saves it beside network, optimiser and random states.

    Attributes:
        stretch: The one that is at work, from 0.
        in_stretch: Epochs of it that are done.
        done: Epochs in all.
        stale: Epochs since the best validation of this stretch.
        score: The best so far; what is higher is better.
        best: The weights that had it.
        history: A row per epoch.
        moved: Sizes of the parameters that moved, by name.
        seconds: What was spent, earlier processes included.
    """

    def __init__(self) -> None:
        self.stretch, self.in_stretch, self.done, self.stale = 0, 0, 0, 0
        self.score: tuple[float, ...] | None = None
        self.best: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.moved: dict[str, int] = {}
        self.seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Everything."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        vars(self).update(state)

    def enter(self, stretch: int) -> None:
        """A stretch begins, unless it is the one that is at work."""
        if stretch > self.stretch:
            self.stretch, self.in_stretch, self.stale = stretch, 0, 0

    def end_epoch(self) -> None:
        """One more epoch is done."""
        self.in_stretch += 1
        self.done += 1

    def improved(self, figures: Mapping[str, float], monitor: str) -> bool:
        """Whether these validation figures are better than any before; counts the epochs that were not."""
        lower = -figures["validation_loss"]
        score = (lower,) if monitor == "loss" else (figures["validation_auc"], lower)
        better = self.score is None or score > self.score
        self.score, self.stale = (score, 0) if better else (self.score, self.stale + 1)
        return better

    def keep(self, network: nn.Module) -> None:
        """Take the weights as the best."""
        self.best = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


class Checkpoints:
    """One folder, one fit: it holds the state after the last finished epoch."""

    def __init__(self, folder: str | Path | None, identity: dict[str, Any]) -> None:
        self.folder = Path(folder) if folder else None
        self.identity = json.loads(json.dumps({**identity, "format": _FORMAT}))
        if self.folder:
            self._claim(self.folder)

    def latest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest state and what `save` was told with it, if there is one."""
        found = sorted(self.folder.glob("epoch-*")) if self.folder else []
        if not found:
            return None
        return found[-1], json.loads((found[-1] / "place.json").read_text())

    def save(self, accelerator: Accelerator, epoch: int, place: dict[str, Any]) -> None:
        """Write the state; the one before goes only when this one is complete."""
        if self.folder is None:
            return
        part = self.folder / "part"
        if accelerator.is_main_process:
            shutil.rmtree(part, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(part))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (part / "place.json").write_text(json.dumps(place))
            older = sorted(self.folder.glob("epoch-*"))
            os.replace(part, self.folder / f"epoch-{epoch:06d}")
            for path in older:
                shutil.rmtree(path)
        accelerator.wait_for_everyone()

    def _claim(self, folder: Path) -> None:
        record = folder / "fit.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            known = json.loads(record.read_text()) if record.exists() else None
            if known is None or known.get("format") != _FORMAT:
                known = None
                for state in folder.glob("epoch-*"):
                    shutil.rmtree(state, ignore_errors=True)
                write(record, json.dumps(self.identity, indent=2) + "\n")
        except OSError as error:
            raise OSError(
                f"checkpoint must be a folder to write into (got {str(folder)!r}: {error.strerror}). Choose another."
            ) from error
        if known is not None and known != self.identity:
            other = sorted(key for key in self.identity if known.get(key) != self.identity[key])
            raise ValueError(
                f"checkpoint must hold this fit ({folder} holds one with another {', '.join(other)}). "
                "Give another folder, or remove this one."
            )
