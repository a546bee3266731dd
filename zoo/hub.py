"""The only place that reads from the Hugging Face Hub: from a card to a verified file. Imports no torch."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from zoo import cards

_PIECE = 1 << 20


class WeightsError(OSError):
    """Weights cannot be fetched, are not the ones the card names, or do not fit the architecture."""


@dataclass(frozen=True)
class File:
    """A file whose sha256 was computed just now; `verified` names what it was compared with."""

    path: Path
    sha256: str
    verified: str
    fetched: int


def fetch(card: cards.Card, weights: str | Path | None = None) -> File:
    """Find or download the file of `card`, and check its sha256.

    Args:
        card: Names the repo, the pinned revision, the file and, where known, its sha256.
        weights: A local file to use instead.

    Raises:
        WeightsError: The file cannot be had, or its sha256 is not the expected one.
    """
    if weights is not None:
        return verify(Path(weights), None, "own file")
    if card.weights.repo is None:
        return verify(cards.weights_file(card), card.weights.sha256, "card")
    path, fetched = _download(card)
    expected = card.weights.sha256 or _listed_sha256(card, path)
    return verify(path, expected, "card" if card.weights.sha256 else "hub", fetched)


def verify(path: Path, expected: str | None, source: str, fetched: int = 0) -> File:
    """Hash `path` and compare with `expected`, a sha256 that `source` states; None compares with nothing."""
    if not path.is_file():
        raise WeightsError(f"weights must be an existing file (got {str(path)!r}). Check the path.")
    found = sha256(path)
    if expected is not None and found != expected:
        cause = diagnose(path) or "its bytes are not the published ones"
        raise WeightsError(f"{path} must have sha256 {expected} (got {found}): {cause}. Delete it and load again.")
    return File(path, found, source, fetched)


def sha256(path: Path) -> str:
    """The sha256 of a file, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def diagnose(path: Path) -> str | None:
    """Say in words why `path` is not a whole safetensors file; None when it looks like one."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(512)
        length = int.from_bytes(head[:8], "little")
        header = stream.seek(8) and stream.read(min(length, _PIECE * 100))
    if head.lstrip()[:1] == b"<":
        return "it is an HTML page, not weights"
    if head.startswith(b"version https://git-lfs"):
        return "it is a git-lfs pointer, not the file it points to"
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return "it is a pickled checkpoint, not safetensors"
    ends = [int(end) for end in re.findall(rb'"data_offsets":\s*\[\s*\d+\s*,\s*(\d+)\s*\]', header or b"")]
    if size < 8 or size < 8 + length + max(ends, default=0):
        return f"it is truncated at {size} bytes"
    return None


def _download(card: cards.Card) -> tuple[Path, int]:
    repo, revision, file = card.weights.repo, card.weights.revision, card.weights.file
    if repo is None or revision is None:
        raise WeightsError(f"{card.name}: revision must be pinned (got None). Pass weights=PATH to load an own copy.")
    try:
        cached = huggingface_hub.try_to_load_from_cache(repo, file, revision=revision)
        path = Path(huggingface_hub.hf_hub_download(repo, file, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise WeightsError(f"{repo}/{file} at {revision[:8]} cannot be fetched. {_next_step(error)}") from error
    return path, 0 if isinstance(cached, str) else path.stat().st_size


def _next_step(error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return "Accept its terms on its Hub page, then run `hf auth login`."
    if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code in (401, 404):
        return "The repo, revision or file is gone or private: check the card, or run `hf auth login`."
    if isinstance(error, LocalEntryNotFoundError):
        return "It is not cached and the Hub cannot be reached: connect, or unset HF_HUB_OFFLINE, and load again."
    return f"{type(error).__name__}: {error}. Load again."


def _listed_sha256(card: cards.Card, path: Path) -> str:
    # The cache names the blob of an LFS file by the sha256 that the Hub listed at the pinned commit.
    blob = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", blob):
        return blob
    try:
        entries = huggingface_hub.HfApi().get_paths_info(
            str(card.weights.repo), [card.weights.file], revision=card.weights.revision
        )
    except (HfHubHTTPError, OSError) as error:
        raise WeightsError(f"{card.name}: its sha256 cannot be looked up. {_next_step(error)}") from error
    listed = getattr(entries[0], "lfs", None) if entries else None
    if listed is None:
        raise WeightsError(f"{card.name}: a sha256 must be known (the Hub lists none). Pass weights=PATH instead.")
    return str(listed.sha256)
