"""versions: what an app was and can be again."""

import asyncio

from coldchain.cli.client import Client, app_path
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, AppId, Json, Url
from coldchain.cli.output import run, show, table, write_json


def versions(app: AppId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """List the versions of an app, the latest first; `rollback` takes one of them."""
    run(_versions(Client(url), app, as_json=as_json))


async def _versions(client: Client, app: str, *, as_json: bool) -> None:
    path = f"/v2/apps/{app_path(app)}"
    async with client:
        current = (await client.get(path))["app"]["version"]
        names = (await client.get(f"{path}/versions"))["versions"]
        found = await asyncio.gather(*(client.get(f"{path}/versions/{name}") for name in names))
    if as_json:
        write_json({"current": current, "versions": found})
        return
    rows = [
        (
            one["version"],
            _("wanted") if one["version"] == current else "",
            one["instances"],
            one["container"]["docker"]["image"],
            one["versionInfo"]["lastConfigChangeAt"],
        )
        for one in found
    ]
    show(table((_("version"), "", _("instances"), _("image"), _("configuration of")), rows))
