"""events: what happens, as it happens; and what happened to one instance."""

import asyncio
import json
import time
from typing import Annotated, Any

import typer

from coldchain.cli.client import PATIENCE_SECONDS, RETRY_SECONDS, Client
from coldchain.cli.errors import Unreachable
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import run, write_json

TOLD = ("appId", "runSpecId", "instanceId", "phase", "taskStatus", "healthy", "state", "reason", "message", "cause")
"""Members of an event that its line shows, if it has them."""


def events(
    event_type: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; may be repeated.")
    ] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Follow what happens, until interrupted. Goes on over a restart of the controller, and says what was missed."""
    run(_events(Client(url), event_type or [], as_json=as_json))


async def _events(client: Client, types: list[str], *, as_json: bool) -> None:
    path = "/v2/events?embed=coldchain&plan-format=light" + "".join(f"&event_type={one}" for one in types)
    last: str | None = None
    limit = time.monotonic()
    async with client:
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
            try:
                async for line in client.lines(path, headers=headers):
                    limit = time.monotonic() + PATIENCE_SECONDS
                    name, _, value = line.partition(": ")
                    if name == "id":
                        last = value
                    elif name == "data":
                        typer.echo(value if as_json else _line(json.loads(value)))
            except Unreachable:
                if time.monotonic() > limit:
                    raise
            await asyncio.sleep(RETRY_SECONDS)


def _line(event: dict[str, Any]) -> str:
    told = " ".join(f"{name}={event[name]}" for name in TOLD if event.get(name) not in (None, ""))
    return f"{event['timestamp']} {typer.style(event['eventType'], fg='cyan')} {told}"


def story(
    instance: Annotated[str, typer.Argument(metavar="INSTANCE", help="Its id, or the beginning of it.")],
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Tell the life of an instance, step by step, with the reasons."""
    run(_story(Client(url), instance, as_json=as_json))


async def _story(client: Client, instance: str, *, as_json: bool) -> None:
    from urllib.parse import quote

    async with client:
        found = await client.get(f"/v1/instances/{quote(instance, safe='')}/story")
    if as_json:
        write_json(found)
    else:
        typer.echo(found["story"])
