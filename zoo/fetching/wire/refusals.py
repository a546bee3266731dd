"""What the Hub, its client and the way there raise, as one error of ours: what went wrong and what to do about it."""

import contextlib
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

FAILURES = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx2.HTTPError)


class WeightsError(OSError):
    """Weights cannot be fetched, are not the ones the card names, or do not fit the architecture."""


@contextlib.contextmanager
def errors(what: str) -> Iterator[None]:
    """Raise failures as a `WeightsError` about `what` was to be fetched, in one sentence each."""
    try:
        yield
    except WeightsError:
        raise
    except FAILURES as error:
        raise WeightsError(f"{what} cannot be fetched{_why(error)}") from None  # its text may hold an address or token
    except UnicodeEncodeError:
        raise WeightsError("the token must be plain ASCII (got other characters). Run `hf auth login`.") from None
    except OSError as error:
        if error.errno is None:  # not of the disk, and said in full
            raise WeightsError(str(error)) from None
        place = error.filename or constants.HF_HUB_CACHE
        fact = f"the cache {place} must be writable (got: {error.strerror or error})"
        raise WeightsError(f"{fact}. Free space there, or point HF_HOME elsewhere.") from error


@contextlib.contextmanager
def as_a_hub() -> Iterator[None]:
    """Say so where an answer is not formed as the Hub's are."""
    try:
        yield
    except (UnicodeEncodeError, HFValidationError):  # of the token, of the repo's name
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise no_hub() from None


def no_hub() -> WeightsError:
    """The error about what is no Hub."""
    return WeightsError(f"{urlsplit(endpoint()).netloc} does not answer as a Hub does. Check HF_ENDPOINT.")


def endpoint() -> str:
    """The Hub's address, without the name and password that it may hold."""
    parts = urlsplit(constants.ENDPOINT)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def told(error: BaseException) -> str:
    """The kind and text of a failure, without what nobody is to see."""
    return f"{type(error).__name__.strip('_')}: {hidden(str(error))}"


def hidden(text: str) -> str:
    """The text without tokens, passwords and signatures."""
    # A header that cannot be sent is quoted by the error, the token in it.
    # So is the address, which is signed, or holds a password.
    return re.sub(r"(Bearer|Basic) .*|(?<=\?)\S+=\S+|(?<=://)[^/\s]*@", "...", text, flags=re.DOTALL)


def _why(error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return ". Accept its terms on its Hub page, then run `hf auth login`."
    if isinstance(error, RevisionNotFoundError):
        return ". The revision is gone from the repo: look for a newer card, or load an own copy with weights=PATH."
    if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code in (401, 404):
        return ". The repo or file is gone or private: check the card, or run `hf auth login`."
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return ". It is not cached and the Hub cannot be reached: connect, or unset HF_HUB_OFFLINE, and load again."
    return f" ({told(error)}). Load again later."
