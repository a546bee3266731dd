"""A command called as a shell would, in this process."""

from typer.testing import CliRunner

RUN = CliRunner()


def call(app, *arguments, code=0):
    result = RUN.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())
