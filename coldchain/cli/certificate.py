"""certificate: what the gateways show consumers over TLS."""

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


Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the certificate, for set and delete.")]
Chain = Annotated[
    Path | None, typer.Option("--certificate", help="File (PEM) with the certificate and those that signed it.")
]
Key = Annotated[Path | None, typer.Option("--key", help="File (PEM) with its key, if not in that of --certificate.")]
Default = Annotated[bool, typer.Option("--default", help="Show it to whoever asks for no domain that has one.")]


def certificate(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="set, list or delete.")],
    name: Name = None,
    chain: Chain = None,
    key: Key = None,
    default: Default = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Keep the certificates that the gateways show over TLS: set one, list them, delete one.

    A change is in force at once, without a restart; connections that are open go on.
    """
    run(_certificate(Client(url), action, name, (chain, key), default=default, as_json=as_json))


async def _certificate(
    client: Client,
    action: Action,
    name: str | None,
    files: tuple[Path | None, Path | None],
    *,
    default: bool,
    as_json: bool,
) -> None:
    if (name is None) != (action is Action.LIST):
        todo = _("Name one: `coldchain certificate {action} NAME`.", action=action) if name is None else ""
        raise Invalid(_("{action} needs a name, or takes none", action=action), todo=todo)
    text = _text(files) if action is Action.SET else b""
    async with client:
        if action is Action.LIST:
            found = await client.get("/v1/certificates")
        elif action is Action.SET:
            query = "?default=true" if default else ""
            found = await client.call("PUT", f"/v1/certificates/{name}{query}", data=text)
        else:
            found = await client.call("DELETE", f"/v1/certificates/{name}") or {"deleted": name}
    if as_json:
        write_json(found)
    elif action is Action.LIST:
        rows = [
            (one["name"], moment(one["notAfter"]), "*" if one["default"] else "", ", ".join(one["domains"]))
            for one in found["certificates"]
        ]
        show(table(("certificate", "good until", "default", "domains"), rows))
    elif action is Action.SET:
        say(
            _(
                "certificate {name} is shown for {domains}, until {moment}",
                name=name,
                domains=", ".join(found["domains"]),
                moment=moment(found["notAfter"]),
            )
        )
    else:
        say(_("certificate {name} is deleted", name=name))


def _text(files: tuple[Path | None, Path | None]) -> bytes:
    if files[0] is None:
        todo = _("Name its file with --certificate, that of its key with --key.")
        raise Invalid(_("no certificate is given"), todo=todo)
    found = []
    for file in files:
        try:
            found.append(file.read_bytes() if file is not None else b"")
        except OSError as error:
            raise Invalid(_("{file} cannot be read", file=file), why=error.strerror or "") from error
    return b"\n".join(found)
