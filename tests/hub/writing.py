"""The routes that write: repos, uploads, commits, branches and tags. Each needs a token."""

import base64
import hashlib
import json
from typing import TYPE_CHECKING

from tests.hub.answers import Answer, refusal, told
from tests.hub.store import LFS, Commit, File, Repo, front_matter
from tests.hub.wire import Request

if TYPE_CHECKING:
    from tests.hub.loopback import LoopbackHub

_REGULAR = 10 * 1024 * 1024  # larger ones go through LFS, whatever they are
_ATTRIBUTES = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LFS).encode()


def whoami(hub: "LoopbackHub", request: Request) -> Answer:
    organisation = {"type": "org", "name": "sslzoo", "fullname": "sslzoo", "roleInOrg": "admin"}
    access = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
    return told({"type": "user", "name": hub.user, "fullname": hub.user, "orgs": [organisation], "auth": access})


def create(hub: "LoopbackHub", request: Request) -> Answer:
    """A new repo, whose first commit is the Hub's own .gitattributes; 409 where it exists."""
    asked = json.loads(request.body)
    if asked.get("type", "model") != "model":
        raise refusal(400, "This Hub keeps models only")
    name = f"{asked.get('organization') or hub.user}/{asked['name']}"
    told_url = {"url": f"{hub.endpoint}/{name}", "name": name}
    with hub.lock:
        if name in hub.repos:
            error = "You already created this model repo"
            return told({**told_url, "error": error}, status=409, headers={"X-Error-Message": error})
        hub.commit(name, {".gitattributes": File(_ATTRIBUTES, lfs=False)}, text="initial commit")
        _settle(hub, name, asked)
    return told(told_url)


def delete(hub: "LoopbackHub", request: Request) -> Answer:
    asked = json.loads(request.body)
    name = f"{asked.get('organization') or hub.user}/{asked['name']}"
    with hub.lock:
        _repo(hub, name)
        del hub.repos[name]
        hub.private.discard(name)
        hub.gated.discard(name)
    return told({})


def settings(hub: "LoopbackHub", request: Request, name: str) -> Answer:
    _repo(hub, name)
    _settle(hub, name, json.loads(request.body))
    return told({})


def _settle(hub: "LoopbackHub", name: str, asked: dict[str, object]) -> None:
    if "visibility" in asked or "private" in asked:
        private = asked.get("visibility") == "private" or asked.get("private") is True
        (hub.private.add if private else hub.private.discard)(name)
    if "gated" in asked:
        (hub.gated.add if asked["gated"] else hub.gated.discard)(name)


def validate_yaml(hub: "LoopbackHub", request: Request) -> Answer:
    """Whether a README.md's metadata can be read: 400 with the error where not."""
    try:
        empty = not front_matter(json.loads(request.body)["content"])
    except ValueError as error:
        return told({"errors": [{"message": str(error)}], "warnings": [], "error": str(error)}, status=400)
    warnings = [{"message": "empty or missing yaml metadata in repo card"}] if empty else []
    return told({"errors": [], "warnings": warnings})


def preupload(hub: "LoopbackHub", request: Request, name: str, branch: str) -> Answer:
    """How each file is to be sent, and the digest of what is there already."""
    there = _head(_repo(hub, name), branch).files
    return told({"files": [_mode(file, there.get(file["path"])) for file in json.loads(request.body)["files"]]})


def _mode(file: dict[str, object], there: File | None) -> dict[str, object]:
    path, binary = str(file["path"]), b"\0" in base64.b64decode(str(file.get("sample", "")))
    lfs = path.endswith(LFS) or binary or int(str(file["size"])) > _REGULAR
    oid = {"oid": there.digest} if there else {}
    return {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, **oid}


def batch(hub: "LoopbackHub", request: Request, name: str) -> Answer:
    """Where to put each LFS object; nowhere, where it is known."""
    _repo(hub, name)
    objects = json.loads(request.body)["objects"]
    for one in objects:
        if one["oid"] not in hub.blobs:
            one["actions"] = {"upload": {"href": f"{hub.cdn}/lfs/{one['oid']}"}}
    return told({"transfer": "basic", "objects": objects})


def put(hub: "LoopbackHub", request: Request, oid: str) -> Answer:
    """The store behind that address: no token, but the bytes must have the sha256."""
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise refusal(400, "BadDigest: the content does not have the stated sha256")
    hub.blobs[oid] = File(request.body, lfs=True)
    return told({})


def commit(hub: "LoopbackHub", request: Request, name: str, branch: str) -> Answer:
    """One commit from ndjson lines; 412 where the stated parent is not the head."""
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    with hub.lock:
        head = _head(_repo(hub, name), branch)
        if not head.id.startswith(header.get("parentCommit") or ""):
            raise refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for line in lines:
            _apply(hub, files, line["key"], line["value"])
        text = f"{header['summary']}\n{header.get('description') or ''}"
        made = hub.commit(name, files, text=text, branch=branch)
    return told({"success": True, "commitOid": made.id, "commitUrl": f"{hub.endpoint}/{name}/commit/{made.id}"})


def _apply(hub: "LoopbackHub", files: dict[str, File], key: str, value: dict[str, str]) -> None:
    path = value.get("path", "")
    if key == "file":
        files[path] = File(base64.b64decode(value["content"]), lfs=False)
    elif key == "lfsFile":
        if value["oid"] not in hub.blobs:
            raise refusal(400, f"LFS object {value['oid']} was not uploaded")
        files[path] = hub.blobs[value["oid"]]
    elif key in ("deletedFile", "deletedFolder"):
        gone = [known for known in files if known == path or known.startswith(path.rstrip("/") + "/")]
        if not gone:
            raise refusal(404, f"{path} does not exist", "EntryNotFound")
        for known in gone:
            del files[known]


def branch(hub: "LoopbackHub", request: Request, name: str, ref: str) -> Answer:
    """Create a branch at a revision (409 where it exists), or delete it."""
    start = (json.loads(request.body or b"{}") or {}).get("startingPoint") or "main"
    return _point(request, _repo(hub, name), _repo(hub, name).branches, ref, start)


def tag(hub: "LoopbackHub", request: Request, name: str, ref: str) -> Answer:
    """Create the tag that the body names at the revision `ref` (409 where it exists), or delete the tag `ref`."""
    repo = _repo(hub, name)
    if request.method == "DELETE":
        return _point(request, repo, repo.tags, ref, "")
    return _point(request, repo, repo.tags, json.loads(request.body)["tag"], ref)


def _point(request: Request, repo: Repo, known: dict[str, str], ref: str, revision: str) -> Answer:
    if request.method == "DELETE":
        if ref not in known or ref == "main":
            raise refusal(404 if ref != "main" else 403, f"Cannot delete {ref}", "RevisionNotFound" * (ref != "main"))
        del known[ref]
        return told({})
    if ref in known:
        raise refusal(409, f"Reference {ref} exists already")
    known[ref] = _at(repo, revision).id
    return told({})


def _repo(hub: "LoopbackHub", name: str) -> Repo:
    if name not in hub.repos:
        raise refusal(404, "Repository not found", "RepoNotFound")
    return hub.repos[name]


def _head(repo: Repo, name: str) -> Commit:
    if name not in repo.branches:
        raise refusal(404, f"Invalid rev id: {name}", "RevisionNotFound")
    return repo.commits[repo.branches[name]]


def _at(repo: Repo, revision: str) -> Commit:
    # Here, unlike where files are resolved, a shortened id will do.
    ids = [known for known in repo.commits if len(revision) >= 7 and known.startswith(revision)]
    found = repo.find(revision) or (repo.commits[ids[0]] if len(ids) == 1 else None)
    if found is None:
        raise refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return found
