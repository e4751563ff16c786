"""consumer: who calls through the gateways: set, listed, deleted, and given keys."""

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

    PUT = "put"
    LIST = "list"
    SHOW = "show"
    DELETE = "delete"
    ADD_KEY = "add-key"
    REVOKE_KEY = "revoke-key"


class Use(StrEnum):
    """What a key is good for."""

    API = "api"
    HMAC = "hmac"
    JWT = "jwt"


Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the consumer.")]
KeyId = Annotated[str | None, typer.Argument(metavar="[KEY]", help="Id of one of his keys, for revoke-key.")]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="What routes may ask for instead of his name; may be repeated.")
]
UseOption = Annotated[
    Use | None, typer.Option("--use", help="api: sent along; hmac, jwt: a secret that signs requests or tokens.")
]
Expires = Annotated[str | None, typer.Option(metavar="SPAN", help="For how long the key holds, such as 12h or 30d.")]


def consumer(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="put, list, show, delete, add-key or revoke-key.")],
    name: Name = None,
    key: KeyId = None,
    group: Groups = None,
    use: UseOption = None,
    expires: Expires = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Say who calls through the gateways: put a consumer, list or delete them, give keys and revoke them.

    A key is written to standard output this once. Several hold at once, so that one can take the place of another.
    """
    if (name is None) != (action is Action.LIST):
        fail(Invalid(_("{action} needs a name, or takes none", action=action)))
    if (key is None) == (action is Action.REVOKE_KEY):
        fail(Invalid(_("revoke-key needs the id of a key; the others take none")))
    if group and action is not Action.PUT:
        fail(Invalid(_("only put takes --group")))
    if (use or expires) and action is not Action.ADD_KEY:
        fail(Invalid(_("only add-key takes --use and --expires")))
    body: dict[str, Any] = {"groups": group or []}
    if action is Action.ADD_KEY:
        body = _body(use or Use.API, expires)
    run(_consumer(Client(url), action, name or "", key or "", body, as_json=as_json))


def _body(use: Use, expires: str | None) -> dict[str, Any]:
    seconds = None if expires is None else span_seconds(expires)
    if expires is not None and seconds is None:
        fail(Invalid(_("--expires {given} is no span of time", given=repr(expires)), todo=_("Write 12h or 30d.")))
    return {"use": use.value} | ({} if seconds is None else {"expiresAfterSeconds": seconds})


async def _consumer(
    client: Client, action: Action, name: str, key: str, body: dict[str, Any], *, as_json: bool
) -> None:
    path = f"/v1/consumers/{quote(name, safe='')}"
    async with client:
        match action:
            case Action.LIST:
                found = await client.get("/v1/consumers")
            case Action.SHOW:
                found = await client.get(path)
            case Action.PUT:
                found = await client.call("PUT", path, body=body)
            case Action.ADD_KEY:
                found = await client.call("POST", f"{path}/keys", body=body)
            case Action.REVOKE_KEY:
                found = await client.call("DELETE", f"{path}/keys/{quote(key, safe='')}") or {"revoked": key}
            case Action.DELETE:
                found = await client.call("DELETE", path) or {"deleted": name}
    if as_json:
        write_json(found)
    else:
        _tell(action, name, key, found)


def _tell(action: Action, name: str, key: str, found: dict[str, Any]) -> None:
    match action:
        case Action.LIST:
            rows = [(one["name"], ", ".join(one["groups"]), str(len(one["keys"]))) for one in found["consumers"]]
            show(table((_("name"), _("groups"), _("keys")), rows))
        case Action.SHOW:
            show(table((_("key"), _("use"), _("made"), _("expires"), _("by")), map(_row, found["keys"])))
        case Action.PUT:
            say(_("consumer {name} is set", name=name))
        case Action.ADD_KEY:
            say(_("key {key} of {name}; it is not shown again:", key=found["id"], name=name))
            typer.echo(found["key"])
        case Action.REVOKE_KEY:
            say(_("key {key} of {name} is revoked", key=key, name=name))
        case Action.DELETE:
            say(_("consumer {name} is deleted", name=name))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    end = moment(one["expiresAt"]) if one["expiresAt"] else ""
    return one["id"], one["use"], moment(one["createdAt"]), _("expired") if one["expired"] else end, one["cause"]
