"""history: what was done to an app: every deployment, how it ended and why, how long it took, and who asked."""

from typing import Any

from coldchain.cli.client import Client, app_path
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, AppId, Json, Url
from coldchain.cli.output import duration, moment, run, show, table, write_json

COLORS = {"succeeded": "green", "running": "cyan", "failed": "red"}
OTHER_COLOR = "yellow"


def history(app: AppId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Show an app's deployments, the latest first: how each ended and why, how long it took, who asked."""
    run(_history(Client(url), app, as_json=as_json))


async def _history(client: Client, app: str, *, as_json: bool) -> None:
    async with client:
        found = await client.get(f"/v1/apps/{app_path(app)}/history")
    if as_json:
        write_json(found)
    else:
        columns = (_("began"), _("deployment"), _("outcome"), _("took"), _("instances"), _("image"), _("why"))
        show(table(columns, [_row(one) for one in found["deployments"]]))


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    from rich.text import Text

    return (
        moment(one["startedAt"]),
        one["kind"],
        Text(one["state"], style=COLORS.get(one["state"], OTHER_COLOR)),
        duration(one["seconds"]),
        one["instances"],
        one["image"],
        _why(one),
    )


def _why(one: dict[str, Any]) -> str:
    """Who or what asked for it, and in brief why it ended so; `--json` has all of the reason."""
    cause = str(one["cause"]).partition("; ")[0]
    if one["state"] in ("succeeded", "running"):
        return cause
    return f"{cause}; {str(one['reason']).partition('; ')[0]}"
