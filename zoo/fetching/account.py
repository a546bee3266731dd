"""What `zoo doctor` asks the Hub: is it there, whom does the token belong to, what may it read."""

import contextlib
from urllib.parse import urlsplit

import httpx2
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

from zoo.fetching.hub import FAILURES, Remote, WeightsError, errors


def endpoint() -> str:
    """The Hub's address, without the name and password that it may hold."""
    parts = urlsplit(constants.ENDPOINT)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def offline() -> bool:
    """Tell whether `HF_HUB_OFFLINE` forbids to ask the Hub."""
    return huggingface_hub.is_offline_mode()


def reachable(timeout: float = 5.0) -> str | None:
    """Say why the Hub cannot be reached; None where it can. No token is sent."""
    try:
        found = huggingface_hub.get_session().get(f"{constants.ENDPOINT}/api/models?limit=1", timeout=timeout).json()
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except ValueError:
        found = None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"{type(error).__name__}: {error}"
    return None if isinstance(found, list) else "it does not answer as a Hub does"


def whoami() -> str | None:
    """Return whom the token belongs to; None where there is none. A `WeightsError` says why the Hub does not tell."""
    try:
        return str(huggingface_hub.HfApi().whoami()["name"]) if huggingface_hub.get_token() else None
    except (*FAILURES, UnicodeEncodeError) as error:
        if getattr(getattr(error, "response", None), "status_code", None) == 401:
            raise WeightsError("the token must be a valid one (got a refusal). Run `hf auth login`.") from None
        # Not the error's text, which may quote the header that holds the token.
        raise WeightsError(f"the token cannot be tried ({type(error).__name__}). Ask again later.") from None


def granted(repo: str) -> bool:
    """Tell whether this token, or none, may read a repo that asks for its terms to be accepted."""
    with errors(Remote(repo, "main", "")), contextlib.suppress(GatedRepoError):
        huggingface_hub.HfApi().auth_check(repo)
        return True
    return False
