"""token: who may ask the API: tokens made, listed and revoked."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from coldchain.cli.client import Client
from coldchain.cli.errors import Invalid
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import fail, moment, run, say, show, span_seconds, table, write_json


class Action(StrEnum):
    """What to do."""

    CREATE = "create"
    LIST = "list"
    REVOKE = "revoke"


class TokenRole(StrEnum):
    """What a token lets its bearer do."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    OWNER = "owner"
    ADMIN = "admin"


Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Whose: it stands in causes and in the audit.")]
Role = Annotated[
    TokenRole | None,
    typer.Option(help="viewer reads, operator changes, owner is an operator of one group, admin may do everything."),
]
Group = Annotated[str | None, typer.Option(metavar="GROUP", help="He sees and changes what is in this group alone.")]
Expires = Annotated[str | None, typer.Option(metavar="SPAN", help="For how long it holds, such as 12h or 30d.")]


def token(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="create, list or revoke.")],
    name: Name = None,
    role: Role = None,
    group: Group = None,
    expires: Expires = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Say who may ask the API: make a token for somebody, list them, or revoke one.

    From the first token on everybody is asked for one. It is written to standard output this once.
    """
    if (name is None) != (action is Action.LIST):
        fail(Invalid(_("{action} needs a name, or takes none", action=action)))
    if (role is None) != (action is not Action.CREATE):
        fail(Invalid(_("create needs --role; the others take none")))
    run(_token(Client(url), action, name or "", _body(name, role, group, expires), as_json=as_json))


def _body(name: str | None, role: TokenRole | None, group: str | None, expires: str | None) -> dict[str, Any]:
    seconds = None if expires is None else span_seconds(expires)
    if expires is not None and seconds is None:
        fail(Invalid(_("--expires {given} is no span of time", given=repr(expires)), todo=_("Write 12h or 30d.")))
    given = {"name": name, "role": role, "group": group, "expiresAfterSeconds": seconds}
    return {field: value for field, value in given.items() if value is not None}


async def _token(client: Client, action: Action, name: str, body: dict[str, Any], *, as_json: bool) -> None:
    async with client:
        if action is Action.LIST:
            found = await client.get("/v1/tokens")
        elif action is Action.CREATE:
            found = await client.call("POST", "/v1/tokens", body=body)
        else:
            found = await client.call("DELETE", f"/v1/tokens/{quote(name, safe='')}") or {"revoked": name}
    if as_json:
        write_json(found)
    elif action is Action.LIST:
        show(table((_("name"), _("role"), _("group"), _("made"), _("expires")), map(_row, found["tokens"])))
    elif action is Action.CREATE:
        say(_("the token of {name}; it is not shown again:", name=name))
        typer.echo(found["token"])
    else:
        say(_("the token of {name} is revoked", name=name))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    end = moment(one["expiresAt"]) if one["expiresAt"] else ""
    until = _("expired") if one["expired"] else end
    return one["name"], one["role"], one["group"], moment(one["createdAt"]), until
