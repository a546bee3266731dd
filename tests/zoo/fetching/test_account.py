"""What the Hub says of itself, of a token and of a gated repo; the token is never told."""

import huggingface_hub
import pytest

from zoo.fetching import account
from zoo.fetching.hub import WeightsError

TOKEN = "hf_never_shown"


def test_the_address_is_told_without_its_password(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://me:password@hub.example:8443/mirror")
    assert account.endpoint() == "https://hub.example:8443/mirror"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://huggingface.co")
    assert account.endpoint() == "https://huggingface.co"


def test_a_hub_that_answers_is_reachable(hub):
    assert account.reachable() is None
    assert not account.offline()


def test_no_token_goes_with_the_first_question(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.cdn)  # another host: a token there is a leak
    assert account.reachable() is None
    assert hub.leaks == []
    assert hub.requests


def test_offline_nothing_is_asked(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert account.offline()
    assert account.reachable() == "HF_HUB_OFFLINE is set"
    assert hub.requests == []


@pytest.mark.parametrize("text", ["<html>Sign in</html>", '{"error": "no"}', ""])
def test_what_is_no_hub_is_not_reachable(elsewhere, text):
    elsewhere(200, text)
    assert account.reachable() == "it does not answer as a Hub does"


def test_a_port_that_nobody_listens_to_is_named(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert account.reachable(timeout=1).startswith("ConnectError: ")


def test_whom_a_token_belongs_to(hub, monkeypatch):
    assert account.whoami() is None
    assert hub.requests == [], "without a token nobody is asked"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert account.whoami() == hub.user


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"^the token must be a valid one \(got a refusal\)\. Run `hf auth login`\.$"),
        (500, r"^the token cannot be tried \(HfHubHTTPError\)\. Ask again later\.$"),
    ],
)
def test_a_token_that_is_not_accepted_is_not_shown(elsewhere, monkeypatch, status, message):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    elsewhere(status, lambda path: TOKEN)
    with pytest.raises(WeightsError, match=message):
        account.whoami()


@pytest.mark.parametrize("sign", ["\x0b", "é"])
def test_a_token_that_no_header_can_hold_is_not_shown(hub, monkeypatch, sign):
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}{sign}x")
    with pytest.raises(WeightsError, match=r"^the token cannot be tried \(\w+\)\. Ask again later\.$"):
        account.whoami()


def test_access_to_a_gated_repo(hub, monkeypatch):
    hub.serve("lab/gated", "a" * 40, {"README.md": b""})
    assert account.granted("lab/gated")
    hub.gated.add("lab/gated")
    assert not account.granted("lab/gated")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert not account.granted("lab/gated")
    hub.granted.add(TOKEN)
    assert account.granted("lab/gated")


def test_access_to_a_repo_that_is_gone_is_an_error(hub):
    with pytest.raises(WeightsError, match=r"^lab/gone at main cannot be fetched\. The repo or file is gone"):
        account.granted("lab/gone")
