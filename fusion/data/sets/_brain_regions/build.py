"""Build the sample task from the files that `zoo.pretrain.sources` fetched.

    python -m zoo.pretrain.sources FOLDER
    python fusion/data/sets/_brain_regions/build.py FOLDER fusion/data/sets/_brain_regions

Axial T1 slices of two brains are kept whole, with a table of the 64 x 64 patches to cut from them: a patch is taken
when at least 160 pixels of its central 20 x 20 window carry an AAL label and one region holds 75 % of them. Colin27 is
cut into slabs along the body axis, alternately for training and validation, with a gap of 3 mm between them.
"""

import sys
from pathlib import Path

import nibabel
import numpy as np

SIZE, CENTRE = 64, 20
TRAINING = ((20, 27), (39, 51), (63, 75), (87, 99), (111, 123), (135, 147), (159, 166))
VALIDATION = ((30, 36), (54, 60), (78, 84), (102, 108), (126, 132), (150, 156))
TEST = tuple((start, start + 12) for start in range(20, 174, 12))
REGIONS = {
    "frontal": ("Frontal", "Precentral", "Supp_Motor", "Rectus", "Olfactory", "Rolandic"),
    "temporal": ("Temporal", "Heschl", "Fusiform"),
    "parietal": ("Parietal", "Postcentral", "SupraMarginal", "Angular", "Precuneus", "Paracentral"),
    "occipital": ("Occipital", "Calcarine", "Cuneus", "Lingual"),
    "cerebellum": ("Cerebelum", "Vermis"),  # spelt so in the atlas
    "deep": ("",),  # all others
}
NAMES = list(REGIONS)


def main(sources: Path, output: Path) -> None:
    atlas = nibabel.load(sources / "aal.nii.gz")
    regions = _regions(np.asarray(atlas.dataobj), sources / "aal.txt")
    brain, head = (_volume(sources / f"colin27-{kind}.nii.gz") for kind in ("brain", "head"))
    _save(
        output / "colin27.npz", regions, {"train": TRAINING, "validation": VALIDATION}, (3, 7), brain=brain, head=head
    )
    mni = nibabel.load(sources / "mni152.nii.gz")
    carried = _carry(regions, atlas.affine, mni.shape, mni.affine)
    _save(output / "mni152.npz", carried, {"test": TEST}, (6, 9), brain=_volume(sources / "mni152.nii.gz"))


def _regions(atlas: np.ndarray, table: Path) -> np.ndarray:
    lookup = np.zeros(atlas.max() + 1, dtype=np.uint8)  # 0: no label
    for line in filter(str.strip, table.read_text().splitlines()):
        number, name = line.split()[:2]
        lookup[int(number)] = 1 + next(i for i, starts in enumerate(REGIONS.values()) if name.startswith(starts))
    return lookup[atlas]


def _volume(path: Path) -> np.ndarray:
    volume = np.asarray(nibabel.load(path).dataobj, dtype=np.float32)
    return np.round((volume / np.percentile(volume[volume > 0], 99)).clip(0, 1) * 255).astype(np.uint8)


def _carry(regions: np.ndarray, source: np.ndarray, shape: tuple[int, ...], target: np.ndarray) -> np.ndarray:
    """Nearest-neighbour resampling by the two affines; good to a few mm, so labels near borders are approximate."""
    voxels = np.indices(shape).reshape(3, -1)
    moved = np.linalg.inv(source) @ target @ np.vstack([voxels, np.ones(voxels.shape[1])])
    index = np.round(moved[:3]).astype(int)
    inside = ((index >= 0) & (index < np.array(regions.shape)[:, None])).all(0)
    carried = np.zeros(voxels.shape[1], dtype=np.uint8)
    carried[inside] = regions[tuple(index[:, inside])]
    return carried.reshape(shape)


def _save(path: Path, regions: np.ndarray, parts: dict, steps: tuple[int, int], **volumes: np.ndarray) -> None:
    step, stride = steps
    planes = list(range(20, regions.shape[2] - 15, step))
    rows = []
    for index, z in enumerate(planes):
        part, slab = _place(parts, z)
        for top, left, region in _patches(_axial(regions, z), stride) if part else ():
            rows.append((part, slab, index, top, left, NAMES[region - 1]))
    part, slab, index, top, left, region = zip(*rows, strict=True)
    stacks = {name: np.stack([_axial(volume, z) for z in planes]) for name, volume in volumes.items()}
    np.savez_compressed(
        path, part=part, slab=slab, plane=np.uint16(index), top=np.uint16(top), left=np.uint16(left), region=region,
        z=np.uint16(planes), **stacks,
    )  # fmt: skip
    print(path, path.stat().st_size, {p: part.count(p) for p in set(part)}, {r: region.count(r) for r in NAMES})


def _place(parts: dict, z: int) -> tuple[str | None, str]:
    for part, slabs in parts.items():
        for start, stop in slabs:
            if start <= z < stop:
                return part, f"z{start:03d}"
    return None, ""


def _axial(volume: np.ndarray, z: int) -> np.ndarray:
    return np.rot90(volume[:, :, z])  # anterior up


def _patches(labels: np.ndarray, stride: int):
    margin = (SIZE - CENTRE) // 2
    for top in range(0, labels.shape[0] - SIZE + 1, stride):
        for left in range(0, labels.shape[1] - SIZE + 1, stride):
            window = labels[top + margin :, left + margin :][:CENTRE, :CENTRE]
            counts = np.bincount(window[window > 0], minlength=len(NAMES) + 1)
            if counts.sum() >= 160 and counts.max() >= 0.75 * counts.sum():
                yield top, left, int(counts.argmax())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
