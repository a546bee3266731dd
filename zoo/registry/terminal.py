"""The terminal: what is printed there is text, whoever wrote it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

import typer
from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from zoo.registry.words import shown


class Terminal(Console):
    """A console for text that others wrote: brackets are no markup, and control characters are written out."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Every piece of what is printed, in tables, trees and bars too; those that rich itself sends stay."""
        for piece in super().render(shown(renderable) if isinstance(renderable, str) else renderable, options):
            yield piece if piece.control else Segment(shown(piece.text), piece.style)


def plain(text: str, style: str = "") -> Text:
    """The text as it is, for whatever rich would read markup in."""
    return Text(shown(text), style=style)


def table(*columns: str, bare: bool = False) -> Table:
    """An empty table under these names."""
    made = Table(box=SIMPLE, padding=0, pad_edge=False) if bare else Table()
    for column in columns:
        made.add_column(plain(column), overflow="fold")
    return made


def add(table: Table, *cells: str, style: str = "") -> None:
    """Another row of text as it is; `style` is the first cell's."""
    table.add_row(*(plain(cell, style if place == 0 else "") for place, cell in enumerate(cells)))


def say(text: str, style: str = "") -> None:
    """Print the text as it is, unbroken."""
    console.print(plain(text), style=style, soft_wrap=True, highlight=False)


def busy(text: str) -> Status:
    """A spinner with the text as it is, in a `with` around long work."""
    return console.status(plain(text))


@contextmanager
def clear_errors() -> Iterator[None]:
    """A caller's mistake is one red sentence, not a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        say(str(error), "red")
        raise typer.Exit(1) from None


console = Terminal()


def tell_version(asked: bool) -> None:
    """Print the version of the package and end, where it is asked for."""
    if asked:
        say(f"sslzoo {version('sslzoo')}")
        raise typer.Exit
