"""How a CSV calls its columns, where not `path`, `label` and `patient`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

PathColumn = Annotated[str | None, typer.Option("--path-column", help="How the CSV calls path.")]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="How the CSV calls label.")]
PatientColumn = Annotated[str | None, typer.Option("--patient-column", help="How the CSV calls patient.")]


def headings(sources: Sequence[str | Path], path: str | None, label: str | None, patient: str | None) -> dict[str, str]:
    """The columns that are called otherwise, and how.

    Raises:
        ValueError: There are such, and no source is a CSV.
    """
    given = {"path": path, "label": label, "patient": patient}
    found = {column: heading for column, heading in given.items() if heading is not None}
    if found and not any(Path(source).is_file() and Path(source).suffix.lower() != ".npz" for source in sources):
        raise ValueError(
            f"--{next(iter(found))}-column must come with a CSV (got {', '.join(map(str, sources))}). Leave it out."
        )
    return found
