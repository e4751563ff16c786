"""services: what the registry knows: the instances of apps, and what others registered."""

from typing import Annotated, Any

import typer

from coldchain.cli.client import Client
from coldchain.cli.errors import CommandError
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import moment, run, show, table, write_json

Name = Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Name of a service; all if none is given.")]


def services(service: Name = None, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """List the services in the registry: endpoints, health, since when and why; also those that no app has."""
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
        (
            *(one["name"], _place(each), each["status"], _since(each), _rotation(each)),
            *(each["app"], each["registeredBy"], each["id"], each["why"]),
        )
        for one in chosen
        for each in one["endpoints"]
    ]
    show(table(("service", "endpoint", "status", "since", "rotation", "app", "by", "id", "why"), rows))


def _place(one: dict[str, Any]) -> str:
    host = f"[{one['address']}]" if ":" in one["address"] else one["address"]
    return f"{host}:{one['port']}"


def _since(one: dict[str, Any]) -> str | None:
    return moment(one["since"]) if one["since"] else None


def _rotation(one: dict[str, Any]) -> str | None:
    return {True: "in", False: "out", None: None}[one["inRotation"]]
