"""routing: how routes of the container network are spread, and with which routers of the data centre."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from coldchain.cli.client import Client
from coldchain.cli.errors import Invalid
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import fail, run, say, show, table, write_json


class Action(StrEnum):
    """What to do."""

    SHOW = "show"
    SET = "set"
    ADD_PEER = "add-peer"
    REMOVE_PEER = "remove-peer"


class Encapsulation(StrEnum):
    """How packets get from one segment into another."""

    NEVER = "never"
    CROSS_SUBNET = "cross-subnet"


Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the peer, for add-peer and remove-peer.")]
System = Annotated[
    int | None, typer.Option("--autonomous-system", metavar="NUMBER", help="Of the nodes, or of the peer.")
]
MeshMax = Annotated[
    int | None,
    typer.Option("--mesh-nodes-max", metavar="N", help="With more nodes than that reflectors pass routes on."),
]
Hold = Annotated[
    int | None, typer.Option("--hold-seconds", metavar="N", help="After so much silence a session has ended.")
]
Bfd = Annotated[bool | None, typer.Option("--bfd/--no-bfd", help="Notice within a second whom no packet reaches.")]
Interval = Annotated[
    int | None, typer.Option("--bfd-interval-ms", metavar="N", help="How often that is looked at; three may be lost.")
]
Capsule = Annotated[
    Encapsulation | None,
    typer.Option("--encapsulation", help="cross-subnet: a tunnel past routers that know no containers."),
]
Address = Annotated[
    str | None, typer.Option("--address", metavar="ADDRESS", help="Of the peer, in the nodes' segment.")
]
PeerNodes = Annotated[
    list[str] | None,
    typer.Option("--node", metavar="NAME", help="Who speaks with it; all of its segment if not given."),
]
Secret = Annotated[
    str | None, typer.Option("--secret", metavar="NAME", help="The secret that is the password of the session.")
]


def routing(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="show, set, add-peer or remove-peer.")],
    name: Name = None,
    autonomous_system: System = None,
    mesh_nodes_max: MeshMax = None,
    hold_seconds: Hold = None,
    bfd: Bfd = None,
    bfd_interval_ms: Interval = None,
    encapsulation: Capsule = None,
    address: Address = None,
    node: PeerNodes = None,
    secret: Secret = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Say how nodes spread routes, and which routers of the data centre they exchange them with (peers)."""
    settings = {"meshNodesMax": mesh_nodes_max, "holdSeconds": hold_seconds, "bfdIntervalMs": bfd_interval_ms}
    settings["encapsulation"] = encapsulation.value if encapsulation is not None else None  # type: ignore[assignment]
    peer: dict[str, Any] = {"address": address, "nodes": node or None, "secret": secret}
    common: dict[str, Any] = {"autonomousSystem": autonomous_system, "bfd": bfd}
    given, of_peer, both = (
        {field: value for field, value in one.items() if value is not None} for one in (settings, peer, common)
    )
    if (name is None) != (action in (Action.SHOW, Action.SET)):
        fail(Invalid(_("{action} needs a name, or takes none", action=action)))
    if (given and action is not Action.SET) or (of_peer and action is not Action.ADD_PEER):
        fail(Invalid(_("an option that {action} does not take", action=action)))
    if action is Action.ADD_PEER and not {"address", "autonomousSystem"} <= {*of_peer, *both}:
        fail(Invalid(_("add-peer needs --address and --autonomous-system")))
    run(_routing(Client(url), action, name or "", given | of_peer | both, as_json=as_json))


async def _routing(client: Client, action: Action, name: str, body: dict[str, Any], *, as_json: bool) -> None:
    path = f"/v1/routing/peers/{quote(name, safe='')}"
    async with client:
        match action:
            case Action.SHOW:
                found = await client.get("/v1/routing")
            case Action.SET:
                found = await client.call("PATCH", "/v1/routing", body=body)
            case Action.ADD_PEER:
                found = await client.call("PUT", path, body=body)
            case Action.REMOVE_PEER:
                found = await client.call("DELETE", path) or {"removed": name}
    if as_json:
        write_json(found)
    elif action is Action.ADD_PEER:
        say(_("nodes exchange routes with {name} now", name=name))
    elif action is Action.REMOVE_PEER:
        say(_("nodes exchange no routes with {name} any more", name=name))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    rows = [(field, str(value)) for field, value in found.items() if field != "peers"]
    show(table((_("setting"), _("value")), rows))
    peers = [
        (
            one["name"],
            one["address"],
            str(one["autonomousSystem"]),
            ", ".join(one["nodes"]) or _("all of its segment"),
            one["secret"],
            _("yes") if one["bfd"] else _("no"),
        )
        for one in found["peers"]
    ]
    if peers:
        typer.echo()
        heads = (_("peer"), _("address"), _("autonomous system"), _("nodes"), _("secret"), "BFD")
        show(table(heads, peers))
