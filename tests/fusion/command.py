"""The command `fusion`, called as a user calls it."""

from typer.testing import CliRunner

import fusion.commands

RUN = CliRunner()


def call(*arguments, code=0):
    """What it printed, in one line; `code` is how it must end."""
    result = RUN.invoke(fusion.commands.app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())
