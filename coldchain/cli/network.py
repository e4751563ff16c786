"""network: networks of containers, created, shown, removed; and whether their addresses are in order."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from coldchain.cli.client import Client
from coldchain.cli.errors import FAILED, Invalid
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Url, names_of
from coldchain.cli.output import run, say, show, table, write_json


class Action(StrEnum):
    """What to do."""

    CREATE = "create"
    LIST = "list"
    SHOW = "show"
    REMOVE = "remove"
    CHECK = "check"


NAMELESS = (Action.LIST, Action.CHECK)


def complete_network(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the networks there are, for the shell."""
    return [name for name in names_of(context, "/v1/networks", "networks", "name") if name.startswith(incomplete)]


Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="Name of the network, for create, show and remove.", autocompletion=complete_network
    ),
]
Pool = Annotated[str | None, typer.Option(metavar="POOL", help="The pool its containers get addresses from.")]
Pool6 = Annotated[str | None, typer.Option("--pool6", metavar="POOL", help="One of IPv6 besides.")]
Isolated = Annotated[bool, typer.Option("--isolated", help="Nobody outside reaches it but by a rule of the policy.")]
Repair = Annotated[bool, typer.Option("--repair", help="With check: take back what removed nodes had.")]


def network(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="create, list, show, remove or check.")],
    name: Name = None,
    pool: Pool = None,
    pool6: Pool6 = None,
    isolated: Isolated = False,
    repair: Repair = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Keep networks of containers: create one, list or show them, remove one, or check their addresses.

    check says what is wrong and who puts it right; its exit status is 1 if anything is.
    """
    given = {"name": name, "pool": pool, "pool6": pool6, "isolated": isolated or None}
    body = {field: value for field, value in given.items() if value is not None}
    run(_network(Client(url), action, name, body, repair=repair, as_json=as_json))


async def _network(
    client: Client, action: Action, name: str | None, body: dict[str, Any], *, repair: bool, as_json: bool
) -> None:
    _check(action, name, body, repair=repair)
    path = f"/v1/networks/{quote(name or '', safe='')}"
    async with client:
        match action:
            case Action.CREATE:
                found = await client.call("POST", "/v1/networks", body=body)
            case Action.LIST:
                found = await client.get("/v1/networks")
            case Action.SHOW:
                found = await client.get(path)
            case Action.REMOVE:
                found = await client.call("DELETE", path) or {"removed": name}
            case Action.CHECK:
                repaired = await client.call("POST", "/v1/network/check") if repair else {"repaired": []}
                found = repaired | await client.get("/v1/network/check")
    if as_json:
        write_json(found)
    elif action is Action.CREATE:
        say(_("network {name} is created; every machine makes it now", name=name))
    elif action is Action.LIST:
        _show_networks(found["networks"])
    elif action is Action.SHOW:
        _show_networks([found])
        _show_attachments(found["attachments"])
    elif action is Action.REMOVE:
        say(_("network {name} is removed", name=name))
    else:
        _show_findings(found)
    if action is Action.CHECK and found["findings"]:
        raise typer.Exit(FAILED)


def _check(action: Action, name: str | None, body: dict[str, Any], *, repair: bool) -> None:
    if (name is None) != (action in NAMELESS):
        raise Invalid(_("{action} needs a name, or takes none", action=action))
    if ("pool" in body) != (action is Action.CREATE):
        todo = _("`coldchain pool list` has the pools; `coldchain pool add` adds one.")
        raise Invalid(_("create needs --pool; the others take none"), todo=todo)
    if action is not Action.CREATE and body.keys() - {"name"}:
        raise Invalid(_("--pool6 and --isolated are for create"))
    if repair and action is not Action.CHECK:
        raise Invalid(_("--repair is for check"))


def _show_networks(networks: list[dict[str, Any]]) -> None:
    rows = [
        (
            one["name"],
            ", ".join(filter(None, (one["pool"], one["pool6"]))),
            _("yes") if one["isolated"] else _("no"),
            one["containers"],
        )
        for one in networks
    ]
    show(table((_("network"), _("pool"), _("isolated"), _("containers")), rows))


def _show_attachments(attachments: list[dict[str, Any]]) -> None:
    if not attachments:
        return
    rows = [
        (", ".join(filter(None, (one["address"], one["address6"]))), one["node"], one["app"], one["id"][:12])
        for one in attachments
    ]
    typer.echo()
    show(table((_("address"), _("node"), _("app"), _("attachment")), rows))


def _show_findings(found: dict[str, Any]) -> None:
    for one in found["repaired"]:
        say(_("put right: {says}", says=one["says"]))
    for one in found["findings"]:
        typer.echo(f"{one['says']}\n  {one['todo']}")
    if not found["findings"]:
        say(_("all addresses are in order"))
