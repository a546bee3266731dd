"""A loopback Hub on 127.0.0.1: what the real `huggingface_hub` client (Xet off) speaks, reading and writing.

Small files are served as git files: directly, with their git blob sha1 as ETag. Files ending in .safetensors, .bin,
.pt or .pth are LFS files: `resolve` states their sha256 and redirects to a signed URL on another host name
("localhost", standing for the CDN), which honours byte ranges. Tests take it from the fixture `hub`.

What is there:
    hub.endpoint                        "http://127.0.0.1:PORT", as in HF_ENDPOINT; other processes may use it too
    hub.cdn                             "http://localhost:PORT"; a file is at f"{hub.cdn}/cdn/{sha256}"
    hub.serve(repo, revision, files)    publish {path: bytes} as a commit and as the head of main; returns the commit
                                        id: `revision` itself where it is 40 hex, else a new one, under that branch
    hub.files(repo, revision="main")    {path: bytes} of a commit, e.g. of one that was uploaded
    hub.head(repo)                      commit id of main
    hub.blob(digest)                    bytes of the LFS file with that sha256, or None
    hub.gated, hub.private              sets of repo names; private repos, and all writes, need "Bearer ANYTHING"
    hub.granted                         set of tokens that may read gated repos
    hub.user                            "tester", whom every token belongs to (organisation: "sslzoo")
    asking.ask(url, "0-99", token=...)  (status, headers, body) of a plain request that follows no redirect

What was asked for and sent (since the last reset or forget):
    hub.requests                        [(method, path and query)]
    hub.sent                            bytes of files handed to a socket; headers, JSON and error pages are not counted
    hub.ranges                          [(digest, start, stop)] of the same bytes, one entry per answer; digest is the
                                        sha256 of an LFS file, the git sha1 of another; a cut answer counts as cut
                                        (what a client that hung up never read may have been sent all the same)
    hub.leaks                           [(host, path)] of every request that carried a token to another host
    hub.injected                        [(kind, path)] of every fault used
    hub.errors                          tracebacks of the loopback Hub's own bugs; the fixture fails the test on any
    hub.forget()                        clear these (not the errors); `hub.reset()` clears everything

What goes wrong (see faults.py):
    hub.faults.append(Fault("cut", after=1234))     used once, by the next request it applies to; times=3 for more
    hub.faults = lambda asked: Fault(...) or None   a policy, asked with every request for a file (see faults.Asked)
    hub.chaos(seed, rate, kinds=...); hub.calm()    random faults on CDN requests, the same for the same order
"""

import itertools
import re
import threading

from tests.hub import routes
from tests.hub.answers import Answer
from tests.hub.faults import TRANSIENT, Asked, Chaos, Fault, Policy, take
from tests.hub.store import LFS, Commit, File, Repo
from tests.hub.wire import Request, Tally, start


class LoopbackHub:
    """Two servers on 127.0.0.1 (the second is the third host of `Fault("elsewhere")`) and what they keep."""

    user = "tester"

    def __init__(self) -> None:
        self.lock, self.woken = threading.RLock(), threading.Event()
        self.reset()
        self.server, self._third = start(self), start(self)

    def reset(self) -> None:
        """Forget every repo, collection, fault and count, and end every pause."""
        self.woken.set()
        self.woken, self.tally = threading.Event(), Tally()
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, File] = {}
        self.collections: dict[str, dict[str, object]] = {}
        self.gated: set[str] = set()
        self.granted: set[str] = set()
        self.private: set[str] = set()
        self.expired: set[str] = set()
        self.errors: list[str] = []
        self.faults: Policy = []
        self._chaos: Chaos | None = None
        self._count = itertools.count(1)

    def forget(self) -> None:
        """Start counting anew; repos and faults stay."""
        self.tally = Tally()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def cdn(self) -> str:
        return f"http://localhost:{self.server.server_port}"

    @property
    def requests(self) -> list[tuple[str, str]]:
        return self.tally.requests

    @property
    def sent(self) -> int:
        return self.tally.sent

    @property
    def ranges(self) -> list[tuple[str, int, int]]:
        return self.tally.ranges

    @property
    def leaks(self) -> list[tuple[str, str]]:
        return self.tally.leaks

    @property
    def injected(self) -> list[tuple[str, str]]:
        return self.tally.injected

    def serve(self, repo: str, revision: str, files: dict[str, bytes]) -> str:
        """Publish a commit and make it the head of main; returns its id.

        Args:
            repo: "owner/name"; made where there is none.
            revision: The commit's id (40 hex), or a branch to put a new commit on.
            files: Path to bytes; the bytes are kept, not copied.
        """
        kept = {path: self._keep(File(data, lfs=path.endswith(LFS))) for path, data in files.items()}
        fixed = revision if re.fullmatch(r"[0-9a-f]{40}", revision) else None
        commit = self.commit(repo, kept, text="served", branch="main" if fixed else revision, commit_id=fixed)
        self.repos[repo].branches["main"] = commit.id
        return commit.id

    def commit(
        self, repo: str, files: dict[str, File], *, text: str, branch: str = "main", commit_id: str | None = None
    ) -> Commit:
        """A commit of exactly these files on a branch; the repo is made where there is none."""
        with self.lock:
            known = self.repos.setdefault(repo, Repo(repo))
            return known.add(files, branch, order=next(self._count), commit_id=commit_id, text=text)

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a commit."""
        commit = self.repos[repo].find(revision)
        if commit is None:
            raise KeyError(revision)
        return {path: file.data for path, file in commit.files.items()}

    def head(self, repo: str) -> str:
        """The commit id of main."""
        return self.repos[repo].branches["main"]

    def blob(self, digest: str) -> bytes | None:
        """A file's bytes by its digest."""
        file = self.blobs.get(digest)
        return file.data if file else None

    def chaos(self, seed: int, rate: float, kinds: tuple[str, ...] = TRANSIENT) -> None:
        """From now on, let a share `rate` of the CDN requests go wrong."""
        self._chaos = Chaos(seed, rate, kinds)

    def calm(self) -> None:
        """End the chaos."""
        self._chaos = None

    def answer(self, request: Request) -> Answer:
        """What the servers say to a request."""
        return routes.answer(self, request)

    def draw(self, asked: Asked) -> Fault | None:
        """The fault of a request for a file: a policy's, a queued one, or chaos."""
        if callable(self.faults):
            fault = self.faults(asked)
        else:
            with self.lock:
                fault = take(self.faults, asked.on)
        if fault is None and self._chaos is not None and asked.on == "blob":
            with self.lock:
                fault = self._chaos.draw()
        if fault is not None:
            self.tally.injected.append((fault.kind, asked.path))
        return fault

    def sign(self, file: File) -> str:
        """A path for the CDN that no one has been given before."""
        self._keep(file)
        return f"/cdn/{file.digest}?signature={next(self._count):08x}"

    def elsewhere(self, host: str) -> str:
        """The third host, by a name of this machine."""
        return f"http://{host}:{self._third.server_port}"

    def _keep(self, file: File) -> File:
        return self.blobs.setdefault(file.digest, file)
