"""why: why an app is not as it is wanted to be: what it waits for, and what each agent lacks."""

from typing import Any

from coldchain.cli.client import Client, app_path
from coldchain.cli.language import _, translated
from coldchain.cli.options import DEFAULT_URL, AppId, Json, Url
from coldchain.cli.output import run, show, table, write_json


def why(app: AppId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Say why an app is not as it is wanted to be: what it waits for, and what agents lack."""
    run(_why(Client(url), app, as_json=as_json))


async def _why(client: Client, app: str, *, as_json: bool) -> None:
    async with client:
        status = await client.get(f"/v1/apps/{app_path(app)}/status")
        queue = (await client.get("/v2/queue", embed="lastUnusedOffers"))["queue"]
    queued: dict[str, Any] = next((one for one in queue if one["app"]["id"] == status["id"]), {})
    unused = [
        {
            "agent": one["offer"]["agentId"],
            "left": {each["name"]: each["scalar"] for each in one["offer"]["resources"]},
            "reasons": one["reason"],
        }
        for one in queued.get("lastUnusedOffers", ())
    ]
    found = {
        "app": status["id"],
        "condition": status["condition"],
        "explain": status["explain"],
        "waits": [
            {"instance": one["id"], "phase": one["phase"], "for": one["waitsFor"] or one["healthDetail"]}
            for one in status["instances"]
            if one["phase"] != "stopped" and (one["waitsFor"] or one["healthDetail"])
        ],
        "delaySeconds": queued.get("delay", {}).get("timeLeftSeconds", 0),
        "agents": unused,
        "lastFailure": status["lastFailure"],
    }
    if as_json:
        write_json(found)
        return
    _tell(found)


def _tell(found: dict[str, Any]) -> None:
    show(f"{found['app']}: {found['condition']}")
    if not found["explain"] and not found["waits"]:
        show(_("It is as it is wanted to be."))
    for part in filter(None, found["explain"].split("; ")):
        show(f"  {part}")
    if found["delaySeconds"]:
        show(_("  launched again in {seconds} s, after failures", seconds=found["delaySeconds"]))
    if found["waits"]:
        rows = [(one["instance"], one["phase"], one["for"]) for one in found["waits"]]
        show(table((_("instance"), _("phase"), _("waits for")), rows))
    if found["agents"]:
        show(_("What agents have left, and why that does not do:"))
        rows = [
            (one["agent"], *(f"{one['left'].get(kind, 0):.10g}" for kind in ("cpus", "mem", "disk")), _reasons(one))
            for one in found["agents"]
        ]
        show(table((_("agent"), "cpus", "mem", "disk", _("why not")), rows))


def _reasons(agent: dict[str, Any]) -> str:
    from coldchain.decisions.placement import REASONS

    return ", ".join(translated(REASONS.get(one, one)) for one in agent["reasons"])
