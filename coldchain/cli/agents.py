"""agents: what agents offer; drain one, so that its machine can be taken away, and use it again."""

import asyncio
from typing import Annotated, Any

import typer

from coldchain.cli.client import Client
from coldchain.cli.errors import CommandError, TimedOut
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Timeout, Url, names_of
from coldchain.cli.output import run, say, show, table, write_json

POLL_SECONDS = 0.5


def complete_agent(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the agents there are, for the shell."""
    return [name for name in names_of(context, "/v1/agents", "agents", "agent") if name.startswith(incomplete)]


Agent = Annotated[str, typer.Argument(metavar="AGENT", help="Its name.", autocompletion=complete_agent)]
End = Annotated[bool, typer.Option("--end", help="The end of a drain: the agent may be used again.")]
Wait = Annotated[bool, typer.Option("--wait/--detach", help="Wait until it is empty, or return at once.")]


def agents(as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """List the agents: what they offer, what is taken of it, and which are drained."""
    run(_agents(Client(url), as_json=as_json))


async def _agents(client: Client, *, as_json: bool) -> None:
    async with client:
        found = await client.get("/v1/agents")
    if as_json:
        write_json(found)
        return
    rows = [
        (
            one["agent"],
            *(_of(one["resources"][kind]) for kind in ("cpus", "mem", "disk", "gpus")),
            ", ".join(f"{key}:{value}" for key, value in _says(one)),
            str(one["instances"]),
            _state(one),
        )
        for one in found["agents"]
    ]
    heads = (_("agent"), "cpus", "mem", "disk", "gpus", _("attributes"), _("instances"), _("state"))
    show(table(heads, rows))


def _of(resource: dict[str, float | None]) -> str:
    """Used, of how much; of an agent that offers nothing only what is used."""
    used, whole = resource["used"], resource["whole"]
    return f"{used:.10g}/{whole:.10g}" if whole is not None else f"{used:.10g}/-"


def _says(agent: dict[str, Any]) -> list[tuple[str, str]]:
    """What its operator says of it."""
    places = [(name, agent[name]) for name in ("region", "zone") if agent[name] is not None]
    return [*places, *sorted(agent["attributes"].items())]


def _state(agent: dict[str, Any]) -> str:
    if agent["draining"] is None:
        return _("offers nothing") if agent["hostname"] is None else _("in use")
    words = _("drained by {by}") if not agent["instances"] else _("being drained by {by}")
    return words.format(by=agent["draining"]["by"])


def drain(
    agent: Agent,
    end: End = False,
    wait: Wait = True,
    timeout: Timeout = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Empty an agent: nothing is placed there any more, and what is there leaves once something else serves."""
    run(_drain(Client(url), agent, end=end, wait=wait, timeout=timeout, as_json=as_json))


async def _drain(client: Client, agent: str, *, end: bool, wait: bool, timeout: float | None, as_json: bool) -> None:
    from urllib.parse import quote

    path = f"/v1/agents/{quote(agent, safe='')}/drain"
    async with client:
        if end:
            await client.call("DELETE", path)
            if as_json:
                write_json({"agent": agent, "draining": None})
            else:
                say(_("{agent} is used again", agent=agent))
            return
        found = await client.call("POST", path)
        try:
            async with asyncio.timeout(timeout):
                found = await _until_empty(client, agent, quiet=as_json) if wait else found
        except TimeoutError:
            words = _("{agent} is not empty after {seconds} s; it goes on", agent=agent, seconds=f"{timeout:g}")
            raise TimedOut(words, todo=_("`coldchain agents` shows how far it is.")) from None
        except asyncio.CancelledError:
            words = _("The drain goes on without you. `coldchain drain {agent} --end` takes it back.", agent=agent)
            say("\n" + words)
            raise
    if as_json:
        write_json(found)
    elif found["instances"]:
        say(_("{agent} is being drained: {number} instances to go", agent=agent, number=found["instances"]))
    else:
        say(_("{agent} is empty", agent=agent))


async def _until_empty(client: Client, agent: str, *, quiet: bool) -> dict[str, Any]:
    """Until nothing runs there any more; what is left is told whenever it changed."""
    told = ""
    while True:
        known = (await client.get_patiently("/v1/agents"))["agents"]
        found: dict[str, Any] | None = next((one for one in known if one["agent"] == agent), None)
        if found is None or not found["instances"]:
            return found or {"agent": agent, "instances": 0, "draining": None}
        if found["draining"] is None:
            raise CommandError(_("{agent} is not drained any more: somebody ended it", agent=agent))
        waits = ", ".join(f"{one['app']} {one['phase']}" for one in found["draining"]["waits"][:5])
        words = _("{agent}: {number} instances to go: {waits}", agent=agent, number=found["instances"], waits=waits)
        if words != told and not quiet:
            say(words)
        told = words
        await asyncio.sleep(POLL_SECONDS)
