"""What the commands share: mistakes in one sentence, text as it is, and what they write."""

import io
import json
import shlex
from importlib.metadata import version

import numpy as np
import pytest
import typer
from rich.console import Console

import zoo
from fusion.commands import console
from fusion.evaluation import score
from fusion.report import charts, page
from tests.fusion.command import call


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("compare", "mae-mimi", "mae-mini"), "name must be a known checkpoint (got 'mae-mimi'). Nearest: mae-mini"),
        (("compare", "mae-mini", "mae-mini@2"), "depth must be a number in (0, 1] (got '2')"),
        (("compare", "mae-mini", "mae-mini", "--measure", "ckb"), "measure must be one of cka, biased-cka, cca"),
        (("compare", "mae-mini", "mae-mini", "--limit", 0), "limit must be from 1 to the images, 2142 (got 0)."),
        (("compare", "mae-mini", "mae-mini", "--limit", 3), "images and batch must be at least 4 (got 3 and 64)."),
        (("compare", "mae-mini", "mae-mini", "--split", "test"), "(got 'test'): the test brain stays closed."),
        (("compare", "mae-mini", "mae-mini", "--data", "nowhere"), "data must be a folder or a CSV (got 'nowhere'"),
        (("select", "--split", "test"), "split of brain-regions must be train or validation (got 'test')"),
        (("select", "--labels", 5000), "labels must be at most the training images, 4030 (got 5000)."),
        (("select", "mae-mini", "mae-mini@0.5", "--labels", 60), "encoders must be given once each"),
        (("select", "mae-mini@0.125", "--labels", 60, "--folds", 7), "folds must not exceed the groups"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(given, said, tmp_path, opened):
    printed = call(*given, "--output", tmp_path / "out", code=1)
    assert printed.startswith(said) or said in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()
    assert "mni152.npz" not in opened


def test_an_output_that_is_a_file_is_refused_before_the_work(tmp_path, monkeypatch):
    place = tmp_path / "out"
    place.write_text("mine")
    monkeypatch.setattr(zoo, "load", lambda *_: pytest.fail("worked before it looked"))
    for given in (("compare", "mae-mini", "mae-mini"), ("select",)):
        assert "output must be a folder (got the file" in call(*given, "--output", place, code=1)
    assert place.read_text() == "mine"


def test_an_error_with_brackets_is_printed_whole(tmp_path):
    said = call("compare", "[mae]", "mae-mini", "--output", tmp_path / "out", code=1)
    assert "(got '[mae]')" in said


@pytest.fixture
def printed(monkeypatch):
    """What the console prints, as on a terminal of 80 columns without colours."""
    stream = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=stream, width=80))
    return stream


def test_text_is_printed_as_it_is_and_not_broken(printed):
    console.say("[red]path[/red] ['mae'] " + "x" * 100)
    assert printed.getvalue() == "[red]path[/red] ['mae'] " + "x" * 100 + "\n"


@pytest.mark.parametrize("kind", [ValueError, TypeError, FileNotFoundError])
def test_a_callers_mistake_is_a_sentence_and_an_exit(kind, printed):
    with pytest.raises(typer.Exit) as caught, console.clear_errors():
        raise kind("it must be [this] (got that). Do so.")
    assert caught.value.exit_code == 1
    assert printed.getvalue() == "it must be [this] (got that). Do so.\n"


def test_a_mistake_of_ours_stays_a_traceback(printed):
    with pytest.raises(ZeroDivisionError), console.clear_errors():
        1 / 0  # noqa: B018 - the error is what is looked at
    assert printed.getvalue() == ""


def test_a_table_is_shown_with_its_names_first(printed):
    console.show(page.Table("Of [two]", ["name", "value"], [["a", "0.100"], ["longer", "1.000"]], chosen=[1]))
    lines = [line.rstrip() for line in printed.getvalue().splitlines() if line.strip()]
    assert lines[0].strip() == "Of [two]"
    assert [line.split() for line in (lines[1], *lines[-2:])] == [
        ["name", "value"],
        ["a", "0.100"],
        ["longer", "1.000"],
    ]


def test_what_was_found_is_written_as_json_where_asked_for(tmp_path):
    console.record(None, {"a": 1})
    console.record(tmp_path / "deep" / "out.json", {"a": [1.5, None]})
    assert (tmp_path / "deep" / "out.json").read_text() == '{\n  "a": [\n    1.5,\n    null\n  ]\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_an_evaluation_as_plain_values():
    y, proba = np.array(list("abab")), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    found = score.score(y, proba, ["a", "b"], resamples=20)
    told = json.loads(json.dumps(console.figures(found)))
    assert set(told) == {*found.figures, "classes", "images", "groups", "resamples"}
    assert told["classes"]["b"]["sensitivity"]["value"] == found.classes["b"].sensitivity.value == 1
    assert told["classes"]["a"]["groups"] == 2
    assert told["auc"] == {"value": found.auc.value, "low": None, "high": None}  # four images are too few
    assert (told["images"], told["groups"], told["resamples"]) == (4, 4, 20)


def test_the_command_that_made_a_page_can_be_given_to_a_shell():
    line = console.command_line("select", ["a@1", "b c"], {"data": "my images/x.csv", "split": None, "labels": 60})
    assert line == "fusion select a@1 'b c' --data 'my images/x.csv' --labels 60"
    assert shlex.split(line)[-3:] == ["my images/x.csv", "--labels", "60"]


def test_a_report_is_its_page_its_table_and_every_picture_twice(tmp_path):
    figure = charts.agreement_matrix(["a", "b"], np.eye(2))
    console.write_report(tmp_path / "out", "<p>", {"map": figure}, ("values.csv", "a,b\n"))
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sorted(made) == ["map.png", "map.svg", "report.html", "values.csv"]
    assert (made["report.html"], made["values.csv"], made["map.png"][1:4]) == (b"<p>", b"a,b\n", b"PNG")


def test_a_folder_is_a_place_for_results_and_so_is_nothing(tmp_path):
    console.check_folder(tmp_path)
    console.check_folder(tmp_path / "not" / "yet")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"output must be a folder \(got the file .*file'\)\. Try --output another\."):
        console.check_folder(tmp_path / "file")


EVIL = "a\x1b[2Jb\x9b\u202e[red]c[/red][/x]"
SHOWN = "a\\x1b[2Jb\\x9b\\u202e[red]c[/red][/x]"


@pytest.mark.parametrize("made", [zoo.Terminal, lambda: Console(width=200)])
def test_what_others_wrote_is_text_whoever_prints_it(made, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(console, "console", made())
    console.say(EVIL, style="red")
    console.show(page.Table(EVIL, ["name", EVIL], [[EVIL, EVIL]], chosen=[0]))
    with console.busy(EVIL), pytest.raises(typer.Exit), console.clear_errors():
        raise ValueError(f"label must be known (got {EVIL})")
    told = capsys.readouterr().out
    assert told.count(SHOWN) == 6
    assert not [letter for letter in told if letter != "\n" and not letter.isprintable()]


@pytest.mark.parametrize("command", ["predict", "evaluate", "fit", "compare", "select", "study run", "study status"])
def test_every_command_shows_the_names_that_it_is_given(command, tmp_path):
    """A file, a name or a folder with control characters and brackets: one sentence, and none of them obeyed."""
    given = {
        "predict": (EVIL, EVIL),
        "evaluate": (EVIL, EVIL),
        "fit": (EVIL, tmp_path / "m"),
        "compare": (EVIL, EVIL),
    }
    said = call(*command.split(), *given.get(command, (EVIL,)), code=1)
    assert "\\x1b" in said
    assert not [letter for letter in said if not letter.isprintable()]


def test_the_version_is_told():
    assert call("--version") == f"sslzoo {version('sslzoo')}"
