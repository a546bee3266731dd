"""What messages share."""

from collections.abc import Collection

_SHOWN = 5


def some(names: Collection[str]) -> str:
    """The first names, and how many more; `none` of none."""
    first, more = ", ".join(sorted(names)[:_SHOWN]), len(names) - _SHOWN
    return f"{first} and {more} more" if more > 0 else first or "none"
