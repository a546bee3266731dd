"""What others wrote is text on the terminal: no markup, and nothing that the terminal obeys."""

import ast
import re

import pytest
from rich.markdown import Markdown

import zoo
from tests.conftest import ROOT
from zoo.registry import terminal

EVIL = "a\x1b[2Jb\x9bc\u202ed\x07e\u2066f[red]g[/red][/x]:smile:\ud800\r"
SHOWN = "a\\x1b[2Jb\\x9bc\\u202ed\\x07e\\u2066f[red]g[/red][/x]:smile:\\ud800\\r"


@pytest.fixture
def printed(monkeypatch, capsys):
    """What was printed since, on one wide line per line."""
    monkeypatch.setenv("COLUMNS", "500")
    return lambda: capsys.readouterr().out


def test_every_way_to_print_shows_text_as_it_is(printed):
    table = terminal.table(EVIL, "other")
    terminal.add(table, EVIL, EVIL, style="red")
    bare = terminal.table("x", bare=True)
    bare.add_row(EVIL)  # where nobody thought of it
    terminal.say(EVIL)
    assert SHOWN in printed()
    zoo.Terminal().print(EVIL, soft_wrap=True)
    assert SHOWN.replace("\\x07", "").replace("\\r", "") in printed(), "these two rich itself leaves out"
    for thing in (table, bare):
        terminal.console.print(thing)
        assert SHOWN in re.sub(r"\s", "", printed()), "it may be broken into lines"
    terminal.console.print(Markdown(EVIL))
    told = printed()
    assert not [letter for letter in told if letter != "\n" and not letter.isprintable()]


def test_a_spinner_reads_no_markup(printed):
    with terminal.busy("[/x] [red]path"):
        pass
    assert terminal.plain("[/x]\x1b").plain == "[/x]\\x1b"


def test_a_mistake_shows_what_it_quotes(printed):
    with pytest.raises(Exception) as caught, terminal.clear_errors():
        raise ValueError(f"name must be one (got {EVIL}).")
    assert caught.value.exit_code == 1
    assert SHOWN in printed()


COMMANDS = [
    *(ROOT / "fusion" / "commands").glob("*.py"),
    *(ROOT / "zoo" / "cli.py", ROOT / "hub_upload.py", ROOT / "zoo" / "registry" / "terminal.py"),
]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.name)
def test_no_command_has_a_console_that_reads_markup(path):
    """Every console of the commands is a `Terminal`, and what rich itself reads markup in is given as `Text`."""
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {ast.unparse(call.func): call for call in calls}
    assert not {"Console", "rich.print", "print", "typer.secho", "escape", "Text.from_markup"} & set(named)
    for call in calls:
        name = ast.unparse(call.func)
        if name.endswith(".status"):
            assert ast.unparse(call.args[0]).startswith("plain("), ast.unparse(call)
        if name in ("typer.echo", "sys.stdout.write"):
            assert "shown(" in ast.unparse(call), ast.unparse(call)
        if name == "TextColumn":
            assert any(word.arg == "markup" and not word.value.value for word in call.keywords), ast.unparse(call)
