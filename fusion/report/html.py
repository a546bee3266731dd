"""One way from values to a self-contained page: the template of a room, filled strictly."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2

from fusion.evaluation.intervals import Interval
from fusion.report import style, words


def fill(room: str, values: Mapping[str, Any]) -> str:
    """The `page.html.jinja` of a room, filled; a name that it asks for and does not get is an error.

    Args:
        room: A package, such as `fusion.report`.
        values: By the names of the template.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"encoders": words.encoders_name, "labels": words.labels_name, "p": words.p_text}
    environment.globals |= {"svg": style.svg, "minus": _difference}
    source = resources.files(room).joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source).render(values)


def _difference(interval: Interval) -> str:
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
