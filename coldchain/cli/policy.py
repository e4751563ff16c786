"""policy: who may talk to whom over the container network: show it, compare or apply a file, ask about a connection."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from coldchain.cli.client import Client
from coldchain.cli.diff import difference_line
from coldchain.cli.errors import FAILED, Invalid
from coldchain.cli.files import mistakes_of, parsed, source_of, text_of
from coldchain.cli.language import _, plural
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import run, say, show, table, write_json


class Action(StrEnum):
    """What to do."""

    SHOW = "show"
    DIFF = "diff"
    APPLY = "apply"
    TEST = "test"


class Protocol(StrEnum):
    """Of a connection."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


TAKES = {Action.SHOW: 0, Action.DIFF: 1, Action.APPLY: 1, Action.TEST: 3}

Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE] | [FROM TO PORT]", help="A file for diff and apply; for test who asks whom."),
]
Asked = Annotated[Protocol, typer.Option("--protocol", help="Of the connection that test asks about.")]


def policy(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="show, diff, apply or test.")],
    arguments: Arguments = None,
    protocol: Asked = Protocol.TCP,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Say who may talk to whom over the container network. What show prints can be changed and applied.

    test FROM TO PORT says which rule decides: each side is an address, the id of an app or the name of a machine.

    Exit status of diff: 0 nothing would change; 1 something would. Of test: 0 allowed; 1 denied.
    """
    run(_policy(Client(url), action, arguments or [], protocol, as_json=as_json))


async def _policy(client: Client, action: Action, given: list[str], protocol: Protocol, *, as_json: bool) -> None:
    needed = TAKES[action] - (action is Action.TEST and protocol is Protocol.ICMP)
    if len(given) != needed:
        todo = _("`coldchain policy {action} --help` shows how.", action=action)
        raise Invalid(
            _("{action} takes {number} arguments, not {given}", action=action, number=needed, given=len(given)),
            todo=todo,
        )
    async with client:
        if action is Action.SHOW:
            _show(await client.get("/v1/policy"), as_json=as_json)
        elif action is Action.TEST:
            await _test(client, given, protocol, as_json=as_json)
        else:
            await _compare(client, Path(given[0]), as_json=as_json, apply=action is Action.APPLY)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        write_json(found)
        return
    from coldchain.documents.yaml_writer import write_yaml

    typer.echo(write_yaml({name: found[name] for name in ("rules", "cut")}), nl=False)
    _warn(found)


def _warn(found: dict[str, Any]) -> None:
    for name, side in sorted(found["nobody"].items()):
        say(_("rule {name}: its {side} means no container now", name=name, side=side))


async def _compare(client: Client, path: Path, *, as_json: bool, apply: bool) -> None:
    from msgspec import to_builtins

    from coldchain.documents.difference import difference

    wanted = _read(path)
    current = await client.get("/v1/policy")
    before = {name: current[name] for name in ("rules", "cut")}
    differences = difference(before, wanted)
    found: dict[str, Any] = {"differences": to_builtins(differences)}
    if apply and differences:
        found |= {"policy": await client.call("PUT", "/v1/policy", body=wanted | {"revision": current["revision"]})}
    if as_json:
        write_json(found)
    else:
        number = len(differences)
        for one in found["differences"]:
            typer.echo(difference_line(one))
        say(plural("{number} change", "{number} changes", number) if number else _("no change"))
        if "policy" in found:
            _warn(found["policy"])
    if differences and not apply:
        raise typer.Exit(FAILED)


def _read(path: Path) -> dict[str, Any]:
    """The policy of a file, as the API shows one. Raises Invalid with the lines of everything that is wrong."""
    from coldchain.documents.policy_request import decode_policy, encode_policy
    from coldchain.model.errors import InvalidDocument, MalformedDocument

    source = source_of(path)
    what = _("{source} is no policy; nothing was changed", source=source)
    text = text_of(path)
    try:
        return encode_policy(decode_policy(parsed(path, text))[0])
    except MalformedDocument as error:
        raise Invalid(what, why=str(error)) from error
    except InvalidDocument as error:
        raise Invalid(what, lines=[str(one) for one in mistakes_of(source, text, (), error)]) from error


async def _test(client: Client, given: list[str], protocol: Protocol, *, as_json: bool) -> None:
    source, destination, *ports = given
    if ports and not (ports[0].isascii() and ports[0].isdigit()):
        raise Invalid(_("{port} is no port", port=ports[0]))
    question = {"source": source, "destination": destination, "protocol": protocol.value}
    found = await client.call("POST", "/v1/policy/test", body=question | ({"port": int(ports[0])} if ports else {}))
    if as_json:
        write_json(found)
    else:
        rows = [(one["source"], one["destination"], _verdict(one), one["words"]) for one in found["decisions"]]
        show(table((_("from"), _("to"), _("verdict"), _("because")), rows))
    if any(one["verdict"] == "deny" for one in found["decisions"]):
        raise typer.Exit(FAILED)


def _verdict(one: dict[str, Any]) -> str:
    return _("allowed") if one["verdict"] == "allow" else _("denied")
