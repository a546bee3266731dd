"""The routes that read: files with their faults, listings, model infos, refs and commits."""

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.hub.answers import Answer, content, refusal, spoil, told
from tests.hub.faults import Asked
from tests.hub.store import Commit, File, Repo, card_data, tags
from tests.hub.wire import Request

if TYPE_CHECKING:
    from tests.hub.loopback import LoopbackHub


def blob(hub: "LoopbackHub", request: Request, digest: str) -> Answer:
    """The CDN: a file by its digest, under a signed URL or without a signature."""
    file, signature = hub.blobs.get(digest), request.query.get("signature", [""])[0]
    if file is None:
        raise refusal(404, "No such blob")
    if signature in hub.expired:
        raise refusal(403, "Request has expired")
    answer = content(file, {}, request.headers.get("Range"))
    fault = hub.draw(Asked("blob", request.method, request.target, digest, request.headers.get("Range")))
    if fault is None:
        return answer
    if fault.kind == "expired" and signature:
        hub.expired.add(signature)
    return spoil(answer, fault, file, hub.elsewhere(fault.host) + request.target)


def resolve(hub: "LoopbackHub", request: Request, name: str, revision: str, path: str) -> Answer:
    """The Hub's door to a file: its bytes, or for an LFS file a redirect to the CDN."""
    fault = hub.draw(Asked("resolve", request.method, request.target, None, request.headers.get("Range")))
    if fault is not None and fault.kind in ("gone", "gated", "status", "html", "loop", "nowhere"):
        return spoil(Answer(), fault, File(b"", lfs=False), "")
    _check_terms(hub, request, name)
    commit = _commit(_repo(hub, request, name), revision)
    file, headers = commit.files.get(path), {"X-Repo-Commit": commit.id}
    if file is None:
        raise refusal(404, "Entry not found", "EntryNotFound", headers)
    signed = hub.sign(file)
    answer = _redirect(file, headers, hub.cdn + signed) if file.lfs else None
    answer = answer or content(file, headers, request.headers.get("Range"))
    return spoil(answer, fault, file, hub.elsewhere(fault.host) + signed) if fault else answer


def _redirect(file: File, headers: dict[str, str], location: str) -> Answer:
    size, etag = str(len(file.data)), f'"{file.digest}"'
    return Answer(302, {**headers, "ETag": etag, "X-Linked-Etag": etag, "X-Linked-Size": size, "Location": location})


def model(hub: "LoopbackHub", request: Request, name: str, revision: str = "main") -> Answer:
    """Model info; `blobs` adds sizes and digests, `expand` asks for single properties."""
    repo = _repo(hub, request, name)
    info = _info(hub, repo, _commit(repo, revision), blobs="blobs" in request.query)
    return told(_chosen(info, request.query.get("expand", [])))


def models(hub: "LoopbackHub", request: Request) -> Answer:
    """The list of models, by author, tags and a part of the name; private ones with a token only."""
    query = request.query
    seen = [repo for repo in hub.repos.values() if _visible(hub, request, repo.name)]
    found = [_info(hub, repo, _commit(repo, "main")) for repo in seen]
    for author in query.get("author", []):
        found = [info for info in found if info["author"] == author]
    for tag in query.get("filter", []) + query.get("pipeline_tag", []):
        found = [info for info in found if tag in info["tags"]]
    for part in query.get("search", []):
        found = [info for info in found if part.lower() in str(info["id"]).lower()]
    found.sort(key=lambda info: str(info.get(query.get("sort", ["createdAt"])[0], "")), reverse=True)
    left_out = {"siblings": "full", "sha": "full", "lastModified": "full", "gated": "full", "cardData": "cardData"}
    hidden = () if "expand" in query else [key for key, flag in left_out.items() if flag not in query]
    listed = [{key: value for key, value in info.items() if key not in hidden} for info in found]
    return told([_chosen(info, query.get("expand", [])) for info in listed[: int(query.get("limit", [1000])[0])]])


def tree(hub: "LoopbackHub", request: Request, name: str, revision: str, folder: str = "") -> Answer:
    """Files and folders, all of them where `recursive` is asked."""
    commit = _commit(_repo(hub, request, name), revision)
    prefix = f"{folder}/" if folder else ""
    below = [path for path in _paths(commit) if path.startswith(prefix)]
    if folder and not below:
        raise refusal(404, f"{folder} does not exist", "EntryNotFound", {"X-Repo-Commit": commit.id})
    deep = request.query.get("recursive", ["false"])[0].lower() == "true"
    return told([_entry(commit, path) for path in below if deep or "/" not in path.removeprefix(prefix)])


def paths_info(hub: "LoopbackHub", request: Request, name: str, revision: str) -> Answer:
    """The entries of those paths, asked for as a form, that exist."""
    commit = _commit(_repo(hub, request, name), revision)
    known = _paths(commit)
    asked = [path.rstrip("/") for path in parse_qs(request.body.decode()).get("paths", [])]
    return told([_entry(commit, path) for path in asked if path in known])


def refs(hub: "LoopbackHub", request: Request, name: str) -> Answer:
    repo = _repo(hub, request, name)
    kinds = {"branches": ("heads", repo.branches), "tags": ("tags", repo.tags)}
    listed = {
        kind: [{"name": ref, "ref": f"refs/{where}/{ref}", "targetCommit": commit} for ref, commit in known.items()]
        for kind, (where, known) in kinds.items()
    }
    return told({**listed, "converts": [], "pullRequests": []})


def commits(hub: "LoopbackHub", request: Request, name: str, revision: str) -> Answer:
    """The history, newest first, under full ids."""
    repo = _repo(hub, request, name)
    return told(
        [
            {"id": c.id, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": hub.user}]}
            for c in repo.history(_commit(repo, revision))
        ]
    )


def auth_check(hub: "LoopbackHub", request: Request, name: str) -> Answer:
    _check_terms(hub, request, name)
    _repo(hub, request, name)
    return told({})


def _visible(hub: "LoopbackHub", request: Request, name: str) -> bool:
    return name not in hub.private or request.token is not None


def _repo(hub: "LoopbackHub", request: Request, name: str) -> Repo:
    if not _visible(hub, request, name):
        raise refusal(401, "Invalid username or password.", "RepoNotFound")
    if name not in hub.repos:
        raise refusal(404, "Repository not found", "RepoNotFound")
    return hub.repos[name]


def _commit(repo: Repo, revision: str) -> Commit:
    commit = repo.find(revision)
    if commit is None:
        raise refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return commit


def _check_terms(hub: "LoopbackHub", request: Request, name: str) -> None:
    if name in hub.gated and request.token not in hub.granted:
        raise refusal(403, f"Access to model {name} is restricted.", "GatedRepo")


def _paths(commit: Commit) -> dict[str, bool]:
    """Every path in order; True for a file."""
    folders = {path[:place]: False for path in commit.files for place, sign in enumerate(path) if sign == "/"}
    return dict(sorted({**folders, **dict.fromkeys(commit.files, True)}.items()))


def _entry(commit: Commit, path: str) -> dict[str, object]:
    file = commit.files.get(path)
    if file is None:
        return {"type": "directory", "path": path, "size": 0, "oid": commit.id}
    lfs = {"oid": file.digest, "size": len(file.data), "pointerSize": file.pointer_size} if file.lfs else None
    return {"type": "file", "path": path, "size": len(file.data), "oid": file.oid, **({"lfs": lfs} if lfs else {})}


def _sibling(path: str, file: File, *, blobs: bool) -> dict[str, object]:
    if not blobs:
        return {"rfilename": path}
    lfs = {"sha256": file.digest, "size": len(file.data), "pointerSize": file.pointer_size}
    found = {"rfilename": path, "size": len(file.data), "blobId": file.oid}
    return {**found, "lfs": lfs} if file.lfs else found


def _info(hub: "LoopbackHub", repo: Repo, commit: Commit, *, blobs: bool = False) -> dict[str, Any]:
    card, first = card_data(commit), list(repo.history(commit))[-1]
    return {
        "_id": commit.id[:24],
        "id": repo.name,
        "modelId": repo.name,
        "author": repo.name.split("/")[0],
        "sha": commit.id,
        "createdAt": first.date,
        "lastModified": commit.date,
        "private": repo.name in hub.private,
        "gated": "manual" if repo.name in hub.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags(commit),
        "pipeline_tag": card.get("pipeline_tag"),
        "library_name": card.get("library_name"),
        "cardData": card,
        "siblings": [_sibling(path, file, blobs=blobs) for path, file in sorted(commit.files.items())],
    }


def _chosen(info: dict[str, Any], asked: list[str]) -> dict[str, Any]:
    return {key: info[key] for key in ("_id", "id", *asked) if key in info} if asked else info
