"""What `fusion fit` says of the model that it fitted: its leaderboard, and what its encoders do not see."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zoo
from fusion.commands.console import say, show

if TYPE_CHECKING:
    from fusion.estimators.leaderboard import Leaderboard

_LOOKED = 8  # images
_LARGE = 4  # times the side that an encoder sees
_GAP = 12  # between colours of a pixel, of 255: JPEG leaves less in grey pictures
_DOMAIN = "mixed-medical"


def tell(board: "Leaderboard | None", images: Sequence[Any], encoders: "Sequence[zoo.Encoder]") -> None:
    """Print a table, the sentence that it supports, and where the encoders see less than the pictures hold."""
    if board is not None:
        _show(board)
        say(board.sentence)
    if unseen := advice(images, encoders):
        say(unseen, style="yellow")


def advice(images: Sequence[Any], encoders: "Sequence[zoo.Encoder]") -> str | None:
    """A sentence where pictures are coloured, or much larger, and every encoder sees them grey and small; else None.

    Args:
        images: As `FusionClassifier.fit` takes them; the first that are pictures in a file, or arrays, are looked at.
        encoders: Of the model.
    """
    seen = [kind for image in images[:_LOOKED] if (kind := _looks(image))]
    side = max(encoder.card.input.size for encoder in encoders)
    grey = all(encoder.card.input.channels == 1 for encoder in encoders)
    coloured = grey and any(colour for colour, _ in seen)
    largest = max((size for _, size in seen), default=0)
    if not coloured and largest < _LARGE * side:
        return None
    what = " and ".join(["coloured"] * coloured + [f"up to {largest} px"] * (largest > side))
    cards = [card for card in zoo.search() if card.domain == _DOMAIN]
    names = [card.name for card in cards if card.input.channels == 3 and card.input.size > side]
    such = f"; {names[0]} is one for any" if names else ""
    how = f"{'in grey ' if grey else ''}at {side} px"
    return (
        f"These pictures are {what}, and the encoders see them {how}: "
        f"a card of their domain may suit better (zoo list --domain NAME{such})."
    )


def _looks(image: Any) -> tuple[bool, int] | None:
    """Whether a picture is coloured, and its longer side; None of what is no picture, or cannot be read."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        if isinstance(image, np.ndarray):
            return image.ndim == 3 and image.shape[-1] >= 3 and _coloured(image), max(image.shape[:2])
        with Image.open(image) as picture:
            return _coloured(np.asarray(picture.convert("RGB"))), max(picture.size)
    except (OSError, ValueError, AttributeError, UnidentifiedImageError, Image.DecompressionBombError):
        return None


def _coloured(pixels: Any) -> bool:
    wide = pixels[..., :3].astype(float)
    return bool(((wide.max(-1) - wide.min(-1)).mean()) > _GAP * wide.max(initial=1) / 255)


def _show(board: "Leaderboard") -> None:
    from fusion.report.page import Table

    rows = [[row.name, str(row.auc), str(row.ahead) if row.ahead else ""] for row in board.rows]
    caption = f"Out of fold, {board.images} images of {board.groups} patients: 95 % intervals"
    show(Table(caption, ["row", "AUC", "fit is ahead by"], rows))
