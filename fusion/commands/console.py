"""What the commands share: the console, text as it is, errors in one sentence, and `--json`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status

console = Console()


@contextmanager
def clear_errors() -> Iterator[None]:
    """A caller's mistake is one red sentence, not a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        say(str(error), style="red")
        raise typer.Exit(1) from None


def say(text: str, style: str | None = None) -> None:
    """Print the text as it is: what stands in brackets, such as `['mae']`, is no markup."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def busy(text: str) -> Status:
    """A spinner with the text as it is, in a `with` around long work."""
    return console.status(escape(text))


def record(path: Path | None, values: Any) -> None:
    """Write the values as JSON, where a path is given."""
    if path is not None:
        write(path, values)


def write(path: Path, values: Any) -> None:
    """Write the values as JSON."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
