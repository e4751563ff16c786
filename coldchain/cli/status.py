"""status: how things stand: all apps in brief, those of a group, or one with its instances, its deployment and what
keeps it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldchain.cli.client import Client, app_path
from coldchain.cli.errors import Refused
from coldchain.cli.follow import STAGES, failure_lines, stage_words
from coldchain.cli.language import _, translated
from coldchain.cli.options import DEFAULT_URL, Json, Url, complete_app
from coldchain.cli.output import console, duration, moment, run, show, table, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

WATCH_SECONDS = 1.0
NOT_FOUND = 404
ID_SHOWN = 12
COLORS = {
    "running": "green",
    "deploying": "cyan",
    "paused": "yellow",
    "suspended": "bright_black",
    "deleting": "magenta",
}
BAD_COLOR = "red"

OptionalApp = Annotated[
    str | None,
    typer.Argument(
        metavar="[APP]", help="Id of an app or of a group; all if none is given.", autocompletion=complete_app
    ),
]


def status(
    app: OptionalApp = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until interrupted.")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show all apps, those of a group, or one with its instances and why it is not yet as wanted."""
    run(_status(Client(url), app, watch=watch, as_json=as_json))


async def _status(client: Client, app: str | None, *, watch: bool, as_json: bool) -> None:
    async with client:
        if not watch:
            _show(await _found(client.get, app), as_json=as_json)
        elif as_json or not sys.stdout.isatty():
            while True:
                _show(await _found(client.get_patiently, app), as_json=as_json)
                await asyncio.sleep(WATCH_SECONDS)
        else:
            await _watch(client, app)


async def _found(get: Callable[[str], Awaitable[Any]], name: str | None) -> dict[str, Any]:
    """All that there is, an app, or the apps of the group of this name."""
    from coldchain.decisions.group import inside

    if name is None:
        platform: dict[str, Any] = await get("/v1/status")
        return platform
    try:
        app: dict[str, Any] = await get(f"/v1/apps/{app_path(name)}/status")
    except Refused as error:
        if error.status != NOT_FOUND:
            raise
        group = "/" + name.strip("/")
        apps = [one for one in (await get("/v1/status"))["apps"] if inside(one["id"], group)]
        if not apps:
            raise
        return {"id": group, "apps": apps}
    return app


async def _watch(client: Client, app: str | None) -> None:
    from rich.live import Live

    with Live(console=console(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(_screen(await _found(client.get_patiently, app)), refresh=True)
            await asyncio.sleep(WATCH_SECONDS)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        write_json(found)
    else:
        show(_screen(found))


def _screen(found: dict[str, Any]) -> "RenderableType":
    from rich.console import Group

    return Group(*(_apps(found) if "apps" in found else _app(found)))


def _apps(found: dict[str, Any]) -> list["RenderableType"]:
    """In brief; with the platform's own troubles where it is the whole of it."""
    from rich.text import Text

    rows = [
        (
            app["id"],
            _condition(app["condition"]),
            *(app["progress"][stage] for stage in STAGES),
            app["image"],
        )
        for app in found["apps"]
    ]
    shown: list[RenderableType] = (
        [table((_("app"), _("state"), *stage_words().values(), _("image")), rows)] if rows else []
    )
    if not rows:
        shown.append(
            Text(_("No app yet. `coldchain init` writes a first definition, `coldchain deploy FILE` runs it."))
        )
    notes = [f"{app['id']}: {note}" for app in found["apps"] for note in (app["explain"], *app["warnings"]) if note]
    notes += _troubles(found) if "engine" in found else []
    shown += [Text(line, style="yellow") for line in notes]
    return shown


def _troubles(found: dict[str, Any]) -> list[str]:
    """What is not as it should be with the platform itself."""
    lines = [found["goingDown"]] if found["goingDown"] else []
    if found["engine"]["trouble"]:
        words = _("engine {target}: {trouble}")
        lines.append(words.format(target=found["engine"]["target"], trouble=found["engine"]["trouble"]))
    if found["registry"] and found["registry"]["trouble"]:
        lines.append(f"registry: {found['registry']['trouble']}")
    brake = found["brake"]
    if brake["holds"]:
        lines.append(
            _(
                "the brake holds since {since}: {reason}; `coldchain release-brake` overrules it",
                since=brake["since"],
                reason=brake["reason"],
            )
        )
    silent = [gateway["name"] for gateway in found["gateways"] if not gateway["live"]]
    return lines + [
        _("gateway {name} does not report; if it runs, it serves its last routes", name=name) for name in silent
    ]


def _condition(word: str) -> "RenderableType":
    from rich.text import Text

    return Text(word, style=COLORS.get(word, BAD_COLOR))


def _app(found: dict[str, Any]) -> list["RenderableType"]:
    from rich.text import Text

    counts = ", ".join(f"{found['progress'][stage]} {word}" for stage, word in stage_words().items())
    old = ", " + _("{number} old", number=found["progress"]["old"]) if found["progress"]["old"] else ""
    lines = [
        Text.assemble(f"{found['id']}  ", _condition(found["condition"]), f"  {counts}{old}"),  # type: ignore[arg-type]
        Text(_("version {version}, image {image}", version=found["version"] or "-", image=found["image"] or "-")),
    ]
    if found["routes"]:
        lines.append(Text(_("routes {routes}", routes=", ".join(found["routes"]))))
    if found["deployment"]:
        one = found["deployment"]
        words = _("deployment {id}: {kind}, deadline {deadline} ({cause})")
        lines.append(Text(words.format(id=one["id"], kind=one["kind"], deadline=one["deadlineAt"], cause=one["cause"])))
        if one["pausedBy"]:
            until = _(" until {time}", time=one["resumesAt"]) if one["resumesAt"] else ""
            words = _("paused by {holder} since {time}{until}; its time limit stands still")
            held = words.format(holder=one["pausedBy"], time=one["pausedAt"], until=until)
            lines.append(Text(held))
    elif found["lastDeployment"] and found["lastDeployment"]["state"] != "succeeded":
        one = found["lastDeployment"]
        words = _("last deployment {id}: {kind} {state}: {reason}")
        lines.append(Text(words.format(id=one["id"], kind=one["kind"], state=one["state"], reason=one["reason"])))
    if found["imageProgress"]:
        lines.append(Text(_("image: {progress}", progress=found["imageProgress"])))
    if found["explain"]:
        lines.append(Text(_("not there yet: {why}", why=found["explain"]), style="yellow"))
    lines += [Text(line, style="yellow") for line in _waiting(found["refused"])]
    lines += [Text(_("warning: {warning}", warning=warning), style="yellow") for warning in found["warnings"]]
    shown: list[RenderableType] = [*lines, Text()]
    if found["instances"]:
        rows = [_instance(one) for one in found["instances"]]
        columns = (
            *(_("instance"), _("phase"), _("for"), _("health"), _("waits for")),
            *(_("agent"), _("address"), _("version"), _("cause")),
        )
        shown += [table(columns, rows)]
    if found["lastFailure"]:
        shown.append(Text())
        shown += [Text(line) for line in failure_lines(found["lastFailure"])]
    return shown


def _waiting(refused: list[dict[str, Any]]) -> list[str]:
    """Who fits no agent, and how many agents each reason excluded; those for the same reasons together."""
    from coldchain.decisions.placement import REASONS, UNITS

    lines = []
    alike: dict[str, list[dict[str, Any]]] = {}
    for one in refused:
        alike.setdefault(str((one["agents"], one["reasons"], one["constraints"])), []).append(one)
    for group in alike.values():
        one = group[0]
        words = _("{number} of its instances fit none of {agents} agents:")
        lines.append(words.format(number=len(group), agents=one["agents"]))
        for reason, count in one["reasons"].items():
            line = "  " + _("{count} excluded by: {reason}", count=count, reason=translated(REASONS[reason]))
            if short := one["shortages"].get(reason):
                wanted, free, whole = (f"{short[name]:.10g}" for name in ("wanted", "free", "whole"))
                words = _(": {wanted} {unit} wanted, at most {free} of {whole} free")
                line += words.format(wanted=wanted, unit=UNITS[reason], free=free, whole=whole)
            if reason == "UnfulfilledConstraint":
                line += ": " + ", ".join(f"{words} ({number})" for words, number in one["constraints"].items())
            if reason == "UnfulfilledContainerizer":
                line += ": " + ", ".join(one["unsupported"])
            lines.append(line)
    return lines


def _health(one: dict[str, Any]) -> str:
    """In a word where all is well; else what the last check said, and for how long it has been so."""
    if one["standing"] == "healthy":
        return str(one["standing"])
    said = one["healthDetail"] or one["standing"]
    return _("{said} (since {time})", said=said, time=moment(one["badSince"])) if one["badSince"] else str(said)


def _instance(one: dict[str, Any]) -> tuple[object, ...]:
    ports = ",".join(map(str, one["ports"]))
    return (
        one["id"][:ID_SHOWN],
        one["phase"],
        duration(one["sinceSeconds"]),
        _health(one) if one["phase"] in ("starting", "entering", "serving") else None,
        one["waitsFor"] if one["phase"] != "scheduled" else None,
        one["agent"],
        f"{one['address']}:{ports}" if one["address"] and ports else one["address"],
        one["version"],
        one["cause"],
    )
