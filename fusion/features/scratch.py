"""Features of many images, layer by layer, on disc: what is held in memory does not grow with their number."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def check_finite(levels: Sequence[npt.NDArray[np.float32]], start: int) -> None:
    """Refuse NaN and infinity in a batch (N, ...) of several layers whose first image has the number `start`."""
    for place, level in enumerate(levels, 1):
        if not np.isfinite(level).all():
            row = start + int(np.flatnonzero(~np.isfinite(level.reshape(len(level), -1)).all(1))[0])
            raise ValueError(
                f"features must be finite (NaN or infinity in block {place}, image {row}). Leave that image out."
            )


class Spool:
    """Rows of several layers, written once and read in chunks, in float64 and centred.

    The files have no name, lie in the system's temporary folder (`TMPDIR`) and take 4 bytes for each number.

    Args:
        widths: Columns of each layer.
        stack: When it closes, the files are gone.
    """

    def __init__(self, widths: Sequence[int], stack: ExitStack) -> None:
        self.widths = list(widths)
        self.rows = 0
        self._files: list[Any] = [stack.enter_context(tempfile.TemporaryFile()) for _ in widths]  # noqa: SIM115
        self._sums = [np.zeros(width) for width in widths]

    def add(self, levels: Sequence[npt.NDArray[np.float32]]) -> None:
        """Append a batch, (N, D_l) for each layer.

        Raises:
            ValueError: A number is not finite.
            OSError: The temporary folder is full.
        """
        check_finite(levels, self.rows)
        for place, (file, level) in enumerate(zip(self._files, levels, strict=True)):
            try:
                file.write(np.ascontiguousarray(level, np.float32).tobytes())
            except OSError as error:
                raise OSError(
                    f"features must fit into {tempfile.gettempdir()} meanwhile ({error.strerror} after {self.rows} "
                    "images). Set TMPDIR to a folder with more room."
                ) from None
            self._sums[place] += level.sum(0, dtype=np.float64)
        self.rows += len(levels[0])

    def take(self, layer: int, start: int, size: int) -> Floats:
        """`size` of the layer's rows from `start`, or what is left of them, less the mean of all."""
        file, width = self._files[layer], self.widths[layer]
        count = min(size, self.rows - start)
        file.seek(4 * start * width)
        found = np.frombuffer(file.read(4 * count * width), np.float32).reshape(count, width)
        return found - self._sums[layer] / self.rows

    def chunks(self, layer: int, size: int) -> Iterator[Floats]:
        """The layer's rows, `size` at a time."""
        return (self.take(layer, start, size) for start in range(0, self.rows, size))

    def rows_of_all(self, size: int) -> Iterator[tuple[Floats, ...]]:
        """Give the same rows of every layer, `size` at a time."""
        return zip(*(self.chunks(layer, size) for layer in range(len(self.widths))), strict=True)
