"""Damages files under a seed and reads each: `python -m tests.zoo.images.mutated FOLDER COUNT SEED`; prints JSON.

A process of its own, so that its peak of memory is that of reading, and a crash of a decoder is seen.
"""

import json
import re
import struct
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np

from zoo.images import reading

WINDOW = [-160.0, 240.0]
_ENDS = [
    bytes(4),
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x01",
]


def damaged(data, draw):
    """The file with up to four faults, most of them in its first kilobyte, where sizes and tags stand."""
    data = bytearray(data)
    for _ in range(draw.integers(1, 5)):
        at = int(draw.integers(0, len(data) if draw.random() < 0.4 else min(len(data), 1024)))
        length = int(draw.integers(1, 64))
        match draw.integers(0, 6):
            case 0 | 1:
                data[at : at + 1] = draw.bytes(1)
            case 2:
                end = _ENDS[draw.integers(0, len(_ENDS))]
                data[at : at + len(end)] = end
            case 3:
                del data[at + 1 : at + 1 + length]
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                del data[max(1, at) :]
        data = data or bytearray(1)
    return bytes(data)


def signed(data):
    """A damaged PNG whose chunks say again that they are whole, so that their damage is read."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        body = data[at + 4 : at + 8 + length]
        parts += [data[at : at + 4], body, zlib.crc32(body).to_bytes(4, "big")]
        at += 12 + length
    return b"".join(parts)


def outcome(path, window):
    """What reading does: `read`, `refused`, or the exception that must not be."""
    try:
        pixels = reading.stored(path, window)
        light = reading.shown(path, pixels, window)
    except (ValueError, TypeError, ImportError) as error:
        named = str(path).partition(":")[0].rpartition("/")[2] in str(error)
        return "refused" if named or "images must lie" in str(error) else f"unnamed: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    right = light.dtype == np.float32 and light.ndim == 3 and light.min() >= 0 and light.max() <= 1
    return "read" if right else f"wrong: {light.dtype} {light.shape}"


def main(folder, count, seed):
    """Read `count` damaged copies of the files of a folder, in turn."""
    warnings.simplefilter("ignore")
    draw, counted, slowest = np.random.default_rng(seed), {}, 0.0
    sources = sorted(Path(folder).iterdir())
    for k in range(count):
        source = sources[k % len(sources)]
        place = Path(folder).with_name("damaged") / source.name
        place.parent.mkdir(exist_ok=True)
        data = damaged(source.read_bytes(), draw)
        place.write_bytes(signed(data) if source.suffix == ".png" and draw.random() < 0.8 else data)
        started = time.perf_counter()
        found = outcome(
            f"{place}:0" if ".nii" in source.name else str(place), WINDOW if k % 2 or ".nii" in source.name else None
        )
        slowest = max(slowest, time.perf_counter() - started)
        counted[found] = counted.get(found, 0) + 1
    # The peak of this process alone: getrusage counts that of the one before exec too.
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) >> 10
    print(json.dumps({"found": counted, "peak": peak, "slowest": slowest}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
