"""A file on the loopback Hub, and plain requests for it that follow no redirect."""

import hashlib
import http.client
from email.message import Message
from urllib.parse import urlsplit

REPO, COMMIT = "sslzoo/one", "e" * 40
DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()
FILE = f"/{REPO}/resolve/{COMMIT}/model.safetensors"


def ask(
    url: str, asked: str | None = None, *, method: str = "GET", token: str | None = None, timeout: float = 10
) -> tuple[int, Message, bytes]:
    """(status, headers, body) of one request, no redirect followed; what came before a cut, if it was cut."""
    parts = urlsplit(url)
    headers = {"Range": f"bytes={asked}"} if asked else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request(method, url[url.index(parts.netloc) + len(parts.netloc) :], headers=headers)
        answer = connection.getresponse()
        try:
            body = answer.read()
        except http.client.IncompleteRead as cut:
            body = cut.partial
        return answer.status, answer.headers, body
    finally:
        connection.close()


def location(answer: tuple[int, Message, bytes]) -> str:
    """Where an answer redirects to."""
    return answer[1]["Location"]
