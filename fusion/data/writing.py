"""Files written whole or not at all, through to the disc: what this package leaves behind, it leaves by these."""

import os
import tempfile
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
    """Give a new file beside `path` to write to, and put it into its place at the end; after an error it is gone.

    Its name is drawn and its own: no link waits there, and no other writer has it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=f".part{path.suffix}", prefix=f".{path.stem}.", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    """The bits that new files lack; asking for them sets them, so they are set back."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
