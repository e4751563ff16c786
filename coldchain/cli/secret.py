"""secret: values that tasks are given at their start and nobody is shown. They never stand in a command line, which
every user of the machine can read."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coldchain.cli.client import Client
from coldchain.cli.errors import Invalid
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import moment, run, say, show, table, write_json


class Action(StrEnum):
    """What to do."""

    SET = "set"
    LIST = "list"
    DELETE = "delete"
    ROTATE = "rotate"


Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the secret, for set and delete.")]
Source = Annotated[Path | None, typer.Option("--file", help="File with the value; standard input if not given.")]


def secret(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="set, list, delete or rotate.")],
    name: Name = None,
    file: Source = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Keep secrets for apps: set one, list their names, delete one, or seal all by a new key (rotate).

    A value comes from a file or standard input.
    """
    run(_secret(Client(url), action, name, file, as_json=as_json))


async def _secret(client: Client, action: Action, name: str | None, file: Path | None, *, as_json: bool) -> None:
    if (name is None) != (action in (Action.LIST, Action.ROTATE)):
        todo = _("Name one: `coldchain secret {action} NAME`.", action=action) if name is None else ""
        raise Invalid(_("{action} needs a name, or takes none", action=action), todo=todo)
    value = _value(file) if action is Action.SET else b""
    async with client:
        if action is Action.LIST:
            found = await client.get("/v1/secrets")
        elif action is Action.ROTATE:
            found = await client.call("POST", "/v1/secrets/rotate")
        elif action is Action.SET:
            found = await client.call("PUT", f"/v1/secrets/{name}", data=value)
        else:
            found = await client.call("DELETE", f"/v1/secrets/{name}") or {"deleted": name}
    if as_json:
        write_json(found)
    elif action is Action.LIST:
        rows = [
            (one["name"], moment(one["changedAt"]), one["keyId"], ", ".join(one["usedBy"])) for one in found["secrets"]
        ]
        show(table(("secret", "changed", "key", "used by"), rows))
    elif action is Action.ROTATE:
        say(_("all secrets are sealed by a new key"))
    elif action is Action.SET:
        say(_("secret {name} is set; tasks that start from now on get it", name=name))
    else:
        say(_("secret {name} is deleted", name=name))


def _value(file: Path | None) -> bytes:
    """Without the newline at its end, which editors and `echo` put there."""
    if file is not None:
        try:
            return file.read_bytes().removesuffix(b"\n")
        except OSError as error:
            raise Invalid(_("{file} cannot be read", file=file), why=error.strerror or "") from error
    if sys.stdin.isatty():
        return str(typer.prompt(_("Value"), hide_input=True, err=True)).encode()
    return sys.stdin.buffer.read().removesuffix(b"\n")
