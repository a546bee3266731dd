"""The state of a fit on disk: written whole or not at all, read back only by the fit that wrote it."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fusion.data.writing import write

_FORMAT = 2  # of the state, and of how images are told apart; one of another format is begun anew


class Progress:
    """Progress of a fit, and its best weights; accelerate saves it beside network, optimiser and random states.

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

    def enter(self, stretch: int) -> None:
        """A stretch begins, unless it is the one that is at work."""
        if stretch > self.stretch:
            self.stretch, self.in_stretch, self.stale = stretch, 0, 0

    def end_epoch(self) -> None:
        """One more epoch is done."""
        self.in_stretch += 1
        self.done += 1

    def improved(self, figures: Mapping[str, float], monitor: str) -> bool:
        """Tell whether these validation figures are better than any before; count the epochs that were not."""
        lower = -figures["validation_loss"]
        score = (lower,) if monitor == "loss" else (figures["validation_auc"], lower)
        better = self.score is None or score > self.score
        self.score, self.stale = (score, 0) if better else (self.score, self.stale + 1)
        return better

    def keep(self, network: nn.Module) -> None:
        """Take the weights as the best."""
        self.best = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


class Checkpoints:
    """One folder, one fit: it holds the state after the last finished epoch.

    Of a state accelerate keeps network, optimiser and random numbers, of which only tensors and plain values are read
    back; `progress.json` and `best.safetensors` are ours, and `state.json`, written last, has the sha256 of every file.
    """

    def __init__(self, folder: str | Path | None, identity: dict[str, Any]) -> None:
        self.folder = Path(folder) if folder else None
        self.identity = json.loads(json.dumps({**identity, "format": _FORMAT}))
        if self.folder:
            self._claim(self.folder)

    def latest(self) -> Path | None:
        """The newest state, if there is one."""
        found = sorted(self.folder.glob("epoch-*")) if self.folder else []
        return found[-1] if found else None

    def save(self, accelerator: Accelerator, progress: Progress) -> None:
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
            plain = {key: value for key, value in vars(progress).items() if key != "best"}
            (part / "progress.json").write_text(json.dumps(plain))
            save_file({key: value.contiguous() for key, value in progress.best.items()}, part / "best.safetensors")
            (part / "state.json").write_text(json.dumps(_digests(part), indent=1))
            older = sorted(self.folder.glob("epoch-*"))
            os.replace(part, self.folder / f"epoch-{progress.done:06d}")
            for path in older:
                shutil.rmtree(path)
        accelerator.wait_for_everyone()

    def restore(self, state: Path, progress: Progress) -> None:
        """Check every file of the state, and take up its progress.

        Raises:
            ValueError: A file is not what was written.
        """
        try:
            known = json.loads((state / "state.json").read_text())
            if known != _digests(state):
                raise ValueError("files with another sha256: changed or damaged")
            plain, best = json.loads((state / "progress.json").read_text()), load_file(state / "best.safetensors")
            if plain.keys() != vars(progress).keys() - {"best"}:
                raise ValueError("another progress.json")
        except (OSError, ValueError, AttributeError, SafetensorError) as error:
            raise self.damaged(state, error) from None
        score = plain.pop("score")
        vars(progress).update(plain, score=None if score is None else tuple(score), best=best)

    def damaged(self, state: Path, error: Exception) -> ValueError:
        """What is said of a state that cannot be taken up."""
        why = " ".join(str(error).split())[:200]
        return ValueError(f"checkpoint {state} must be as it was written (got {why}). Remove {state.parent}.")

    def _claim(self, folder: Path) -> None:
        record = folder / "fit.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            known = _record(record)
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


def _record(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise ValueError(
            f"checkpoint must hold the record of its fit (got a damaged {path}). Remove the folder."
        ) from None


def _digests(state: Path) -> dict[str, str]:
    files = [path for path in sorted(state.rglob("*")) if path.is_file() and path.name != "state.json"]
    return {path.relative_to(state).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
