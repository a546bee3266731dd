"""The command `zoo`."""

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markdown import Markdown

from zoo.registry import cards, search, terms
from zoo.registry.terminal import add, busy, clear_errors, console, say, table, tell_version
from zoo.registry.words import shown

if TYPE_CHECKING:  # what loads is imported when it is to load: help and lists come at once
    from zoo.upkeep.recording import Outcome

app = typer.Typer(help="From a name to a verified, truncated encoder.", no_args_is_help=True)
cache = typer.Typer(help="What was fetched: list it, prune it.", no_args_is_help=True)
app.add_typer(cache, name="cache")


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


Json = Annotated[Path | None, typer.Option("--json", help="Write what is printed to this file.")]
Name = Annotated[str, typer.Argument(help="A name of `zoo list`; also NAME@DEPTH where a depth counts.")]


@app.command("list")
def list_cards(
    family: Annotated[str | None, typer.Option(help="Such as contrastive or restorative.")] = None,
    domain: Annotated[str | None, typer.Option(help="Such as chest-x-ray.")] = None,
    architecture: Annotated[str | None, typer.Option(help="timm's name, such as resnet50.")] = None,
    text: Annotated[str | None, typer.Option(help="Words that name, method or text must contain.")] = None,
    commercial: Annotated[bool, typer.Option("--commercial", help="Only where the terms allow it.")] = False,
    hub: Annotated[bool, typer.Option("--hub", help="Those that others published on the Hub instead.")] = False,
    author: Annotated[str | None, typer.Option(help="With --hub: of one author.")] = None,
    json_path: Json = None,
) -> None:
    """List all checkpoints the registry knows, or those on the Hub with the tag `sslzoo`."""
    with clear_errors():
        if author and not hub:
            raise ValueError(f"--author must come with --hub (got --author {author}). Add --hub.")
        known, unread = _published(author) if hub else cards.read_all()
        wanted = {"family": family, "domain": domain, "architecture": architecture, "text": text}
        kept = search.matching(known, **wanted, commercial=True if commercial else None)
    listed = table("name", "family", "domain", "depth", "licence: terms", bare=True)
    listed.columns[0].no_wrap = True  # what is typed must be readable, in a narrow window too
    for card in kept:
        licence = f"{card.terms.card or 'unknown'}: {terms.binding(card).kind}"
        add(listed, card.name, card.family, card.domain, f"{card.depth.optimal:g} {card.depth.evidence}", licence)
    console.print(listed)
    _left_out(unread)
    _record(json_path, [_values(card) for card in kept])


@app.command()
def show(name: Name, json_path: Json = None) -> None:
    """One checkpoint's card."""
    with clear_errors():
        card = cards.find(name)
    console.print(Markdown(shown(card.body), hyperlinks=False))
    for key, value in {**_values(card), "binding terms": str(terms.binding(card))}.items():
        say(f"{key:>13}  {value}")
    _record(json_path, {**_values(card), "body": card.body})


@app.command()
def load(
    name: Annotated[str, typer.Argument(help="A name of `zoo list`, or owner/name on the Hub; also NAME@DEPTH.")],
    depth: Annotated[
        float | None, typer.Option(help="In (0, 1]; the card's optimal depth where none is given.")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="A card file of your own.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A local safetensors file.")] = None,
    revision: Annotated[str | None, typer.Option(help="The commit, where the card names none.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Fetch the whole file and check its sha256.")] = False,
    json_path: Json = None,
) -> None:
    """Fetch, verify and truncate a checkpoint, and print the report."""
    from zoo import loading

    with clear_errors():
        encoder = loading.load(name, depth, card=card, weights=weights, revision=revision, whole=whole)
    report = dataclasses.asdict(encoder.report) if encoder.report else {}
    shape = {"features": encoder.num_features, "channels": encoder.channels, "strides": encoder.strides}
    for key, value in {**report, **shape}.items():
        say(f"{key:>15}  {value}")
    _record(json_path, {**report, **shape})


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names of `zoo list`.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Fetch the whole file, check every tensor.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every card.")] = False,
    online: Annotated[bool, typer.Option("--online", help="With --record: fetch every card's whole file.")] = False,
    record: Annotated[Path | None, typer.Option(help="Write what was learnt into the cards of this folder.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="With --record: pin cards without a commit.")] = False,
    json_path: Json = None,
) -> None:
    """Tell whether what is held is still what was published: hash it all again, and compare the golden features."""
    from zoo.upkeep import recording

    with clear_errors():
        if bool(names) == all_:
            raise ValueError(f"names must be given, or --all (got {names or 'none'}, all={all_}). See zoo list.")
        if online != (record is not None):
            raise ValueError("--online and --record CARDS_DIR must be given together. See zoo verify --help.")
        if record is not None:
            outcomes = recording.record(record, None if all_ else names, accept=accept)
        else:
            outcomes = [_verified(name, whole=whole) for name in names or cards.names()]
    _report(outcomes, json_path)


@app.command()
def browse(
    output: Annotated[Path, typer.Argument(help="The page to write.")] = Path("zoo.html"),
    json_path: Json = None,
) -> None:
    """Write all cards as one static page, to filter and read in a browser."""
    from zoo.registry import page

    with clear_errors():
        known, unread = cards.read_all()
        output.write_text(page.page(known), encoding="utf-8")
    _left_out(unread)
    say(f"Wrote {output}")
    _record(json_path, {"page": str(output)})


@app.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="A recipe, such as those in zoo/pretrain/recipes.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights.")] = Path("pretrain"),
    images: Annotated[Path, typer.Option(help="Folder for the source images.")] = Path("pretrain/sources"),
    json_path: Json = None,
) -> None:
    """Make an encoder from public images; started again, a run goes on where it stopped."""
    with clear_errors():
        try:
            from zoo.pretrain.run import run
        except ModuleNotFoundError as error:
            packages = "lightly pytorch-lightning nibabel pynrrd tifffile imagecodecs setuptools wheel"
            message = f"{error.name} must be installed to pretrain (got none). Run pip install {packages}."
            raise ValueError(message) from None
        weights = run(config, output, images)
    say(f"Weights: {weights}")
    _record(json_path, {"weights": str(weights)})


@app.command("export")
def export_encoders(
    names: Annotated[list[str], typer.Argument(help="Names of the registry, also as name@depth.")],
    folder: Annotated[Path, typer.Argument(help="New or empty.")],
    whole: Annotated[bool, typer.Option(help="The whole weights files, for every depth.")] = False,
    json_path: Json = None,
) -> None:
    """Write all that loads need to a folder, for a machine without a network."""
    from zoo.upkeep import airgap

    with clear_errors(), busy(f"exporting {', '.join(names)}"):
        written = airgap.export(names, folder, whole=whole)
    size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
    say(f"{decimal(size)} in {written}. There: zoo import {shlex.quote(written.name)}")
    _record(json_path, {"folder": str(written), "size": size})


@app.command("import")
def import_encoders(
    folder: Annotated[Path, typer.Argument(help="What zoo export wrote; trust it as you trust where it came from.")],
    json_path: Json = None,
) -> None:
    """Check an exported folder, file by file, and put it into the cache."""
    from zoo.upkeep import airgap

    with clear_errors(), busy(f"importing {folder}"):
        done = airgap.import_(folder)
    for name in done.names:
        note = "the registry lacks its card" if name in done.strangers else "loads without a network"
        say(f"{name}: {note}")
    if done.next_step:
        say(done.next_step)
    _record(json_path, dataclasses.asdict(done))


@app.command("doctor")
def examine(json_path: Json = None) -> None:
    """Versions, settings, cache, disk, Hub, token and gated access: what is wrong, and what to do."""
    from zoo.upkeep import doctor

    with busy("looking"):
        found = doctor.checks()
    listed = table("", "subject", "finding", "next step")
    for check in found:
        colour = {"ok": "green", "warn": "yellow", "bad": "red"}[check.state]
        add(listed, check.state, check.subject, check.finding, check.next_step, style=colour)
    console.print(listed)
    _record(json_path, [dataclasses.asdict(check) for check in found])
    if any(check.state == "bad" for check in found):
        raise typer.Exit(1)


@cache.command("list")
def cache_list(json_path: Json = None) -> None:
    """List everything that is held; whole files are the Hub client's: hf cache ls."""
    from zoo.upkeep.cache import held

    with clear_errors():
        found, (_, unread) = held(), cards.read_all()
    listed = table("repo", "revision", "file", "pieces", "in quarantine", "size", "fetched", "cards")
    for one in found:
        place = (one.repo or "-", (one.revision or "-")[:8], one.file or one.folder.name)
        counts = (str(one.pieces), str(one.spoilt), decimal(one.size), f"{one.fetched:%Y-%m-%d}")
        add(listed, *place, *counts, ", ".join(one.cards) or "-")
    console.print(listed)
    _left_out(unread)
    say(f"{decimal(sum(one.size for one in found))} in all")
    kept = [{**dataclasses.asdict(one), "folder": str(one.folder), "fetched": one.fetched.isoformat()} for one in found]
    _record(json_path, kept)


@cache.command("prune")
def cache_prune(
    repo: Annotated[str | None, typer.Option(help="Everything of this repo, owner/name.")] = None,
    unknown: Annotated[bool, typer.Option(help="What no card of the registry pins.")] = False,
    quarantine: Annotated[bool, typer.Option(help="What was put aside, and what first uses recorded of it.")] = False,
    json_path: Json = None,
) -> None:
    """Free space; what killed processes left half written goes in any case."""
    from zoo.upkeep.cache import prune

    with clear_errors():
        freed = prune(repo=repo, unknown=unknown, quarantine=quarantine)
    say(f"{decimal(freed)} freed")
    _record(json_path, {"freed": freed})


def _published(author: str | None) -> tuple[list[cards.Card], dict[str, str]]:
    from zoo.fetching.published import cards_of

    return cards_of(author)


def _verified(name: str, *, whole: bool) -> "Outcome":
    from zoo.upkeep.recording import Outcome
    from zoo.upkeep.verification import verify

    try:
        verdict = verify(name, whole=whole)
    except (ValueError, OSError) as error:
        return Outcome(name, "failed", str(error))
    golden = ", ".join(f"{cosine:.6f} at {depth}" for depth, cosine in verdict.cosines.items()) or "none known"
    mended = f"; put in quarantine and fetched anew: {', '.join(verdict.mended)}" if verdict.mended else ""
    count = f"{verdict.tensors[0]} of {verdict.tensors[1]} tensors against {verdict.verified}"
    return Outcome(name, "verified", f"{count}; golden features: {golden}{mended}")


def _report(outcomes: "Sequence[Outcome]", json_path: Path | None) -> None:
    listed = table("name", "state", "detail")
    for outcome in outcomes:
        add(listed, outcome.name, outcome.state, outcome.detail)
    console.print(listed)
    _record(json_path, [dataclasses.asdict(outcome) for outcome in outcomes])
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _left_out(unread: Mapping[str, str]) -> None:
    for name, reason in unread.items():
        say(f"{name} left out: {reason}")


def _values(card: cards.Card) -> dict[str, Any]:
    return card.model_dump(mode="json", exclude={"body", "path"})


def _record(path: Path | None, values: Any) -> None:
    if path is not None:
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
