"""By which window the commands read images: that of `--window`, else that of the encoders."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import zoo

Window = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="Window of all encoders, in the modality's unit: NIfTI states none."),
]


def windowed(
    names: list[str], window: tuple[float, float] | None, *, several: bool = False
) -> tuple[Sequence[Any], tuple[float, float] | None]:
    """The encoders, names where no window is given, and the window by which images are read.

    Where names may have `several` depths, loaded encoders are `fusion.Taps`.
    """
    import zoo
    from fusion.features import taps

    if window is None:
        return names, _common([_view(name) for name in names])
    load = taps.load if several else zoo.load
    return [load(name, window=list(window)) for name in names], window


def of(encoders: "Sequence[zoo.Encoder]") -> tuple[float, float] | None:
    """The window by which images are read for encoders; None where one of them has none."""
    return _common([encoder.card.input.window for encoder in encoders])


def _view(name: str) -> Any:
    """The window of the card; None where there is no such card here, as of a repo on the Hub."""
    import zoo
    from fusion.features import taps

    try:
        return zoo.card(taps.split(name)[0]).input.window
    except ValueError:  # whoever loads it says what is wrong
        return None


def _common(windows: list[Any]) -> tuple[float, float] | None:
    """Any of the windows, where all encoders have one: it decides whether a volume can be read, not how."""
    return None if None in windows else windows[0]
