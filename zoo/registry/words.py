"""What messages share."""

import unicodedata
from collections.abc import Collection

_SHOWN = 5
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, formats such as bidirectional ones, halves of pairs, separators


def shown(text: str) -> str:
    """The text with what a terminal would obey, or not show, written out; line breaks and tabs stay.

    Example:
        >>> import zoo
        >>> print(zoo.shown("one\\x1b[2Jtwo"))
        one\\x1b[2Jtwo
    """
    if text.isprintable():
        return text
    return "".join(map(_written, text))


def some(names: Collection[str]) -> str:
    """The first names, and how many more; `none` of none."""
    first, more = ", ".join(sorted(names)[:_SHOWN]), len(names) - _SHOWN
    return f"{first} and {more} more" if more > 0 else first or "none"


def _written(letter: str) -> str:
    hidden = letter not in "\n\t" and unicodedata.category(letter) in _HIDDEN
    return letter.encode("unicode_escape").decode() if hidden else letter
