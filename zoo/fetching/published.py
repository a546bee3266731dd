"""Cards that repos on the Hub carry."""

import contextlib
from functools import partial
from pathlib import Path

from zoo.fetching import hub
from zoo.fetching.hub import text
from zoo.fetching.wire.asking import AstrayError, Watch, aside
from zoo.registry import cards
from zoo.registry.cards import Card


def cards_of(author: str | None = None) -> tuple[list[Card], dict[str, str]]:
    """The cards of the repos on the Hub that carry the tag `sslzoo`, and why others could not be read.

    Raises:
        WeightsError: The Hub cannot be reached.
    """
    repos = hub.models(author)
    answers: dict[str, Card | str] = dict.fromkeys(repos, "it did not answer in time. Ask again later.")
    watch = Watch(len(repos) << 14)
    with contextlib.suppress(AstrayError):  # the time is over: what came is listed
        for repo, answer in aside([partial(_tried, repo) for repo in repos], watch):
            watch.seen()
            answers[repo] = answer
    found = [answer for answer in answers.values() if isinstance(answer, Card)]
    return found, {repo: answer for repo, answer in answers.items() if isinstance(answer, str)}


def _tried(repo: str) -> list[tuple[str, Card | str]]:
    # Whatever a repo holds, and whatever reading it raises, the others are listed.
    try:
        return [(repo, card_of(repo))]
    except (cards.CardError, hub.WeightsError) as error:
        return [(repo, str(error))]
    except Exception as error:
        return [(repo, f"its card cannot be read ({type(error).__name__}). Tell its publisher.")]


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
