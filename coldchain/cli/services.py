"""services: what the registry knows: the instances of apps, and what others registered."""

from typing import Annotated

import typer

from coldchain.cli.client import Client
from coldchain.cli.errors import CommandError
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import run, show, table, write_json

Name = Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Name of a service; all if none is given.")]


def services(service: Name = None, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """List the services in the registry with their endpoints, also those that no app has."""
    run(_services(Client(url), service, as_json=as_json))


async def _services(client: Client, service: str | None, *, as_json: bool) -> None:
    async with client:
        found = (await client.get("/v1/services"))["services"]
    chosen = [one for one in found if service in (None, one["name"])]
    if service is not None and not chosen:
        raise CommandError(f"no service {service} in the registry", todo="`coldchain services` lists all.")
    if as_json:
        write_json({"services": chosen})
        return
    rows = [
        (one["name"], f"{each['address']}:{each['port']}", each["status"], each["app"], each["id"])
        for one in chosen
        for each in one["endpoints"]
    ]
    show(table(("service", "endpoint", "status", "app", "id"), rows))
