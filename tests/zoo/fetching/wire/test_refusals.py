"""What is raised below becomes one error of ours, in words, with nothing in it that nobody is to see."""

import errno

import httpx2
import huggingface_hub.constants
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from zoo.fetching.wire.refusals import WeightsError, endpoint, errors, hidden, told


def fail(error):
    with errors("lab/x"):
        if callable(error):
            error("ascii")
        raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (httpx2.ReadTimeout("slow"), r"^lab/x cannot be fetched \(ReadTimeout: slow\)\. Load again later\.$"),
        (httpx2.TooManyRedirects("20"), r"^lab/x cannot be fetched \(TooManyRedirects: 20\)\. Load again later\.$"),
        (HFValidationError("odd name"), r"\(HFValidationError: odd name\)"),
        (OfflineModeIsEnabled("x"), r"unset HF_HUB_OFFLINE, and load again\.$"),
        (LocalEntryNotFoundError("x"), r"unset HF_HUB_OFFLINE, and load again\.$"),
        (OSError(errno.ENOSPC, "No space left"), r"must be writable \(got: No space left\)\. Free space there"),
        (OSError("said in full"), r"^said in full$"),
        ("é".encode, r"^the token must be plain ASCII"),
        (WeightsError("as it is"), r"^as it is$"),
    ],
)
def test_failures_in_words(error, message):
    with pytest.raises(WeightsError, match=message) as caught:
        fail(error)
    if not isinstance(error, OSError):
        assert caught.value.__cause__ is None, "its text may hold a token"


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), errors("lab/x"):
        _ = 1 / 0


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Illegal header value b'Bearer hf_x\x0b'", "Illegal header value b'..."),
        ("got Basic bWU6cGFzcw==", "got ..."),
        ("url https://me:password@hub.example/a", "url https://...hub.example/a"),
        ("url https://me:p@ss@hub.example/a", "url https://...hub.example/a"),
        ("url https://hub.example/a?X-Signature=abc&more=1", "url https://hub.example/a?..."),
        ("mail me@hub.example", "mail me@hub.example"),
    ],
)
def test_what_nobody_is_to_see_is_hidden(text, left):
    assert hidden(text) == left
    assert told(ValueError(text)) == f"ValueError: {left}"


def test_the_address_is_told_without_its_password(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://me:password@hub.example:8443/mirror/")
    assert endpoint() == "https://hub.example:8443/mirror"
