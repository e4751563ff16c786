"""audit: who did what."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from coldchain.cli.client import Client
from coldchain.cli.diff import difference_line
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import moment, run, write_json

SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def audit(
    app: Annotated[str | None, typer.Option("--app", help="Only about this app, or this group.")] = None,
    caller: Annotated[str | None, typer.Option("--caller", help="Only what he did.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=0, max=5000, help="How many, the latest first.")] = 100,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Tell who changed what, when and from where, with the differences; and who was not allowed to."""
    query = {"app": app, "caller": caller, "count": str(count)}
    run(_audit(Client(url), {name: value for name, value in query.items() if value is not None}, as_json=as_json))


async def _audit(client: Client, query: dict[str, str], *, as_json: bool) -> None:
    async with client:
        found = await client.get("/v1/audit", **query)
    if as_json:
        write_json(found)
        return
    for entry in found["entries"]:
        for line in _lines(entry):
            typer.echo(line)


def _lines(entry: dict[str, Any]) -> Iterator[str]:
    who = f"{entry['caller']} ({entry['role']})" if entry["caller"] else _("nobody known")
    where = entry["address"] or _("this machine")
    yield f"{moment(entry['at'])}  {who}  {where}  {entry['method']} {entry['path']}  {entry['status']}"
    for change in entry["changes"]:
        yield f"  {SIGNS[change['change']]} {change['kind']} {change['name']}"
        yield from (f"    {difference_line(one)}" for one in change["differences"])
        if change["more"]:
            yield "    " + _("and {number} more", number=change["more"])
