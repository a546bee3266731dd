"""Cards that repos on the Hub carry."""

from pathlib import Path

from zoo.fetching import hub
from zoo.fetching.hub import text
from zoo.registry import cards
from zoo.registry.cards import Card


def cards_of(author: str | None = None) -> tuple[list[Card], dict[str, str]]:
    """The cards of the repos on the Hub that carry the tag `sslzoo`, and why others could not be read.

    Raises:
        WeightsError: The Hub cannot be reached.
    """
    found: list[Card] = []
    unread: dict[str, str] = {}
    for repo in hub.models(author):
        try:
            found.append(card_of(repo))
        except (cards.CardError, hub.WeightsError) as error:
            unread[repo] = str(error)
    return found, unread


def card_of(repo: str, revision: str | None = None) -> Card:
    """The card that a repo on the Hub carries: its README.md.

    Raises:
        CardError: The repo has no card with a `zoo:` block.
        WeightsError: The Hub cannot be reached, or the repo is gone or private.
    """
    data = text(repo, "README.md", revision or "main")
    if data is None:
        raise cards.CardError(f"{repo} must have a card (got no README.md). Pass card=PATH.")
    try:
        card = cards.parse(data.decode("utf-8", "replace"), repo, Path(f"{repo}/README.md"))
    except cards.CardError as error:
        raise cards.CardError(f"{error} Or pass card=PATH.") from None
    if card.weights.repo is None:
        raise cards.CardError(f"card {repo}/README.md must name the repo of its weights (got None). Pass card=PATH.")
    return card
