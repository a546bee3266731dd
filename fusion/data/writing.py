"""Files written whole or not at all, through to the disc: what this package leaves behind, it leaves by these."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: str | Path, data: bytes | str) -> None:
    """Write the file, in UTF-8 where it is text; folders on the way are made.

    Raises:
        OSError: It cannot be written; what was there before is then still there.
    """
    with replacing(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a file beside `path` to write to, and put it into its place at the end; after an error it is gone."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
