"""The one door for labels and names: as people write them, to plain values that can be compared, counted and kept.

Text loses the blanks around it; what says that nothing is known is missing, in text as in numbers (`MISSING`).
"""

import math
import numbers
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

# Text that says "not known", whatever its case: what pandas reads as missing, R, Excel's errors, and what people type.
MISSING = frozenset(
    [
        *("", "nan", "-nan", "na", "n/a", "n.a.", "<na>", "nat", "null", "nil", "none", "-", "--", ".", "?"),
        *("\N{EN DASH}", "\N{EM DASH}", "(null)", "(none)", "<null>", "<none>"),
        *("#n/a", "#na", "#n/a n/a", "#value!", "#ref!", "#div/0!", "#name?", "#num!", "#null!"),
        *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    ]
)

_EXACT = 2**53  # floats hold every whole number up to here
_AROUND = re.compile(
    r"^[\s\u200b-\u200f\u2060\ufeff]+|[\s\u200b-\u200f\u2060\ufeff]+$"
)  # blanks, and marks of no width
_WHOLE = re.compile(r"([+-]?(?:0|[1-9][0-9]*))(?:\.0+)?")
_ZEROS = re.compile(r"(?<![0-9.])0+(?=[0-9])")
_OTHERS = np.bytes_ | np.datetime64 | np.timedelta64  # NumPy's scalars whose `item` says less than they do


def clean(text: str) -> str:
    """The text without blanks around it, in the one spelling of its letters (NFC)."""
    return unicodedata.normalize("NFC", _AROUND.sub("", text))


def missing(value: Any) -> bool:
    """Tell whether a value says that nothing is known: None, NaN, NaT, pandas' NA, masked, or text of `MISSING`."""
    if isinstance(value, str):
        return clean(value).casefold() in MISSING
    if value is None or value is np.ma.masked:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas' NA is neither true nor false
        return type(value).__name__ == "NAType"


def listed(given: Any) -> list[Any]:
    """The values of a sequence or of an array of any library, as a list along its first axis; masked ones are None."""
    if np.ma.isMaskedArray(given):
        given = [None if off else value for value, off in zip(given.data, np.ma.getmaskarray(given), strict=True)]
    elif not isinstance(given, list | tuple):
        given = np.asarray(given)
    return [v.item() if isinstance(v, np.generic) and not isinstance(v, _OTHERS) else v for v in given]


def shape(given: Any) -> tuple[int, ...]:
    """The shape as an array; of lists of several lengths only how many there are, and a 0."""
    try:
        return tuple(np.shape(given))
    except ValueError:
        return (len(given), 0)


def kind(value: Any) -> str | None:
    """`text`, `number` (whole) or `boolean`; None for what is no label."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, numbers.Integral) and not isinstance(value, np.generic):  # NumPy's spans of time are integers
        return "number" if -(2**63) <= int(value) < 2**63 else None
    return "number" if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else None


def column(given: Any, what: str = "y") -> Array:
    """(N,) labels as text without blanks around it, whole numbers or booleans.

    Raises:
        ValueError: One is missing (the images are named) or no such label, or there are two kinds.
    """
    values = listed(given)
    unknown = [row for row, value in enumerate(values) if missing(value)]
    if unknown:
        raise ValueError(
            f"{what} must be known for every image (got none for images {_few(unknown)}). Leave these out."
        )
    strange = [value for value in values if kind(value) is None]
    if strange:
        raise ValueError(_no_label(strange[0], what))
    kinds = sorted({str(kind(value)) for value in values})
    if len(kinds) > 1:
        raise ValueError(
            f"{what} must be of one kind (got {' and '.join(kinds)}). Try [str(label) for label in {what}]."
        )
    return array(values)


def array(values: Sequence[Any]) -> Array:
    """Values of one kind as an array: text cleaned; whole numbers beside integers become integers, one by one.

    Raises:
        ValueError: A text holds a zero character: NumPy would take those at its end for nothing.
    """
    if all(isinstance(value, str) for value in values):
        if odd := next((value for value in values if "\0" in value), None):
            raise ValueError(f"labels and ids must hold no zero characters (got {odd!r}). Write them without.")
        return np.array([clean(value) for value in values], dtype=str)
    if all(isinstance(value, float) for value in values):
        return np.array(values)
    return np.array([int(value) if isinstance(value, float) and value.is_integer() else value for value in values])


def named_rows(given: Iterable[Any]) -> list[list[Any]]:
    """Lists of labels, one per image, as `column` gives single ones.

    Raises:
        ValueError: As `column`, or an image names a label twice.
    """
    rows = [listed(list(labels)) for labels in given]
    unknown = [row for row, labels in enumerate(rows) if any(map(missing, labels))]
    if unknown:
        raise ValueError(
            f"y must be known for every image (got a missing label for images {_few(unknown)}). "
            "Leave these out; an image without any label has an empty list."
        )
    flat = iter(column([label for labels in rows for label in labels]).tolist())
    rows = [[next(flat) for _ in labels] for labels in rows]
    twice = next((labels for labels in rows if len(set(labels)) < len(labels)), None)
    if twice is not None:  # rows of 0 and 1 would else be read as the labels 0 and 1
        raise ValueError(f"y must name a label once per image (got {twice!r}). Pass np.array(y) if it is 0 and 1.")
    return rows


def are_lists(given: Any) -> bool:
    """Tell whether there is a list of labels for each image."""
    if not hasattr(given, "__len__") or isinstance(given, str | bytes) or not len(given) or columns(given):
        return False
    return all(isinstance(labels, list | tuple | set | frozenset) for labels in given)


def are_flags(rows: Any, width: int) -> bool:
    """Tell whether lists are rows of a table of 0 and 1 with so many columns."""
    return all(isinstance(r, list | tuple) and len(r) == width and all(v in (0, 1) for v in r) for r in rows)


def columns(given: Any) -> list[Any] | None:
    """The names of a table's columns, text or whole numbers; None where they are the places 0, 1, 2, ... in order."""
    found = getattr(given, "columns", None)
    names = [] if found is None or getattr(given, "ndim", 2) != 2 else listed(list(found))
    if not names or names == list(range(len(names))):
        return None
    if len({kind(name) for name in names}) > 1 or kind(names[0]) is None:
        raise ValueError(f"columns of y must be called by text or by whole numbers (got {names[:5]}). Rename them.")
    return list(array(names).tolist())


def plain(given: Any, what: str = "y") -> Array:
    """As an array.

    Raises:
        ValueError: Something of it is masked.
    """
    if np.ma.isMaskedArray(given) and np.ma.getmaskarray(given).any():
        rows = np.flatnonzero(np.ma.getmaskarray(given).reshape(len(given), -1).any(1)).tolist()
        raise ValueError(f"{what} must be known for every image (got masked ones, {_few(rows)}). Leave these out.")
    return np.asarray(given)


def places(labels: Any, classes: Any, what: str = "y") -> Ints:
    """(N,) the place of each label among the classes.

    Where a label is not among them as it is, it is the one class that is written as it is or is the same whole number
    (`"0"` and `"0.0"` are 0, `"TRUE"` is True); a class of which that may be said twice is none.

    Raises:
        ValueError: A label is not among them; it says which, and which classes no label is.
    """
    different, inverse = np.unique(np.asarray(labels), return_inverse=True)
    known, own = np.asarray(classes).tolist(), different.tolist()
    exact = {name: place for place, name in enumerate(known)}
    texts = {str(name): place for place, name in enumerate(known)}
    loose: dict[Any, list[int]] = {}
    for place, name in enumerate(known):
        loose.setdefault(_written(name), []).append(place)
    found = [exact.get(name, texts.get(str(name), _only(loose.get(_written(name))))) for name in own]
    unknown = [name for name, place in zip(own, found, strict=True) if place is None]
    if unknown:
        absent = [name for place, name in enumerate(known) if place not in found]
        said = f" Absent: {absent[:5]}." if absent else ""
        raise ValueError(f"{what} must hold labels of training (got {unknown[:5]}). Known: {known}.{said}")
    return np.array(found, dtype=np.int64)[inverse.ravel()]


def table(rows: Sequence[Sequence[Any]], classes: Any) -> Ints:
    """(N, K) of 0 and 1, from lists of labels as `named_rows` gives them.

    Raises:
        ValueError: A label is not among the classes.
    """
    found = np.zeros((len(rows), len(classes)), dtype=np.int64)
    flat = [label for labels in rows for label in labels]
    if flat:
        found[np.repeat(np.arange(len(rows)), [len(labels) for labels in rows]), places(array(flat), classes)] = 1
    return found


def by_name(given: Any, classes: Any) -> Array:
    """(N, K) of a table whose columns have names, in the order of the classes.

    Raises:
        ValueError: Its columns are not the classes, each once.
    """
    order = places(columns(given) or [], classes)
    absent = [name for place, name in enumerate(np.asarray(classes).tolist()) if place not in order]
    if absent or len(order) != len(classes):
        raise ValueError(f"y must have a column for each label, once (without {absent[:5]}). Known: {list(classes)}.")
    return plain(given)[:, np.argsort(order)]


def warn_alike(names: Iterable[Any], what: str) -> None:
    """Warn of names that differ only in case, blanks inside, or zeros in front or behind the point; none is merged."""
    spellings: dict[str, list[Any]] = {}
    for name in names:
        if isinstance(name, str):
            plain = _ZEROS.sub("", re.sub(r"\s|\.0+$", "", name.casefold()))
            spellings.setdefault(plain, []).append(name)
    twins = [sorted(own) for own in spellings.values() if len(own) > 1]
    if twins:
        more = f" ({len(twins)} such)" if len(twins) > 1 else ""
        warnings.warn(
            f"{what} {' and '.join(map(repr, twins[0][:3]))}{more} are taken as different. "
            "Write them alike where they are the same.",
            stacklevel=3,
        )


def _no_label(value: Any, what: str) -> str:
    if isinstance(value, float) and math.isfinite(value) and abs(value) < _EXACT:
        return f"{what} must hold classes (got continuous values). Pass strings or integers."
    turn = "label.decode()" if isinstance(value, bytes) else "str(label)"
    return (
        f"{what} must hold text, whole numbers of 64 bits or booleans (got {value!r}, {type(value).__name__}). "
        f"Try [{turn} for label in {what}]."
    )


def _written(name: Any) -> Any:
    """What a number, a boolean or a text says, whichever of these it is."""
    if isinstance(name, bool):
        return str(name).casefold()
    text = str(name)
    if whole := _WHOLE.fullmatch(text):
        return int(whole[1])
    return text.casefold() if text.casefold() in ("true", "false") else text


def _only(found: list[int] | None) -> int | None:
    return found[0] if found and len(found) == 1 else None


def _few(rows: list[int]) -> str:
    return f"{rows[:10]}" if len(rows) <= 10 else f"{rows[:10]} and {len(rows) - 10} more"
