"""The command `zoo`."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from zoo import cards, loading

app = typer.Typer(help="From a name to a verified, truncated encoder.", no_args_is_help=True)
console = Console()

Json = Annotated[Path | None, typer.Option("--json", help="Write what is printed to this file.")]


@app.command("list")
def list_cards(json_path: Json = None) -> None:
    """All checkpoints the registry knows."""
    with _clear_errors():
        found = [cards.find(name) for name in cards.names()]
    table = Table()
    for column in ("name", "family", "domain", "architecture", "depth", "licence"):
        table.add_column(column)
    for card in found:
        depth = f"{card.depth.optimal:g} ({card.depth.evidence})"
        table.add_row(card.name, card.family, card.domain, card.architecture, depth, card.terms.card)
    console.print(table)
    _record(json_path, [_values(card) for card in found])


@app.command()
def show(name: Annotated[str, typer.Argument()], json_path: Json = None) -> None:
    """One checkpoint's card."""
    with _clear_errors():
        card = cards.find(name)
    console.print(Markdown(card.body))
    for key, value in _values(card).items():
        console.print(f"{key:>12}  {value}", soft_wrap=True, highlight=False)
    _record(json_path, {**_values(card), "body": card.body})


@app.command()
def load(
    name: Annotated[str, typer.Argument()],
    depth: Annotated[
        float | None, typer.Option(help="In (0, 1]; the card's optimal depth where none is given.")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="A card file of your own.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A local safetensors file.")] = None,
    json_path: Json = None,
) -> None:
    """Fetch, verify and truncate a checkpoint, and print the report."""
    with _clear_errors(), console.status(f"loading {name}"):
        encoder = loading.load(name, depth, card=card, weights=weights)
    report = dataclasses.asdict(encoder.report) if encoder.report else {}
    shape = {"features": encoder.num_features, "channels": encoder.channels, "strides": encoder.strides}
    for key, value in {**report, **shape}.items():
        console.print(f"{key:>15}  {value}", soft_wrap=True, highlight=False)
    _record(json_path, {**report, **shape})


@app.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="A recipe, such as those in zoo/pretrain/recipes.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoints, log and weights.")] = Path("pretrain"),
    images: Annotated[Path, typer.Option(help="Folder for the source images.")] = Path("pretrain/sources"),
    json_path: Json = None,
) -> None:
    """Make an encoder from public images; started again, a run goes on where it stopped."""
    with _clear_errors():
        try:
            from zoo.pretrain.run import run
        except ModuleNotFoundError as error:
            message = f"{error.name} must be installed to pretrain (got none). Run pip install 'sslzoo[pretrain]'."
            raise ValueError(message) from None
        weights = run(config, output, images)
    console.print(f"Weights: {weights}", soft_wrap=True)
    _record(json_path, {"weights": str(weights)})


@contextmanager
def _clear_errors() -> Iterator[None]:
    """A caller's mistake is one red sentence, not a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None


def _values(card: cards.Card) -> dict[str, Any]:
    return card.model_dump(mode="json", exclude={"body", "path"})


def _record(path: Path | None, values: Any) -> None:
    if path is not None:
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
