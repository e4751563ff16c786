"""Help, completion, and what they cost; the pages about commands and addresses name all there are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coldchain.api import routes
from coldchain.cli.application import application

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
OF_THE_MACHINE = {"up", "down", "doctor", "store", "executor", "netd", "network doctor", "node", "gateway"}
OF_THE_MACHINE |= {"composition", "gateway doctor"}
"""Not clients of the API; they are there once some test has imported them."""
COMMANDS = sorted(typer.main.get_group(application).commands.keys() - OF_THE_MACHINE)
OFFLINE = ("init", "migrate", "replay", "validate")
AS_IT_IS = ("exec",)
"""Their output is somebody else's."""
HEAVY = ("aiohttp", "msgspec", "rich.table", "yaml", "coldchain.control", "coldchain.documents")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(application, [command, "--help"])
    assert result.exit_code == 0
    assert ("--json" in result.stdout) == (command not in AS_IT_IS)
    assert ("--url" in result.stdout) == (command not in OFFLINE)


def test_heavy_modules_are_not_imported_for_help() -> None:
    program = "import sys, coldchain.cli.application; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []


def test_the_shell_completes_commands_and_options() -> None:
    program = "from coldchain.cli.application import application; application(prog_name='coldchain')"
    for typed, expected in (("coldchain st", {"status", "story"}), ("coldchain deploy --de", {"--detach"})):
        environment = os.environ | {
            "_COLDCHAIN_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        }
        completed = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert expected <= set(completed.stdout.split()), completed


def test_the_page_of_commands_names_all() -> None:
    page = (HOWTO / "commands.md").read_text()
    assert [command for command in (*COMMANDS, *OF_THE_MACHINE) if f"coldchain {command}" not in page] == []


def test_the_page_of_the_api_names_every_address() -> None:
    page = (HOWTO / "api.md").read_text()
    for method, path, _ in routes.MARATHON + routes.OURS + routes.STREAMS:
        plain = path.replace(routes._END, "").replace(routes._BELOW, "")
        for name in (routes._APP_ALONE, routes._APP, routes._GROUP_ALONE, routes._GROUP):
            plain = plain.replace(name, "{id}")
        plain = re.sub(r"\{(?!id\}|version\})\w+\}", "{id}", plain)
        assert re.search(rf"`{re.escape(plain)}` \|[^|]*\b{method}\b", page), f"{method} {plain}"
