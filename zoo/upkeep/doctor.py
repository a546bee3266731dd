"""The doctor: what the machine, the settings and the Hub say, line by line, each with what to do about it."""

import difflib
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.filesize import decimal

from zoo.fetching import account, hub
from zoo.networks import cutting
from zoo.registry import cards, terms
from zoo.registry.cards import Card

_ALLOWED = {"ZOO_VERIFY": ("strict",), "ZOO_LICENSE_POLICY": terms.POLICIES}


@dataclass(frozen=True)
class Check:
    """One finding: `warn` where something is missing that some loads need, `bad` where loads fail."""

    subject: str
    state: Literal["ok", "warn", "bad"]
    finding: str
    next_step: str = "Nothing to do."


def checks(timeout: float = 5.0) -> list[Check]:
    """Look at versions, settings, cards, caches, disk, Hub, token and gated access; what is wrong is never raised.

    Args:
        timeout: Seconds to wait for the Hub's first answer.
    """
    registry, found = _registry()
    return [*_versions(), *_variables(), *found, *_caches(), _disk(registry), _quarantine(), *_hub(registry, timeout)]


def _versions() -> Iterator[Check]:
    try:
        declared = importlib.metadata.metadata("sslzoo")
    except importlib.metadata.PackageNotFoundError:
        finding = f"not installed, runs from {cards.PACKAGE.parent}: no versions to compare with"
        yield Check("sslzoo", "warn", finding, f"Run pip install -e {cards.PACKAGE.parent}.")
        return
    yield _python(declared["Requires-Python"] or "")
    needed = [Requirement(line) for line in declared.get_all("Requires-Dist") or []]
    yield _packages([one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})])
    for extra in declared.get_all("Provides-Extra") or []:
        only = [one for one in needed if one.marker and one.marker.evaluate({"extra": extra})]
        yield _extra(extra, [one for one in only if one.name != "sslzoo" and "extra" in str(one.marker)])


def _python(bounds: str) -> Check:
    version = platform.python_version()
    if SpecifierSet(bounds).contains(version, prereleases=True):
        return Check("Python", "ok", version)
    return Check("Python", "bad", f"{version}, not {bounds}", "Make an environment with a newer Python.")


def _packages(needed: list[Requirement]) -> Check:
    if wrong := _lacking(needed):
        step = f"Run pip install {' '.join(_quoted(one) for one in wrong)}."
        return Check("packages", "bad", "; ".join(wrong.values()), step)
    return Check("packages", "ok", f"{len(needed)} at or above their lower bounds")


def _extra(extra: str, needed: list[Requirement]) -> Check:
    if wrong := _lacking(needed):
        old = any(not fact.endswith("missing") for fact in wrong.values())
        step = f"Run pip install {' '.join(_quoted(one) for one in wrong)} where you need it."
        return Check(f"extra {extra}", "warn" if old else "ok", "; ".join(wrong.values()), step)
    return Check(f"extra {extra}", "ok", "complete")


def _lacking(needed: list[Requirement]) -> dict[Requirement, str]:
    return {one: fact for one in needed if (fact := _fault(one))}


def _fault(needed: Requirement) -> str | None:
    try:
        version = importlib.metadata.version(needed.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{needed.name} is missing"
    if needed.specifier.contains(version, prereleases=True):
        return None
    return f"{needed.name} is {version}, not {needed.specifier}"


def _quoted(needed: Requirement) -> str:
    return f"'{needed.name}{needed.specifier}'"


def _variables() -> Iterator[Check]:
    for name, allowed in _ALLOWED.items():
        value = os.environ.get(name)
        if value in (None, "", *allowed):
            yield Check(name, "ok", value or "not set")
        else:
            yield Check(name, "bad", f"is {value!r}, none of {', '.join(allowed)}", f"Run unset {name}, or correct it.")
    known = [*_ALLOWED, "ZOO_CARDS"]
    for name in sorted(name for name in os.environ if name.startswith("ZOO") and name not in known):
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
            yield Check(name, "warn", "is read by nothing", f"Rename it {near[0]}, if that is meant.")


def _registry() -> tuple[list[Card], list[Check]]:
    """The valid cards, and a line for each other one."""
    try:
        readable, unread = cards.read_all()
    except ValueError as error:
        return [], [_failed("cards", str(error))]
    valid, broken = [], [_failed(f"card {name}", reason) for name, reason in unread.items()]
    for card in readable:
        try:
            _size(card)
            valid.append(card)
        except ValueError as error:
            broken.append(_failed(f"card {card.name}", str(error)))
    step = "Rename it in lower-case words with hyphens, if it is meant as one."
    other = [Check("cards", "warn", f"{path} has no card's name", step) for path in cards.unnamed()]
    return valid, [Check("cards", "ok", f"{len(valid)} are valid"), *broken, *other]


def _caches() -> Iterator[Check]:
    for subject, place in {"cache": hub.cache(), "cache of whole files": hub.place()}.items():
        if cause := _unwritable(place):
            step = "Free it, or point HF_HOME at a folder that you may write."
            yield Check(subject, "bad", f"{place} cannot be written ({cause})", step)
        else:
            yield Check(subject, "ok", f"{place}, {_held() if subject == 'cache' else 'listed by hf cache ls'}")


def _held() -> str:
    found = [path for path in hub.cache().rglob("*") if path.is_file()]
    return f"{decimal(sum(path.stat().st_size for path in found))} in {len(found)} files"


def _unwritable(place: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=_existing(place)):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _existing(place: Path) -> Path:
    return next(path for path in (place, *place.absolute().parents) if path.exists())


def _disk(registry: list[Card]) -> Check:
    free = shutil.disk_usage(_existing(hub.cache())).free
    need, largest = max([(_size(card), card.name) for card in registry if card.weights.repo], default=(0, "none"))
    finding = f"{decimal(free)} free; the largest checkpoint, {largest}, takes about {decimal(need)}"
    if free < need:
        return Check("disk", "warn", finding, "Free space, run zoo cache prune, or point HF_HOME at another disk.")
    return Check("disk", "ok", finding)


def _size(card: Card) -> int:
    """In bytes; where the card does not know it, of the architecture's float32 numbers."""
    estimate = _estimate(card.architecture, json.dumps(card.kwargs, sort_keys=True))
    return card.weights.size or estimate


@remembered
def _estimate(architecture: str, kwargs: str) -> int:
    arguments: dict[str, Any] = json.loads(kwargs)
    network = cutting.build(architecture, arguments)
    return sum(value.numel() * value.element_size() for value in network.state_dict().values())


def _quarantine() -> Check:
    spoilt = sorted(hub.cache().glob("**/quarantine/*"))
    if not spoilt:
        return Check("quarantine", "ok", "empty")
    finding = f"{len(spoilt)} files whose bytes were not the right ones: {', '.join(map(str, spoilt[:3]))}"
    return Check("quarantine", "warn", finding, "Check the disk if this goes on; run zoo cache prune --quarantine.")


def _hub(registry: list[Card], timeout: float) -> Iterator[Check]:
    gated = [card for card in registry if card.terms.gated and card.weights.repo]
    cause, later = account.reachable(timeout), "Run zoo doctor again when the endpoint answers."
    yield _endpoint(cause)
    token = _token(gated) if cause is None else Check("token", "warn", "not tried without the Hub", later)
    yield token
    if not gated:
        yield Check("gated access", "ok", "no card is gated")
    elif cause is None and token.state != "bad":
        yield from map(_access, gated)
    else:
        # With a token that no header can hold, an error would quote it.
        step = "Run zoo doctor again when endpoint and token are right."
        yield Check("gated access", "warn", f"not tried, for {len(gated)} cards", step)


def _endpoint(cause: str | None) -> Check:
    if cause is None:
        return Check("endpoint", "ok", f"{account.endpoint()} answers")
    if account.offline():
        step = "Run unset HF_HUB_OFFLINE to fetch; cached encoders load all the same."
        return Check("endpoint", "warn", f"{cause}: {account.endpoint()} is not asked", step)
    step = "Check the network, the proxy and HF_ENDPOINT; cached encoders load all the same."
    return Check("endpoint", "bad", f"{account.endpoint()} cannot be reached ({cause})", step)


def _token(gated: list[Card]) -> Check:
    try:
        name = account.whoami()
    except hub.WeightsError as error:
        return _failed("token", str(error))
    if name is None:
        state: Literal["ok", "warn"] = "warn" if gated else "ok"
        return Check("token", state, "none: enough for public repos", "Run hf auth login for gated or private ones.")
    return Check("token", "ok", f"belongs to {name}")


def _access(card: Card) -> Check:
    subject, repo = f"access to {card.name}", str(card.weights.repo)
    try:
        granted = account.granted(repo)
    except hub.WeightsError as error:
        return _failed(subject, str(error))
    if granted:
        return Check(subject, "ok", f"{repo} is granted")
    page = f"{account.endpoint()}/{repo}"
    return Check(subject, "warn", f"{repo} is not granted", f"Accept its terms at {page}, then run hf auth login.")


def _failed(subject: str, error: str) -> Check:
    # The messages of this package end in the next step, one sentence.
    finding, _, step = error.rpartition(". ")
    return Check(subject, "bad", finding, step) if finding else Check(subject, "bad", step, "Look at that file.")
