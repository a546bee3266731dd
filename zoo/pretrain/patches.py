"""Cut grey 64 x 64 training patches out of the images that `zoo.pretrain.sources` fetched.

Every source is scaled to [0, 1] once per image: MR by its 99.5th percentile, CT by one of two windows, photographs
by their 8 bits. A patch is kept when at least 40 % of its pixels are not background.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = 64
FOREGROUND = 0.4

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

# Axial slices of Colin27 that lie in a validation slab of the sample task, or in the gap beside one, are never
# cut: no choice made on those slabs can profit from pretraining on them.
COLIN_TRAINING = ((20, 27), (39, 51), (63, 75), (87, 99), (111, 123), (135, 147), (159, 166))


def cut(folder: Path, counts: dict[str, int], seed: int) -> Bytes:
    """Draw `counts[source]` patches from each named source; returns (N, 64, 64), shuffled, grey, 0 to 255."""
    unknown = sorted(set(counts) - set(READERS))
    if unknown:
        raise ValueError(f"patches must name known sources (got {unknown}). Choose from {sorted(READERS)}.")
    rng = np.random.default_rng(seed)
    parts = [_draw(READERS[name](folder), count, rng) for name, count in sorted(counts.items())]
    return rng.permutation(np.concatenate(parts))


def _draw(planes: Sequence[Floats], count: int, rng: np.random.Generator) -> Bytes:
    patches: list[Bytes] = []
    for _ in range(200 * count):
        if len(patches) == count:
            break
        patch = _window(planes[int(rng.integers(len(planes)))], rng)
        if (patch > 0.05).mean() >= FOREGROUND:
            patches.append(np.round(patch * 255).astype(np.uint8))
    if len(patches) < count:
        raise ValueError(f"patches must be at most {len(patches)} for this source (got {count}). Lower the count.")
    return np.stack(patches)


def _window(plane: Floats, rng: np.random.Generator) -> Floats:
    top, left = (int(rng.integers(side - SIZE + 1)) for side in plane.shape)
    return plane[top : top + SIZE, left : left + SIZE]


def _colin27(name: str) -> Callable[[Path], list[Floats]]:
    def read(folder: Path) -> list[Floats]:
        import nibabel

        image: Any = nibabel.load(folder / name)
        volume = _scaled(np.asarray(image.dataobj, dtype=np.float32))
        return [np.rot90(volume[:, :, z]) for start, stop in COLIN_TRAINING for z in range(start, stop)]

    return read


def _mr(folder: Path) -> list[Floats]:
    return [plane for name in ("brain1", "brain2") for plane in _planes(_scaled(_nrrd(folder, name)))]


def _ct(low: float, high: float) -> Callable[[Path], list[Floats]]:
    def read(folder: Path) -> list[Floats]:
        volumes = [(_nrrd(folder, name) - low) / (high - low) for name in ("lung1", "lung2")]
        return [plane for volume in volumes for plane in _planes(volume.clip(0, 1))]

    return read


def _histology(folder: Path) -> list[Floats]:
    import tifffile

    slide = Image.fromarray(tifffile.imread(folder / "histology.svs"))
    return [1 - _grey(slide)]  # tissue is dark on a bright background


def _photograph(name: str, background_bright: bool = False) -> Callable[[Path], list[Floats]]:
    def read(folder: Path) -> list[Floats]:
        grey = _grey(Image.open(folder / name))
        return [1 - grey if background_bright else grey]

    return read


def _grey(image: Image.Image) -> Floats:
    return cast(Floats, np.asarray(image.convert("L"), dtype=np.float32) / 255)


def _scaled(volume: Floats) -> Floats:
    return cast(Floats, np.minimum(volume / np.float32(np.percentile(volume[volume > 0], 99.5)), np.float32(1)))


def _nrrd(folder: Path, name: str) -> Floats:
    import nrrd

    return np.asarray(nrrd.read(str(folder / f"{name}.nrrd"))[0], dtype=np.float32)


def _planes(volume: Floats) -> list[Floats]:
    return [np.ascontiguousarray(volume[:, :, z].T) for z in range(volume.shape[2])]


READERS: dict[str, Callable[[Path], list[Floats]]] = {
    "colin27-head": _colin27("colin27-head.nii.gz"),
    "colin27-brain": _colin27("colin27-brain.nii.gz"),
    "mr": _mr,
    "ct-soft": _ct(-160, 240),
    "ct-lung": _ct(-1000, 200),
    "histology": _histology,
    "ihc": _photograph("ihc.png", background_bright=True),
    "fundus": _photograph("fundus.jpg"),
}
