"""Tables as spreadsheets, R and pandas write them."""

import csv
import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from fusion.data import files, tables
from tests.fusion.data.small_tables import picture

PLAIN = [("cat/0.png", "cat", "p0"), ("cat/1.png", "cat", "p1"), ("dog/0.png", "dog", "p2"), ("dog/1.png", "dog", "p3")]


def written(folder, text, encoding="utf-8"):
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def body(separator=",", end="\n", head="path,label,patient", quote=""):
    rows = [head.split(","), *PLAIN]
    return "".join(separator.join(f"{quote}{cell}{quote}" for cell in row) + end for row in rows)


DIALECTS = {
    "plain": body(),
    "semicolons, as Excel writes them in half of Europe": body(";"),
    "tabs": body("\t"),
    "bars": body("|"),
    "bars with blanks, and an empty row": "|||\n" + body(" | "),
    "bars around every line, as in Markdown": "".join(f"|{line}|\n" for line in body("|").splitlines()),
    "a hint of bars": "sep=|\n" + body("|"),
    "a byte order mark": b"\xef\xbb\xbf" + body().encode(),
    "Excel's Unicode text": body("\t").encode("utf-16"),
    "UTF-16, the other way round": b"\xfe\xff" + body(";").encode("utf-16-be"),
    "a hint of Excel to itself": "sep=;\r\n" + body(";", "\r\n"),
    "Windows' line ends": body(end="\r\n"),
    "old Macs' line ends": body(end="\r"),
    "every cell in quotes": body(quote='"'),
    "empty rows at the end": body() + ",,\n,,\n\n",
    "an empty row in the middle": body().replace("cat/1", "\n,,\ncat/1"),
    "separators at the end of every line": body(end=",\n"),
    "and of the rows alone": body(end=",\n").replace("patient,", "patient"),
    "other cases in the header": body(head="Path,LABEL, Patient "),
    "blanks around cells": body().replace(",", " , "),
    "blanks before quotes": body(quote='"').replace(",", ", "),
    "blanks that nobody sees": body().replace(",", "\u00a0,\u200b"),
    "pandas' index": "".join(f"{'' if i == 0 else i - 1},{line}\n" for i, line in enumerate(body().splitlines())),
    "pandas' index, read and written again": "".join(
        f"{'Unnamed: 0' if i == 0 else i - 1},{line}\n" for i, line in enumerate(body().splitlines())
    ),
    "R's row names": "".join(f'"{i or ""}",{line}\n' for i, line in enumerate(body(quote='"').splitlines())),
    "R's row names without a header": "".join(
        (f'"{i}",' if i else "") + line + "\n" for i, line in enumerate(body(quote='"').splitlines())
    ),
    "a line break inside quotes": body(head="path,label,patient,note")
    .replace("p0", 'p0,"two\nlines"')
    .replace("p1", "p1,"),
    "more columns, in another order": "\n".join(
        ["age,label,patient,path", *(f"7,{label},{patient},{path}" for path, label, patient in PLAIN)]
    ),
    "Windows' slashes": body().replace("/", "\\"),
    "a dot and a slash": body().replace("cat/", "./cat/"),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_dialects(folder, name):
    found = files.read(written(folder, DIALECTS[name]))
    assert found.labels.tolist() == ["cat", "cat", "dog", "dog"]
    assert found.groups.tolist() == ["p0", "p1", "p2", "p3"]
    assert [path.relative_to(folder).as_posix() for path in found.paths] == [path for path, _, _ in PLAIN]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (body().replace("cat,p1", "NA,p1"), r"filled column 'label' \(got 'NA' in line 3\)\. Fill it in"),
        (body().replace("p2", "  "), r"filled column 'patient' \(got '' in line 4\)"),
        (body().replace("p2", "#N/A"), r"filled column 'patient' \(got '#N/A' in line 4\)"),
        (body().replace("cat/1.png", "nan"), r"filled column 'path' \(got 'nan' in line 3\)"),
        (body().replace("cat,p1", ",p1").replace("dog,p2", "null,p2"), r"'label' \(got '' in line 3, 4\)"),
        (
            "\n".join(body().splitlines()[1:]),
            r"filled column 'path' \(got columns \['cat/0.png', 'cat', 'p0'\]\)\. Name it",
        ),
        (body(head="path,label,Label"), r"must have one column 'label' \(got columns \[2, 3\]\)\. Rename"),
        (body().replace("cat,p1", "a cat, black,p1"), r"line 3: a row must have 3 cells \(got 4\)\. Put a cell"),
        (
            body().replace("cat/1.png,cat,p1", "cat/1.png"),
            r"line 3: a row must have 3 cells \(got 1, without 'label'\)",
        ),
        (
            body().replace("cat,p1", '"cat,p1'),
            r"unexpected end of data, in the row that begins in line 3\)\. Close every",
        ),
        (
            body().replace("cat,p1", "\u00e4,p1").encode("latin-1"),
            r"line 3 holds the byte 0xe4, as Excel's plain CSV does",
        ),
        (body().replace("p2", "1.23457E+12"), r"all digits in its column 'patient' \(got '1.23457E\+12' in line 4"),
        (
            body(";").replace("p1", " 1,5E+09 ").replace("p3", "1E+05"),
            r"'patient' \(got '1,5E\+09' in line 3, 5, and others may read the same\)\. Format the column as Text",
        ),
        (body().replace("dog,", "2.5E+14,"), r"all digits in its column 'label' \(got '2.5E\+14' in line 4, 5"),
        (body().replace("cat,p1", "cat\0,p1").encode("utf-16"), r"line 3 holds a zero character\)\. Remove it"),
        (body().encode("utf-16-le"), r"it holds zero bytes\)\. Save it as CSV UTF-8"),
        (b"PK\x03\x04" + bytes(30), r"it is a workbook\)\. Save it from the spreadsheet as CSV UTF-8"),
        ("a" * 200_000 + "\n", r"field larger than field limit"),
        ("", r"must hold rows \(got none\)"),
        (",,,\n;;\n\n", r"must hold rows \(got none\)"),
        (body().replace("cat,p0", "a|NA,p0"), r"names between bars \(got \['a', 'NA'\] in line 2\)"),
        (
            body().replace("cat,p0", "a|b,p0").replace("cat/1.png,cat,p1", "cat/1.png"),
            r"line 3: a row must have 3 cells",
        ),
        (body().replace("cat/", "C:\\data\\cat\\"), r"images must be readable \(2 of 4 are not"),
    ],
)
def test_what_cannot_be_read_is_said_by_line(folder, text, message):
    with pytest.raises(ValueError, match=message):
        files.read(written(folder, text))


def test_a_missing_label_is_none_of_several_only_where_nothing_is_written(folder):
    found = files.read(
        written(folder, body().replace("cat,p0", "a|b,p0").replace("cat,p1", ",p1").replace("dog,", "a,"))
    )
    assert found.named()[:2] == [["a", "b"], []]
    single = files.read(written(folder, body().replace("cat,p1", ",p1")), several=True)
    assert (single.names, single.named()) == (["cat", "dog"], [["cat"], [], ["dog"], ["dog"]])


@pytest.mark.parametrize("name", ["patient_id", "PatientID", "Subject", "fold", "set", "Partition"])
def test_columns_that_are_not_read_though_they_matter_are_told(folder, name):
    text = body(head=f"path,label,{name}")
    with pytest.warns(UserWarning, match=f"the column '{name}' is not read"):
        files.read(written(folder, text))


def test_bars_between_columns_leave_those_between_labels(folder):
    several = body("|").replace("cat|p0", '"cat|dog"|p0')
    assert files.read(written(folder, several)).named() == [["cat", "dog"], ["cat"], ["dog"], ["dog"]]
    assert files.read(written(folder, body().replace("cat,p0", "cat|dog,p0"))).names == ["cat", "dog"]


def test_a_class_may_be_called_by_a_small_power(folder):
    assert files.read(written(folder, body().replace("cat,", "1E+05,"))).classes == ["1E+05", "dog"]


@pytest.mark.parametrize(("column", "said"), [("patient", "a patient of its own"), ("split", "no image is kept apart")])
def test_an_empty_column_of_patients_or_splits_is_told(folder, column, said):
    text = body(head=f"path,label,{column}")
    for row in ("p0", "p1", "p2", "p3"):
        text = text.replace(row, " ")
    with pytest.warns(UserWarning, match=f"the column '{column}' is empty, so .*{said}.* Fill it in"):
        assert files.read(written(folder, text)).groups is None


def test_splits_by_any_of_their_names(folder):
    names = ["Train", " training", "VAL", "test"]
    lines = [f"{line},{name}" for line, name in zip(body().splitlines()[1:], names, strict=True)]
    path = written(folder, "\n".join(["path,label,patient,split", *lines]))
    assert files.names_splits(path) == ["train", "validation", "test"]
    assert files.read(path, split="train").groups.tolist() == ["p0", "p1"]
    assert (
        files.read(path, split="validation").groups.tolist() == files.read(path, split="val").groups.tolist() == ["p2"]
    )
    assert files.names_splits(written(folder, body())) == []


CELLS = some.text(some.characters(blacklist_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), max_size=8).map(str.strip)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=some.lists(some.tuples(CELLS, some.one_of(some.just("NA"), CELLS)), min_size=1, max_size=6),
    separator=some.sampled_from(",;\t"),
    end=some.sampled_from(["\n", "\r\n", "\r"]),
    quoting=some.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=some.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    index=some.booleans(),
    blank=some.integers(0, 2),
)
def test_whatever_is_written_is_read_back_or_refused(tmp_path, rows, separator, end, quoting, encoding, index, blank):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, lineterminator=end, quoting=quoting)
    for number, (path, label) in enumerate([("path", "label"), *rows]):
        writer.writerow([*([number] if index and number else [""] * index), path, label])
    source = written(tmp_path, stream.getvalue() + (separator * (1 + index) + end) * blank, encoding)
    found, header = tables.read(source)
    kept = [[tables.labels.clean(cell) for cell in row] for row in rows]
    assert [[row.get("path"), row.get("label")] for row in found] == [row for row in kept if any(row)]
    assert [name for name in header if name] == ["path", "label"]
    missing = [row for row in found if tables.labels.missing(row.get("label"))]
    if missing:
        with pytest.raises(ValueError, match=rf"filled column 'label' .* in line {missing[0].line}"):
            tables.fill(source, found, "label", header)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.one_of(some.binary(max_size=200), some.binary(max_size=60).map(lambda more: b"path,label\n" + more)))
def test_any_bytes_are_rows_or_a_sentence(tmp_path, data):
    source = written(tmp_path, data)
    try:
        rows, _ = tables.read(source)
    except ValueError as error:
        rows, said = [], str(error)
        if "data.csv" not in said:
            raise
    assert all(row.line >= 1 for row in rows)


def test_a_path_of_windows_leads_to_a_slice_too(folder):
    (folder / "cat" / "brain.nii.gz").write_bytes(b"volume")
    assert tables.located(folder / "x.csv", "cat\\brain.nii.gz:4") == folder / "cat/brain.nii.gz:4"
    picture(3).save(folder / "odd\\name.png")
    assert tables.located(folder / "x.csv", "odd\\name.png") == folder / "odd\\name.png"
    assert np.array_equal(tables.located(folder / "x.csv", "no\\where.png"), folder / "no\\where.png")


def test_columns_are_called_as_told(tmp_path):
    source = tmp_path / "some.csv"
    source.write_text("Path;file;Case\na;b;c\n")
    rows, header = tables.read(source, {"path": "FILE", "patient": " case "})
    assert (rows[0].get("path"), rows[0].get("patient"), header) == ("b", "c", ["Path (not read)", "path", "patient"])
    with pytest.raises(ValueError, match=r"must have one column 'files', for path \(got columns \['Path', 'file'"):
        tables.read(source, {"path": "files"})
