"""The routes of collections: shelves of models, under a slug made of owner, title and an id."""

import hashlib
import json
import re
from typing import TYPE_CHECKING

from tests.hub.answers import Answer, refusal, told
from tests.hub.wire import Request

if TYPE_CHECKING:
    from tests.hub.loopback import LoopbackHub

Shelf = dict[str, object]


def create(hub: "LoopbackHub", request: Request) -> Answer:
    """A new collection; 409 with its slug where the owner has one of that title."""
    asked = json.loads(request.body)
    owner, title = asked["namespace"], asked["title"]
    words = "-".join(re.findall(r"[a-z0-9]+", title.lower()))
    slug = f"{owner}/{words}-{hashlib.sha1(f'{owner}/{title}'.encode()).hexdigest()[:24]}"
    with hub.lock:
        if slug in hub.collections:
            error = "You already have a collection with this title"
            return told({"error": error, "slug": slug}, status=409, headers={"X-Error-Message": error})
        hub.collections[slug] = {
            "slug": slug,
            "title": title,
            "description": asked.get("description"),
            "owner": owner,
            "items": [],
            "lastUpdated": "2026-01-01T00:00:00.000Z",
            "private": bool(asked.get("private")),
            "theme": "blue",
            "upvotes": 0,
        }
    return told(_shown(hub.collections[slug]))


def add(hub: "LoopbackHub", request: Request, slug: str) -> Answer:
    """A model at the end of a collection; 409 where it is in it, 404 where there is no such repo."""
    asked, shelf = json.loads(request.body), _shelf(hub, request, slug)
    item, items = asked["item"], shelf["items"]
    assert isinstance(items, list)
    if item["type"] == "model" and item["id"] not in hub.repos:
        raise refusal(404, "Repository not found", "RepoNotFound")
    with hub.lock:
        if any((known["type"], known["id"]) == (item["type"], item["id"]) for known in items):
            raise refusal(409, "The item is already in the collection")
        note = {"note": {"text": asked["note"], "html": asked["note"]}} if asked.get("note") else {}
        object_id = hashlib.sha1(f"{slug} {item['type']} {item['id']}".encode()).hexdigest()[:24]
        items.append({"_id": object_id, "position": len(items), **item, **note})
    return told(_shown(shelf))


def remove(hub: "LoopbackHub", request: Request, slug: str, object_id: str) -> Answer:
    shelf = _shelf(hub, request, slug)
    items = shelf["items"]
    assert isinstance(items, list)
    left = [item for item in items if item["_id"] != object_id]
    if len(left) == len(items):
        raise refusal(404, "No such item")
    shelf["items"] = [{**item, "position": place} for place, item in enumerate(left)]
    return told({})


def show(hub: "LoopbackHub", request: Request, slug: str) -> Answer:
    """One collection; a private one with a token only."""
    return told(_shown(_shelf(hub, request, slug)))


def listing(hub: "LoopbackHub", request: Request) -> Answer:
    """The collections, by owner and by an item such as "models/owner/name"."""
    found = [shelf for shelf in hub.collections.values() if not shelf["private"] or request.token]
    for owner in request.query.get("owner", []):
        found = [shelf for shelf in found if shelf["owner"] == owner]
    for asked in request.query.get("item", []):
        found = [shelf for shelf in found if asked in _named(shelf)]
    return told(found)


def delete(hub: "LoopbackHub", request: Request, slug: str) -> Answer:
    _shelf(hub, request, slug)
    del hub.collections[slug]
    return told({})


def _shelf(hub: "LoopbackHub", request: Request, slug: str) -> Shelf:
    shelf = hub.collections.get(slug)
    if shelf is None or (shelf["private"] and request.token is None):
        raise refusal(404, "Collection not found")
    return shelf


def _named(shelf: Shelf) -> list[str]:
    items = shelf["items"]
    assert isinstance(items, list)
    return [f"{item['type']}s/{item['id']}" for item in items]


def _shown(shelf: Shelf) -> Shelf:
    # A listing leaves the position out: the client counts there.
    return {**shelf, "position": 0}
