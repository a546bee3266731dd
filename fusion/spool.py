"""Features of many images, layer by layer, on disc: what is held in memory does not grow with their number."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Spool:
    """Rows of several layers, written once and read in chunks, in float64 and centred.

    The files have no name and take 4 bytes for each number.

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
        """
        for place, (file, level) in enumerate(zip(self._files, levels, strict=True)):
            if not np.isfinite(level).all():
                row = self.rows + int(np.flatnonzero(~np.isfinite(level).all(1))[0])
                raise ValueError(f"features must be finite (NaN or infinity in layer {place + 1}, image {row}).")
            file.write(np.ascontiguousarray(level, np.float32).tobytes())
            self._sums[place] += level.sum(0, dtype=np.float64)
        self.rows += len(levels[0])

    def chunks(self, layer: int, size: int) -> Iterator[Floats]:
        """The layer's rows, `size` at a time, less their mean."""
        file, width = self._files[layer], self.widths[layer]
        mean = self._sums[layer] / self.rows
        for start in range(0, self.rows, size):
            count = min(size, self.rows - start)
            file.seek(4 * start * width)  # the same file may be read in two places by turns
            yield np.frombuffer(file.read(4 * count * width), np.float32).reshape(count, width) - mean

    def rows_of_all(self, size: int) -> Iterator[tuple[Floats, ...]]:
        """The same rows of every layer, `size` at a time."""
        return zip(*(self.chunks(layer, size) for layer in range(len(self.widths))), strict=True)
