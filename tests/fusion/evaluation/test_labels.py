"""The door for labels: what is missing, what is a label, and which class it says."""

import datetime
import decimal
import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

import fusion
from fusion.data import labels as targets
from fusion.evaluation import labels, score, units

NAN = float("nan")
WORDS = ["", "  ", "nan", "NaN", "NA", "n/a", "#N/A", "<NA>", "NaT", "None", "none", "NULL", "null", "-", "?", "\u00a0"]
SPELLINGS = [None, NAN, np.float32("nan"), np.float64("nan"), np.datetime64("NaT"), np.ma.masked, *WORDS]


class NAType:
    """As pandas' NA: whatever is asked of it is not known."""

    def __eq__(self, other):
        return self

    def __ne__(self, other):
        return self

    __hash__ = object.__hash__

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


def table(columns):
    """What is used of a pandas DataFrame."""
    frame = types.SimpleNamespace(
        columns=list(columns), ndim=2, shape=(len(next(iter(columns.values()))), len(columns))
    )

    class Frame:
        def __array__(self, dtype=None, copy=None):
            return np.stack([np.asarray(values) for values in columns.values()], axis=1)

        def __len__(self):
            return frame.shape[0]

        columns, ndim, shape = frame.columns, frame.ndim, frame.shape

    Frame.columns = list(columns)
    return Frame()


@pytest.mark.parametrize("unknown", [*SPELLINGS, NAType()], ids=lambda value: f"{type(value).__name__}-{value!s:.6}")
def test_missing_by_every_spelling_at_every_entry(unknown):
    y = ["a", "b", unknown, "a", "b", "b"]
    proba = np.full((6, 2), 0.5)
    one, other = ["a", "b", "a", "a", "b", "b"], ["a", "b", "b", "a", "b", "b"]
    entries = [
        lambda: targets.read(y, 6),
        lambda: targets.numbered(y, 6, np.array(["a", "b"]), multilabel=False),
        lambda: score.score(y, proba, ["a", "b"]),
        lambda: fusion.scan(["mocov2-mini@0.25"], np.zeros((6, 8, 8), np.uint8), y),
    ]
    for entry in entries:
        with pytest.raises(ValueError, match=r"y must be known for every image \(got none for images \[2\]\)"):
            entry()
    for arguments in ((y, one, other), (one, y, other), (one, other, y)):
        with pytest.raises(ValueError, match="must hold labels"):
            fusion.agreement(*arguments)
    lists = [["a"], ["a", "b"], [], ["b", unknown], ["b"], []]
    with pytest.raises(ValueError, match=r"missing label for images \[3\]"):
        targets.read(lists, 6)


@pytest.mark.parametrize(
    "y",
    [
        np.array(["a", "b", "nan"]),
        np.array([0, 1, np.nan]),
        np.array(["a", "b", None], object),
        np.ma.array([0, 1, 1], mask=[0, 0, 1]),
        np.ma.array(["a", "b", "b"], mask=[0, 0, 1]),
    ],
)
def test_missing_in_arrays(y):
    with pytest.raises(ValueError, match=r"none for images \[2\]"):
        targets.read(y, 3)


def test_missing_in_what_pandas_reads():
    pandas = pytest.importorskip("pandas")
    for y in (
        pandas.Series(["a", "b", None]),
        pandas.Series([1, 0, None], dtype="Int64"),
        pandas.Series([True, False, None], dtype="boolean"),
        pandas.Categorical(["a", "b", None]),
        pandas.Series(["a", "b", pandas.NA], dtype="string"),
        pandas.Series(pandas.to_datetime(["2020-01-01", "2020-01-02", None])),
    ):
        with pytest.raises(ValueError, match=r"none for images \[2\]"):
            targets.read(y, 3)
    assert targets.read(pandas.Series([3, 1, 3], index=[9, 8, 7], dtype="Int64"), 3).classes.tolist() == [1, 3]


@pytest.mark.parametrize(
    "y",
    [
        [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
        np.array(["2020-01-01", "2020-01-02"], "M8[ns]"),
        np.array([1, 2], "m8[s]"),
        [b"a", b"b"],
        np.array([b"a", b"b"]),
        [1 + 1j, 2],
        [decimal.Decimal(1), decimal.Decimal(2)],
        [2**64, 1],
        np.array([2**63, 1], np.uint64),
        [float("inf"), 1.0],
        [float(2**60), 1.0],
        [object(), object()],
        [{"a": 1}, {"b": 2}],
    ],
)
def test_labels_that_no_saved_model_could_hold_are_refused_at_fit(y):
    with pytest.raises(ValueError, match=r"y must hold text, whole numbers of 64 bits or booleans \(got .*\)\. Try \["):
        targets.read(y, 2)


@pytest.mark.parametrize("y", [[b"a", b"b", b"a"], [datetime.date(2020, 1, 1 + i % 2) for i in range(3)], [1, "a", 1]])
def test_the_advice_of_the_text_works(y):
    with pytest.raises(ValueError, match="Try") as caught:
        targets.read(y, 3)
    advice = str(caught.value).partition("Try ")[2].rstrip(".")
    assert len(targets.read(eval(advice, {"y": y}), 3).classes) == 2


def test_kinds_are_not_mixed():
    for y in ([1, "1"], [True, "True"], [True, 2], np.array([1, "1"], object)):
        with pytest.raises(ValueError, match="y must be of one kind"):
            targets.read(y, 2)


def test_blanks_around_a_label_are_no_part_of_it():
    found = targets.read(["a", " a", "b\u200b", "b\u00a0", "\tb"], 5)
    assert (found.classes.tolist(), found.numbers.tolist()) == (["a", "b"], [0, 0, 1, 1, 1])
    composed = targets.read(["\u00e9", "e\u0301", "b"], 3)
    assert len(composed.classes) == 2


def test_classes_that_differ_in_case_are_told():
    with pytest.warns(UserWarning, match=r"classes 'Benign' and 'benign' are taken as different"):
        assert len(targets.read(["benign", "Benign", "x"], 3).classes) == 3


@pytest.mark.parametrize(
    ("given", "classes", "places"),
    [
        (["0", "1"], [0, 1], [0, 1]),
        (["1.0", "0.0"], [0, 1], [1, 0]),
        ([1, 0], ["0", "1"], [1, 0]),
        ([1.0, 0.0], ["0", "1"], [1, 0]),
        (["TRUE", "false"], [False, True], [1, 0]),
        ([1, 0], [False, True], [1, 0]),
        ([1], ["1.0", "1"], [1]),
        (["b", "a"], ["b", "a"], [0, 1]),
        ([-1, 1], ["-1", "1"], [0, 1]),
    ],
)
def test_what_says_the_same_is_the_same_class(given, classes, places):
    assert labels.places(labels.column(given), np.array(classes)).tolist() == places


@pytest.mark.parametrize(
    ("given", "classes", "known"),
    [
        (["01"], [0, 1], r"\[0, 1\]"),
        (["1"], ["1.0", "1.00"], r"\['1\.0', '1\.00'\]"),  # which of the two?
        (["yes"], [False, True], r"\[False, True\]"),
        (["A"], ["a", "b"], r"\['a', 'b'\]"),
    ],
)
def test_what_may_say_something_else_is_no_class(given, classes, known):
    with pytest.raises(ValueError, match=rf"y must hold labels of training \(got .*\)\. Known: {known}\. Absent"):
        labels.places(labels.column(given), np.array(classes))


def test_a_model_of_integers_is_judged_by_text_and_the_other_way():
    proba = np.random.default_rng(0).dirichlet([1, 1], 12)
    y = np.arange(12) % 2
    whole = score.score(y, proba, [0, 1])
    for same in (y.astype(str), y.astype(float), y.astype(bool), [f"{label}.0" for label in y]):
        assert score.score(same, proba, [0, 1]) == whole
    assert score.score(y, proba, ["0", "1"]) == whole


def test_columns_with_names_are_classes_in_any_order():
    y = {"mass": [1, 0, 1, 0], "edema": [0, 0, 1, 1]}
    known = targets.read(table(y), 4)
    assert known.classes.tolist() == ["mass", "edema"]
    turned = table({name: y[name] for name in ("edema", "mass")})
    assert targets.numbered(turned, 4, known.classes, multilabel=True).tolist() == known.numbers.tolist()
    for columns, message in (
        ({**y, "nodule": [0, 1, 0, 1]}, r"got \['nodule'\]"),
        ({"mass": y["mass"]}, r"without \['edema'\]"),
        ({"mass": y["mass"], "nodule": y["edema"]}, r"got \['nodule'\].*Absent: \['edema'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            score.score(table(columns), np.full((4, 2), 0.5), known.classes)


@given(
    column=some.lists(
        some.one_of(
            some.sampled_from(["a", "b", " a ", "c\t"]),
            some.integers(-3, 3),
            some.booleans(),
            some.sampled_from(SPELLINGS),
        ),
        min_size=2,
        max_size=12,
    )
)
def test_a_column_is_read_right_or_refused_in_a_sentence(column):
    """Whatever is in it: every label of the result is one that was given, and nothing missing is a class."""
    try:
        found = targets.read(column, len(column))
    except ValueError as error:
        refused = str(error)
    else:
        refused = None
    if refused is not None:
        assert refused.startswith("y must")
        return
    said = [value.strip() if isinstance(value, str) else value for value in column]
    assert found.classes[found.numbers].tolist() == said
    assert not any(map(labels.missing, said))
    assert len({type(value) for value in said}) == 1


def test_the_door_loads_no_torch():
    assert "torch" not in vars(sys.modules["fusion.evaluation.labels"])


def test_columns_that_are_called_by_numbers_are_classes_in_any_order():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (40, 3))
    columns = {3: truth[:, 0], 1: truth[:, 1], 2: truth[:, 2]}
    assert labels.columns(table(columns)) == [3, 1, 2]
    assert (labels.by_name(table(columns), np.array([1, 2, 3])) == truth[:, [1, 2, 0]]).all()
    assert labels.columns(table({0: truth[:, 0], 1: truth[:, 1]})) is None  # places, not names
    with pytest.raises(ValueError, match="columns of y must be called by text or by whole numbers"):
        labels.columns(table({"a": truth[:, 0], 1: truth[:, 1]}))


def test_what_is_masked_of_a_table_is_missing():
    y = np.ma.array(np.eye(2, dtype=int)[np.arange(8) % 2], mask=np.zeros((8, 2), bool))
    assert (labels.plain(y) == y.data).all()
    y.mask[3, 1] = True
    proba = np.full((8, 2), 0.5)
    for read in (lambda: targets.read(y, 8), lambda: score.score(y, proba, ["a", "b"])):
        with pytest.raises(ValueError, match=r"y must be known for every image \(got masked ones, \[3\]\)"):
            read()


@pytest.mark.parametrize("twin", ["a\0", "a\0\0", "\0a", "a\0b"])
def test_zero_characters_are_refused_wherever_text_comes_in(twin):
    assert np.array(["a\0"])[0] == "a"  # why
    y = ["a", "b", twin, "a", "b", "a"]
    proba = np.full((6, 2), 0.5)
    for entry in (
        lambda: targets.read(y, 6),
        lambda: targets.read([[label] for label in y], 6),
        lambda: targets.read(np.array(y, dtype=object), 6),
        lambda: score.score(y, proba, ["a", "b"]),
        lambda: fusion.agreement(y, y, y),
        lambda: units.ids(y),
        lambda: units.digests(proba, y),
        lambda: targets.read(table({"a": [0, 1], twin: [1, 0]}), 2),
    ):
        with pytest.raises(ValueError, match=r"labels and ids must hold no zero characters \(got '.*x00.*Write them"):
            entry()
