"""node: the machines of the container network, as the API knows them. That this machine joins or leaves it says itself:
`main.node_command` has the command whose other actions are here."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from coldchain.cli.client import Client
from coldchain.cli.language import _
from coldchain.cli.output import say, show, table, write_json

MAY_RETURN = "mayReturn"


class NodeAction(StrEnum):
    """What to do."""

    JOIN = "join"
    LEAVE = "leave"
    LIST = "list"
    SHOW = "show"
    SET = "set"
    REMOVE = "remove"


async def ask_of_nodes(
    client: Client, action: NodeAction, name: str, change: dict[str, Any], *, flags: Sequence[str], as_json: bool
) -> None:
    """All but to join and to leave. `flags`: what is said with a removal."""
    path = f"/v1/nodes/{quote(name, safe='')}"
    async with client:
        match action:
            case NodeAction.LIST:
                found = await client.get("/v1/nodes")
            case NodeAction.SET:
                found = await client.call("PATCH", path, body=change)
            case NodeAction.REMOVE:
                query = [(one, "true") for one in flags]
                found = await client.call("DELETE", path, query=query) or {"removed": name}
            case _:
                found = await client.get(path)
    if as_json:
        write_json(found)
    elif action is NodeAction.REMOVE:
        if MAY_RETURN in flags:
            say(_("node {name} is removed, and joins again when its program starts", name=name))
        else:
            say(_("node {name} is removed; its routes go", name=name))
    else:
        _show(found["nodes"] if action is NodeAction.LIST else [found])


def _show(nodes: list[dict[str, Any]]) -> None:
    rows = [
        (
            one["name"],
            ", ".join(filter(None, (one["address"], one["address6"]))),
            str(one["attachments"]) if one["containers"] else _("runs none"),
            _("yes") if one["reflector"] else _("no"),
        )
        for one in nodes
    ]
    show(table((_("node"), _("address"), _("containers"), _("reflector")), rows))
