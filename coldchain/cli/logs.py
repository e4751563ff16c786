"""logs: what the instances of an app write, each line with its instance before it."""

import json
import re
from collections.abc import Iterator
from typing import Annotated

import typer

from coldchain.cli.client import Client, app_path
from coldchain.cli.errors import Invalid
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, AppId, Json, Url
from coldchain.cli.output import fail, run, span_seconds

COLORS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
ID_SHOWN = 8
TAIL = 100
TAIL_MAX = 100_000


def logs(
    app: AppId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, also of new instances.")
    ] = False,
    tail: Annotated[
        int | None,
        typer.Option(
            "--tail", "-n", min=0, max=TAIL_MAX, help="The last lines of each instance; 100, or with --since all."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Only what is newer: 90s, 10m, 2h, 1d, or a time such as 2026-11-23T20:15."),
    ] = None,
    grep: Annotated[
        str | None, typer.Option("--grep", "-g", help="Only lines in which this regular expression is found.")
    ] = None,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the instances that ended last: why they did.")
    ] = False,
    instance: Annotated[str | None, typer.Option("--instance", help="Only this one; the beginning of its id.")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show what an app's instances write."""
    if follow and previous:
        fail(Invalid(_("what has ended writes no more"), todo=_("Give --follow or --previous.")))
    everything = since is not None or grep is not None
    query = {"tail": str(tail if tail is not None else TAIL_MAX if everything else TAIL)}
    query |= {"follow": str(follow).lower(), "previous": str(previous).lower()}
    if since is not None:
        query["sinceSeconds"] = str(_seconds(since))
    if instance is not None:
        query["instance"] = instance
    run(_logs(Client(url), app, query, _pattern(grep), as_json=as_json))


async def _logs(client: Client, app: str, query: dict[str, str], grep: re.Pattern[str], *, as_json: bool) -> None:
    colors: dict[str, str] = {}
    async with client:
        async for line in client.lines(f"/v1/apps/{app_path(app)}/logs", query=query):
            written = json.loads(line)
            if not grep.search(written["line"]):
                continue
            if as_json:
                typer.echo(line)
                continue
            name = written["instance"]
            color = colors.setdefault(name, COLORS[len(colors) % len(COLORS)])
            shown = "".join(_marked(written["line"], grep)) if grep.pattern else written["line"]
            typer.echo(f"{typer.style(name[:ID_SHOWN], fg=color)} | {shown}")


def _marked(line: str, grep: re.Pattern[str]) -> Iterator[str]:
    """The line with what was looked for in bold; `echo` takes that away where there is no terminal."""
    end = 0
    for found in grep.finditer(line):
        yield line[end : found.start()]
        yield typer.style(found[0], bold=True, underline=True) if found[0] else ""
        end = found.end()
    yield line[end:]


def _pattern(given: str | None) -> re.Pattern[str]:
    try:
        return re.compile(given or "")
    except re.error as error:
        fail(Invalid(_("{given} is no regular expression", given=repr(given)), why=str(error)))


def _seconds(given: str) -> int:
    """How many seconds ago the moment is that the user means."""
    from datetime import datetime

    span = span_seconds(given)
    if span is not None:
        return span
    try:
        moment = datetime.fromisoformat(given).astimezone()
    except ValueError:
        fail(
            Invalid(
                _("--since {given} is no time", given=repr(given)),
                todo=_("Write 90s, 10m, 2h, 1d, or a time such as 2026-11-23T20:15."),
            )
        )
    return max(0, round(datetime.now().astimezone().timestamp() - moment.timestamp()))
