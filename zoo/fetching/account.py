"""What `zoo doctor` asks the Hub: is it there, whom does the token belong to, what may it read."""

import contextlib

import httpx2
import huggingface_hub
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

from zoo.fetching.hub import WeightsError, value
from zoo.fetching.wire.refusals import FAILURES, as_a_hub, errors, told
from zoo.fetching.wire.refusals import endpoint as endpoint


def offline() -> bool:
    """Tell whether `HF_HUB_OFFLINE` forbids to ask the Hub."""
    return huggingface_hub.is_offline_mode()


def reachable(timeout: float = 5.0) -> str | None:
    """Say why the Hub cannot be reached; None where it can. No token is sent."""
    try:
        found = value("/api/models?limit=1", count=1, seconds=timeout, token=False)
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except WeightsError:
        found = None
    except httpx2.TransportError as error:
        return told(error)
    except httpx2.HTTPError:
        found = None
    return None if isinstance(found, list) else "it does not answer as a Hub does"


def whoami() -> str | None:
    """Return whom the token belongs to; None where there is none. A `WeightsError` says why the Hub does not tell."""
    try:
        with as_a_hub():
            return str(value("/api/whoami-v2", count=1)["name"]) if huggingface_hub.get_token() else None
    except (*FAILURES, UnicodeEncodeError) as error:
        if getattr(getattr(error, "response", None), "status_code", None) == 401:
            raise WeightsError("the token must be a valid one (got a refusal). Run `hf auth login`.") from None
        # Not the error's text, which may quote the header that holds the token.
        raise WeightsError(f"the token cannot be tried ({type(error).__name__}). Ask again later.") from None


def granted(repo: str) -> bool:
    """Tell whether this token, or none, may read a repo that asks for its terms to be accepted."""
    with errors(f"{repo} at main"), contextlib.suppress(GatedRepoError):
        value(f"/api/models/{repo}/auth-check")
        return True
    return False
