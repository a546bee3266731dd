"""Which function answers which request; whatever is not listed is not found."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.hub import reading, shelves, writing
from tests.hub.answers import Answer, RefusedError, refusal
from tests.hub.wire import Request

if TYPE_CHECKING:
    from tests.hub.loopback import LoopbackHub

_R = r"([^/]+/[^/]+)"
_M = rf"/api/models/{_R}"
_C = r"/api/collections/([^/]+/[^/]+)"

OPEN: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET|HEAD", r"/cdn/([0-9a-f]+)", reading.blob),
    ("PUT", r"/lfs/([0-9a-f]{64})", writing.put),
    ("GET|HEAD", rf"/{_R}/resolve/([^/]+)/(.+)", reading.resolve),
    ("GET", r"/api/models", reading.models),
    ("GET", rf"{_M}", reading.model),
    ("GET", rf"{_M}/revision/([^/]+)", reading.model),
    ("GET", rf"{_M}/tree/([^/]+)", reading.tree),
    ("GET", rf"{_M}/tree/([^/]+)/(.+)", reading.tree),
    ("POST", rf"{_M}/paths-info/([^/]+)", reading.paths_info),
    ("GET", rf"{_M}/refs", reading.refs),
    ("GET", rf"{_M}/commits/([^/]+)", reading.commits),
    ("GET", rf"{_M}/auth-check", reading.auth_check),
    ("POST", r"/api/validate-yaml", writing.validate_yaml),
    ("GET", r"/api/collections", shelves.listing),
    ("GET", _C, shelves.show),
]
WITH_TOKEN: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", r"/api/whoami-v2", writing.whoami),
    ("POST", r"/api/repos/create", writing.create),
    ("DELETE", r"/api/repos/delete", writing.delete),
    ("PUT", rf"{_M}/settings", writing.settings),
    ("POST", rf"{_M}/preupload/([^/]+)", writing.preupload),
    ("POST", rf"/{_R}\.git/info/lfs/objects/batch", writing.batch),
    ("POST", rf"{_M}/commit/([^/]+)", writing.commit),
    ("POST|DELETE", rf"{_M}/branch/([^/]+)", writing.branch),
    ("POST|DELETE", rf"{_M}/tag/([^/]+)", writing.tag),
    ("POST", r"/api/collections", shelves.create),
    ("POST", rf"{_C}/items", shelves.add),
    ("DELETE", rf"{_C}/items/([^/]+)", shelves.remove),
    ("DELETE", _C, shelves.delete),
]


def answer(hub: "LoopbackHub", request: Request) -> Answer:
    """What the Hub says to a request."""
    try:
        return _routed(hub, request)
    except RefusedError as refused:
        return refused.answer


def _routed(hub: "LoopbackHub", request: Request) -> Answer:
    for methods, pattern, function in OPEN + WITH_TOKEN:
        match = re.fullmatch(pattern, request.path)
        if match is None or not re.fullmatch(methods, request.method):
            continue
        if (methods, pattern, function) in WITH_TOKEN and request.token is None:
            raise refusal(401, "Invalid username or password.")
        return function(hub, request, *map(unquote, match.groups()))
    raise refusal(404, "Not found", "RepoNotFound")
