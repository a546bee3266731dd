"""What the commands share: the console, errors in one sentence, and `--json`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

console = Console()


@contextmanager
def clear_errors() -> Iterator[None]:
    """A caller's mistake is one red sentence, not a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


def record(path: Path | None, values: Any) -> None:
    """Write the values as JSON, where a path is given."""
    if path is not None:
        write(path, values)


def write(path: Path, values: Any) -> None:
    """Write the values as JSON."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
