"""A loopback Hub: the read side of the protocol that the real `huggingface_hub` client speaks, on 127.0.0.1.

Files are served as the Hub serves LFS files: `resolve` answers with the digest and redirects to another host name
("localhost", standing for the CDN), which honours byte ranges.
"""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


class LoopbackHub:
    """`serve(repo, revision, {path: bytes})` publishes a commit; `requests` lists what was asked for."""

    def __init__(self) -> None:
        self.commits: dict[tuple[str, str], dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def serve(self, repo: str, revision: str, files: dict[str, bytes]) -> None:
        self.commits[repo, revision] = files

    def reset(self) -> None:
        self.commits.clear()
        self.gated.clear()
        self.requests.clear()

    def blob(self, digest: str) -> bytes | None:
        files = (data for commit in self.commits.values() for data in commit.values())
        return next((data for data in files if _sha256(data) == digest), None)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._route(body=False)

        def do_GET(self) -> None:
            self._route(body=True)

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            hub.requests.append(("POST", self.path))
            match = re.fullmatch(r"/api/models/(.+/.+)/paths-info/([^/]+)", self.path)
            files = hub.commits.get((match[1], match[2]), {}) if match else {}
            paths = [path for path in parse_qs(asked.decode())["paths"] if path in files]
            self._json([self._entry(path, files[path]) for path in paths])

        def log_message(self, *_: object) -> None:
            pass

        def _route(self, *, body: bool) -> None:
            hub.requests.append((self.command, self.path))
            if blob := re.fullmatch(r"/cdn/([0-9a-f]{64})", self.path):
                self._blob(blob[1], body=body)
            elif file := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path):
                self._resolve(*file.groups())
            else:
                self._fail(404, "RepoNotFound")

        def _resolve(self, repo: str, revision: str, path: str) -> None:
            if repo in hub.gated:
                return self._fail(403, "GatedRepo")
            if repo not in {known for known, _ in hub.commits}:
                return self._fail(404, "RepoNotFound")
            if (repo, revision) not in hub.commits:
                return self._fail(404, "RevisionNotFound")
            data = hub.commits[repo, revision].get(path)
            if data is None:
                return self._fail(404, "EntryNotFound", {"X-Repo-Commit": revision})
            digest = _sha256(data)
            port = hub.server.server_port
            return self._send(
                302,
                {
                    "X-Repo-Commit": revision,
                    "X-Linked-Etag": f'"{digest}"',
                    "X-Linked-Size": str(len(data)),
                    "ETag": f'"{digest}"',
                    "Location": f"http://localhost:{port}/cdn/{digest}",
                },
            )

        def _blob(self, digest: str, *, body: bool) -> None:
            data = hub.blob(digest)
            if data is None:
                return self._fail(404, "EntryNotFound")
            status, headers = 200, {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
            if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start, end = int(asked[1]), int(asked[2] or len(data) - 1)
                status, headers["Content-Range"] = 206, f"bytes {start}-{end}/{len(data)}"
                data = data[start : end + 1]
            return self._send(status, headers, data, body=body)

        def _entry(self, path: str, data: bytes) -> dict[str, object]:
            lfs = {"oid": _sha256(data), "size": len(data), "pointerSize": 130}
            return {"type": "file", "path": path, "size": len(data), "oid": "0" * 40, "lfs": lfs}

        def _json(self, value: object) -> None:
            self._send(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

        def _fail(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
            self._send(status, {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})})

        def _send(self, status: int, headers: dict[str, str], data: bytes = b"", *, body: bool = True) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body and self.command != "HEAD":
                self.wfile.write(data)

    return Handler
