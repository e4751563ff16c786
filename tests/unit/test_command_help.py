"""`--help` of the commands of the machine: rich draws it, for which words in brackets can be marks."""

import pytest
from typer.testing import CliRunner

from coldchain.main.command import application

COMMANDS = [
    "up",
    "down",
    "doctor",
    "store",
    "executor",
    "netd",
    "network doctor",
    "gateway",
    "gateway doctor",
    "composition",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_machine_explains_itself(command: str) -> None:
    result = CliRunner().invoke(application, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output
