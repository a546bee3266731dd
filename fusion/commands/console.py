"""What the commands share: the console, text as it is, errors in one sentence, their options, and what they write."""

import json
import math
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.status import Status
from rich.table import Table
from rich.text import Text

import zoo
from fusion.data.writing import write

if TYPE_CHECKING:  # they draw and judge: not for a page of help
    from matplotlib.figure import Figure

    from fusion.evaluation.score import Evaluation, OfClass
    from fusion.report import page

console = zoo.Terminal()  # what others wrote is text there, in tables and bars too

Source = Annotated[str, typer.Option("--data", help="Folder per class, CSV path,label[,patient][,split], .npz.")]
Split = Annotated[
    str | None,
    typer.Option(help="The split to look at; validation, else train, where the data name splits. all: every one."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write what was found to this file.")]


@contextmanager
def clear_errors() -> Iterator[None]:
    """A caller's mistake is one red sentence, not a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        say(str(error), style="red")
        raise typer.Exit(1) from None


@contextmanager
def telling() -> Iterator[None]:
    """Warnings are lines of the console, without the code that they come from."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        try:
            yield
        finally:
            for text in dict.fromkeys(str(warning.message) for warning in found):
                say(text, style="yellow")


def say(text: str, style: str | None = None) -> None:
    """Print the text as it is: what stands in brackets, such as `['mae']`, is no markup."""
    console.print(plain(text), style=style, highlight=False, soft_wrap=True)


def tell_version(asked: bool) -> None:
    """Print the version of the package and end, where it is asked for."""
    if asked:
        say(f"sslzoo {version('sslzoo')}")
        raise typer.Exit


def plain(text: str) -> Text:
    """The text as it is, for whatever rich would read markup in."""
    return Text(zoo.shown(text))


def show(table: "page.Table") -> None:
    """Print a table of a page; its chosen rows are bold."""
    shown = Table(title=plain(table.caption), box=SIMPLE, padding=(0, 1, 0, 0))
    for place, column in enumerate(table.head):
        shown.add_column(plain(column), justify="left" if place == 0 else "right")
    for place, row in enumerate(table.rows):
        shown.add_row(*map(plain, row), style="bold" if place in table.chosen else None)
    console.print(shown)


def busy(text: str) -> Status:
    """A spinner with the text as it is, in a `with` around long work."""
    return console.status(plain(text))


def record(path: Path | None, values: Any) -> None:
    """Write the values as JSON, where a path is given."""
    if path is not None:
        write(path, json.dumps(values, indent=2) + "\n")


def figures(found: "Evaluation") -> dict[str, Any]:
    """An evaluation as plain values: each figure with its interval, `None` where there is none, and on how much."""
    classes = {str(label): {**_intervals(own), "groups": own.groups} for label, own in found.classes.items()}
    counts = {"images": found.images, "groups": found.groups, "resamples": found.resamples}
    return {**_intervals(found), "classes": classes, **counts}


def _intervals(found: "Evaluation | OfClass") -> dict[str, dict[str, float | None]]:
    return {name: _numbers(vars(getattr(found, name))) for name in found.figures}


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def check_folder(output: Path) -> None:
    """Refuse, before the work, a folder that cannot take what comes out of it."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"output must be a folder (got the file {str(output)!r}). Try --output another.")


def write_report(output: Path, page: str, shown: Mapping[str, "Figure"], table: tuple[str, str]) -> None:
    """Write `report.html`, each picture as PNG and SVG, and the table (name of the file, CSV) into the folder."""
    from fusion.report import style

    write(output / "report.html", page)
    write(output / table[0], table[1])
    for name, figure in shown.items():
        for suffix in ("png", "svg"):
            style.save(figure, output / f"{name}.{suffix}")


def command_line(name: str, arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    """Return what reproduces a page: the command with the options that were given."""
    given = [part for key, value in options.items() if value is not None for part in (f"--{key}", *_words(value))]
    return shlex.join(["fusion", name, *arguments, *given])


def _words(value: Any) -> list[str]:
    """An option's value as it is typed: of a pair both."""
    return [str(part) for part in value] if isinstance(value, tuple) else [str(value)]
