"""pool: the addresses that containers get: pools added, shown, disabled, removed."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from coldchain.cli.client import Client
from coldchain.cli.errors import Invalid
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Url, names_of
from coldchain.cli.output import run, say, show, table, write_json


class Action(StrEnum):
    """What to do."""

    ADD = "add"
    LIST = "list"
    SHOW = "show"
    DISABLE = "disable"
    ENABLE = "enable"
    REMOVE = "remove"


def complete_pool(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the pools there are, for the shell."""
    return [name for name in names_of(context, "/v1/pools", "pools", "name") if name.startswith(incomplete)]


Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Name of the pool, for all but list.", autocompletion=complete_pool),
]
Cidr = Annotated[
    str | None, typer.Argument(metavar="[CIDR]", help="Its addresses, for add, such as 10.200.0.0/16 or fd00:200::/64.")
]
BlockLength = Annotated[
    int | None,
    typer.Option(help="Length of the blocks that nodes take. [default: 26, 122 for IPv6]", show_default=False),
]
NatOutgoing = Annotated[
    bool,
    typer.Option("--nat-outgoing", help="What leaves for outside all pools and nodes has the machine's own address."),
]


def pool(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="add, list, show, disable, enable or remove.")],
    name: Name = None,
    cidr: Cidr = None,
    block_length: BlockLength = None,
    nat_outgoing: NatOutgoing = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Keep pools of addresses for containers: add one, list or show them, disable one (no new address is given from
    it), enable it again, or remove it."""
    given = {"name": name, "cidr": cidr, "blockLength": block_length, "natOutgoing": nat_outgoing or None}
    body = {field: value for field, value in given.items() if value is not None}
    run(_pool(Client(url), action, name, body, as_json=as_json))


async def _pool(client: Client, action: Action, name: str | None, body: dict[str, Any], *, as_json: bool) -> None:
    _check(action, name, body)
    path = f"/v1/pools/{quote(name or '', safe='')}"
    async with client:
        match action:
            case Action.ADD:
                found = await client.call("POST", "/v1/pools", body=body)
            case Action.LIST:
                found = await client.get("/v1/pools")
            case Action.SHOW:
                found = await client.get(path)
            case Action.REMOVE:
                found = await client.call("DELETE", path) or {"removed": name}
            case _:
                found = await client.call("PATCH", path, body={"disabled": action is Action.DISABLE})
    if as_json:
        write_json(found)
    elif action is Action.LIST:
        _show_pools(found["pools"])
    elif action is Action.SHOW:
        _show_pools([found])
        _show_blocks(found["nodeBlocks"])
    elif action is Action.ADD:
        say(_("pool {name} is added: {cidr}", name=name, cidr=found["cidr"]))
    elif action is Action.REMOVE:
        say(_("pool {name} is removed", name=name))
    elif action is Action.DISABLE:
        say(_("pool {name} is disabled: no new address is given from it, those given stay", name=name))
    else:
        say(_("pool {name} is enabled", name=name))


def _check(action: Action, name: str | None, body: dict[str, Any]) -> None:
    if (name is None) != (action is Action.LIST):
        raise Invalid(_("{action} needs a name, or takes none", action=action))
    if ("cidr" in body) != (action is Action.ADD):
        todo = _("Write it as `coldchain pool add {name} 10.200.0.0/16`.", name=name)
        raise Invalid(_("add needs addresses, and the others take none"), todo=todo)
    if action is not Action.ADD and body.keys() - {"name"}:
        raise Invalid(_("--block-length and --nat-outgoing are for add"))


def _show_pools(pools: list[dict[str, Any]]) -> None:
    rows = [
        (
            one["name"],
            one["cidr"],
            _of(one["given"], one["addresses"]),
            _of(one["blocks"]["used"], one["blocks"]["whole"]),
            f"/{one['blockLength']}",
            _("yes") if one["natOutgoing"] else _("no"),
            ", ".join(one["networks"]),
            _("disabled") if one["disabled"] else _("in use"),
        )
        for one in pools
    ]
    heads = (_("pool"), "cidr", _("given"), _("blocks"), _("block length"), "nat", _("networks"), _("state"))
    show(table(heads, rows))


def _show_blocks(blocks: list[dict[str, Any]]) -> None:
    if not blocks:
        return
    rows = [
        (one["cidr"], one["node"] or _("removed"), one["given"], one["held"], one["borrowed"], one["resting"])
        for one in blocks
    ]
    typer.echo()
    show(table((_("block"), _("node"), _("given"), _("held"), _("borrowed"), _("resting")), rows))


def _of(part: int, whole: int | None) -> str:
    """A pool of IPv6 has more than anybody counts."""
    return f"{part}/{whole}" if whole is not None else f"{part}/-"
