"""The command `zoo-upload`: convert, check and publish a checkpoint with its card.

    zoo-upload convert NAME                                   a known card whose file is pickled, into the cache
    zoo-upload convert FILE OUTPUT --card CARD                a file of your own, or --architecture instead of --card
    zoo-upload check CARD WEIGHTS                             everything that can be known before it is sent
    zoo-upload upload CARD WEIGHTS owner/name                 weights, digests and config, then the card pinned to them

Each step of an upload first looks at what the repo holds: one that broke off goes on where it stopped.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx2
import huggingface_hub
import typer
from huggingface_hub import CommitOperationAdd, HfApi, RepoFile
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.utils.sha import git_hash

from zoo.fetching import digests as digests_
from zoo.fetching.digests import Digests
from zoo.fetching.hub import WeightsError
from zoo.fetching.published import card_of
from zoo.fetching.wire.asking import Watch
from zoo.fetching.wire.refusals import hidden
from zoo.fetching.wire.remote import only
from zoo.registry import cards, terms
from zoo.registry.cards import Card, CardError
from zoo.registry.terminal import clear_errors, say

app = typer.Typer(help="Publish a checkpoint with its card on the Hugging Face Hub.", no_args_is_help=True)

FILE = "model.safetensors"
_CALLS = 10 << 20  # all that is asked for beside the weights takes as long as so many bytes
_SILENCE = 60.0  # seconds
_ODD = (json.JSONDecodeError, KeyError, AttributeError, TypeError, RecursionError)  # an odd answer in the client
Files = dict[str, tuple[Path | bytes, str]]  # path in the repo -> content, and the digest by which the Hub lists it


@dataclass(frozen=True)
class Parcel:
    """Content for a repo: the files of one commit, and the text of the card, to be pinned to that commit."""

    repo: str
    card: Card
    text: str
    digests: Digests
    files: Files

    def pinned(self, revision: str) -> bytes:
        """The card as the repo gets it."""
        from zoo.upkeep import publishing

        found = {"repo": self.repo, "revision": revision, "file": FILE, "size": self.digests.size}
        listed = digests_.sha256(digests_.dump(self.digests))
        found |= {"sha256": self.digests.file, "layout": "timm", "digests": listed}
        return publishing.pin(self.text, found, ["sslzoo", self.card.family, self.card.domain]).encode()


@app.command("convert")
def convert(
    source: Annotated[str, typer.Argument(help="A known name, owner/name, a card (.md), or a checkpoint file.")],
    output: Annotated[Path | None, typer.Argument(help="For a checkpoint file: the safetensors file to write.")] = None,
    card: Annotated[str | None, typer.Option(help="The checkpoint file's card, or a known name.")] = None,
    architecture: Annotated[str | None, typer.Option(help="timm's name, where there is no card.")] = None,
    layout: Annotated[str | None, typer.Option(help="How its names become timm's; found out where left out.")] = None,
    revision: Annotated[str | None, typer.Option(help="The commit, where a known card pins none.")] = None,
    prefix: Annotated[str, typer.Option(help="What the file's names begin with, where several sets fit.")] = "",
    ema: Annotated[bool | None, typer.Option(help="Averaged weights, or the raw ones beside them.")] = None,
) -> None:
    """Turn a pickled checkpoint into safetensors, with the digest of every tensor; nothing in it is run."""
    from zoo.upkeep import conversion

    with clear_errors():
        if output is None:
            path = conversion.convert_card(cards.fill(_known(source), revision=revision))
        else:
            wanted = {"layout": layout, "prefix": prefix, "ema": ema}
            path = _convert_file(Path(source), output, wanted, card=card, architecture=architecture)
    say(f"Converted: {path}")
    say(conversion.report(path))


@app.command("check")
def check(
    card: Annotated[Path, typer.Argument(help="The card, in the format that cards/README.md shows.")],
    weights: Annotated[Path, typer.Argument(help="A safetensors file with timm's names.")],
) -> None:
    """Check that the card is complete and that the encoder loads and computes at every quarter."""
    from zoo.upkeep.publishing import examine

    with clear_errors():
        _, found = examine(card, weights)
    say(f"{card.stem} is fit to be published: {found.size} bytes, sha256 {found.file}")
    for depth, values in found.golden.items():
        say(f"golden feature at depth {depth}: {', '.join(f'{value:.4g}' for value in values[:6])}, ...")


@app.command("upload")
def upload(
    card: Annotated[Path, typer.Argument(help="The card, in the format that cards/README.md shows.")],
    weights: Annotated[Path, typer.Argument(help="A safetensors file with timm's names.")],
    repo: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    private: Annotated[bool, typer.Option(help="Create a private repo.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check everything, print what would be sent, send nothing.")] = False,
    collection: Annotated[str | None, typer.Option(help="Title of a collection of the owner to add it to.")] = None,
) -> None:
    """Check the weights, upload them, then the card pinned to their commit; started again, it goes on."""
    with clear_errors():
        parcel = pack(card, weights, repo)
        say(f"{repo}{' (private)' if private else ''}, in one commit:")
        for path, (content, _) in parcel.files.items():
            size = content.stat().st_size if isinstance(content, Path) else len(content)
            say(f"  {path}: {size} bytes{f', sha256 {parcel.digests.file}' if path == FILE else ''}")
        say(f"  then README.md, pinned to that commit{f', and the collection {collection!r}' if collection else ''}")
        if dry_run:
            return
        with _sending(repo):
            watch = _watch(parcel)
            revision = only(lambda: send(HfApi(), parcel, private=private, collection=collection), watch)
    say(f"Published {repo} at {revision}")


def pack(path: Path, file: Path, repo: str) -> Parcel:
    """Inspect the card and its weights, and make everything that a repo holds beside them."""
    from zoo.upkeep import publishing

    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repo):
        raise ValueError(f"repo must be owner/name (got {repo!r}). Correct the third argument.")
    card, found = publishing.examine(path, file)
    own = card.weights.repo in (None, repo)
    place = card.weights.model_copy(update={"repo": None, "file": FILE, "sha256": found.file})
    credits = terms.attribution([card.model_copy(update={"weights": place}) if own else card])
    content = {"digests.json": digests_.dump(found), "config.json": publishing.config(card)}
    content["ATTRIBUTION.md"] = credits.encode()
    weights: Files = {FILE: (file, found.file)}
    parcel = Parcel(repo, card, path.read_text(encoding="utf-8"), found, weights | _small(content))
    cards.parse(parcel.pinned("0" * 40).decode(), repo, path)  # what will be published is a card
    return parcel


def send(api: HfApi, parcel: Parcel, *, private: bool = False, collection: str | None = None) -> str:
    """Bring the repo to what the parcel says; returns the commit of the weights. What is there is not sent again."""
    repo = parcel.repo
    api.create_repo(repo, private=private or None, exist_ok=True)
    info = api.model_info(repo)
    if private and not info.private:
        raise ValueError(f"{repo} must be private (got a public repo). Make it private on its page first.")
    known = filter(None, (_pinned(repo), info.sha))
    held = next((revision for revision in known if _holds(api, repo, revision, parcel.files)), None)
    revision = held or _commit(api, repo, parcel.files, "Weights, digests and config", parent=info.sha)
    card = _small({"README.md": parcel.pinned(revision)})
    if not _holds(api, repo, "main", card):
        _commit(api, repo, card, "Card, pinned to the weights")
    if collection:
        shelf = api.create_collection(collection, namespace=repo.split("/")[0], exists_ok=True)
        api.add_collection_item(shelf.slug, repo, "model", exists_ok=True)
    return revision


def _convert_file(
    source: Path, output: Path, wanted: dict[str, Any], *, card: str | None, architecture: str | None
) -> Path:
    from zoo.upkeep import conversion

    if (card is None) == (architecture is None):
        got = "neither" if card is None else "both"
        raise ValueError(f"card or architecture must be given (got {got}). Add --card CARD or --architecture NAME.")
    if output.suffix != ".safetensors" or not output.parent.is_dir():
        raise ValueError(f"output must be a .safetensors file in an existing folder (got {str(output)!r}). Change it.")
    record = _known(card) if card else None
    stated = record.weights.layout if record and record.weights.layout != "timm" else None
    found = conversion.convert(
        source,
        output,
        architecture=record.architecture if record else str(architecture),
        kwargs=record.kwargs if record else {},
        layout=wanted["layout"] or stated,
        allow=record.weights.allow if record else (),
        prefix=wanted["prefix"],
        ema=wanted["ema"] if wanted["ema"] is not None or record is None else conversion.averaged(record),
    )
    output.with_suffix(".digests.json").write_bytes(digests_.dump(found))
    return output


def _known(source: str) -> Card:
    if source.endswith(".md"):
        return cards.read(source)
    if Path(source).is_file():
        raise ValueError(f"output must be given (got none). Run zoo-upload convert {source} OUTPUT --card CARD.")
    return card_of(source) if "/" in source else cards.find(source)


def _pinned(repo: str) -> str | None:
    """The commit that the repo's own card names."""
    try:
        place = card_of(repo).weights
    except CardError:
        return None
    return place.revision if place.repo == repo else None


def _small(content: dict[str, bytes]) -> Files:
    return {path: (data, git_hash(data)) for path, data in content.items()}


def _holds(api: HfApi, repo: str, revision: str, content: Files) -> bool:
    """Whether that commit has exactly these files under these paths."""
    try:
        entries = api.get_paths_info(repo, list(content), revision=revision)
    except RevisionNotFoundError:
        return False
    held = [entry for entry in entries if isinstance(entry, RepoFile)]
    found = {entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id for entry in held}
    return found == {path: digest for path, (_, digest) in content.items()}


def _commit(api: HfApi, repo: str, content: Files, title: str, *, parent: str | None = None) -> str:
    added = [CommitOperationAdd(path, data) for path, (data, _) in content.items()]
    revision = str(api.create_commit(repo, added, commit_message=title, parent_commit=parent).oid)
    if not _holds(api, repo, revision, content):
        raise WeightsError(f"{repo} must hold what was checked (got other bytes at {revision}). Upload again.")
    return revision


def _watch(parcel: Parcel) -> Watch:
    # The client tells nothing while it sends: the time counts as a whole.
    watch = Watch(parcel.digests.size + _CALLS)
    watch.quiet = watch.seconds
    return watch


@contextmanager
def _sending(repo: str) -> Iterator[None]:
    """What the Hub or the connection refused, and what to do about it."""
    session = huggingface_hub.get_session()
    before, session.timeout = session.timeout, httpx2.Timeout(_SILENCE)  # the client itself waits for ever
    try:
        yield
    except (HfHubHTTPError, httpx2.HTTPError, httpx2.InvalidURL, RuntimeError, *_ODD) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error  # of an upload
        fact = getattr(cause, "server_message", None) or hidden(str(cause).strip().partition("\n")[0])
        fact = f"{type(cause).__name__}, no answer of a Hub" if isinstance(cause, _ODD) else fact
        denied = isinstance(cause, HfHubHTTPError) and cause.response.status_code in (401, 403)
        step = "Run hf auth login with a token that may write." if denied else "Run the same command again: it goes on."
        raise ConnectionError(f"{repo} must take what is sent (got: {fact}). {step}") from None
    except KeyboardInterrupt:
        say(f"{repo} is broken off. Run the same command again: it goes on.")
        sys.stdout.flush()
        os._exit(130)  # the client's own threads are waited for otherwise
    finally:
        session.timeout = before


if __name__ == "__main__":
    app()
