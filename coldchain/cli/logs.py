"""logs: what the instances of an app write, each line with its instance before it."""

import json
from typing import Annotated

import typer

from coldchain.cli.client import Client, app_path
from coldchain.cli.options import DEFAULT_URL, AppId, Json, Url
from coldchain.cli.output import run

COLORS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
ID_SHOWN = 8


def logs(
    app: AppId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, also of new instances.")
    ] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="The last lines of each instance.")] = 100,
    instance: Annotated[str | None, typer.Option("--instance", help="Only this one; the beginning of its id.")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show what an app's instances write."""
    query = {"tail": str(tail), "follow": str(follow).lower()}
    if instance is not None:
        query["instance"] = instance
    run(_logs(Client(url), app, query, as_json=as_json))


async def _logs(client: Client, app: str, query: dict[str, str], *, as_json: bool) -> None:
    colors: dict[str, str] = {}
    async with client:
        async for line in client.lines(f"/v1/apps/{app_path(app)}/logs", query=query):
            if as_json:
                typer.echo(line)
                continue
            written = json.loads(line)
            name = written["instance"]
            color = colors.setdefault(name, COLORS[len(colors) % len(COLORS)])
            typer.echo(f"{typer.style(name[:ID_SHOWN], fg=color)} | {written['line']}")
