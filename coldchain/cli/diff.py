"""diff: what a deploy of files would change, and with `--steps` how: nothing is stored, nothing is started."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from coldchain.cli.client import Client, app_path
from coldchain.cli.errors import FAILED, Refused, Unreachable
from coldchain.cli.files import Definition, read_definitions
from coldchain.cli.language import _, plural
from coldchain.cli.options import DEFAULT_URL, Files, Json, Url
from coldchain.cli.output import run, write_json

SIGNS = {"added": "+", "removed": "-", "changed": "~"}
ID_SHOWN = 12


def diff(
    files: Files,
    steps: Annotated[bool, typer.Option("--steps", help="Show the whole rollout of each change, too.")] = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show what the definitions would change. The values of variables are shown, too.

    With --steps the platform plays each rollout on a copy of what runs now, each app as if it alone were deployed.

    Exit status: 0 nothing would change; 1 something would; 2 invalid definition or usage; 3 no platform answers.
    """
    run(_diff(Client(url), files, steps=steps, as_json=as_json))


async def _diff(client: Client, files: list[Path], *, steps: bool, as_json: bool) -> None:
    definitions = await asyncio.to_thread(read_definitions, files)
    async with client:
        found = [await _compared(client, one) for one in definitions]
        for one, definition in zip(found, definitions, strict=True):
            if steps and _changes(one):
                path = f"/v1/apps/{app_path(definition.app_id)}/preview"
                one["preview"] = await _asked(client, "POST", path, definition.document)
        found += await _removed(client, definitions)
    if as_json:
        write_json(found)
    else:
        for one in found:
            typer.echo("\n".join(_lines(one)))
    if any(map(_changes, found)):
        raise typer.Exit(FAILED)


def _changes(found: dict[str, Any]) -> bool:
    return found["new"] or found["removed"] or bool(found["differences"])


async def _removed(client: Client, definitions: list[Definition]) -> list[dict[str, Any]]:
    """The apps that are in the groups now and would not be any more."""
    groups = {one.group.group_id: one.group for one in definitions if one.group is not None}
    found = []
    for group in groups.values():
        path = f"/v2/groups/{app_path(group.group_id)}?dryRun=true"
        plan = await _asked(client, "PUT", path, group.document)
        found += [
            {"id": action["app"], "new": False, "removed": True, "differences": []}
            for step in plan["steps"]
            for action in step["actions"]
            if action["action"] == "StopApplication"
        ]
    return found


async def _compared(client: Client, one: Definition) -> dict[str, Any]:
    """`differences` is empty for a new app, of which everything is new."""
    from msgspec import to_builtins

    from coldchain.decisions.service_port import kept
    from coldchain.documents.application import decode_app, encode_app
    from coldchain.documents.difference import difference

    current = await current_definition(client, one.app_id)
    wanted = decode_app(one.document)
    differences = () if current is None else difference(current, encode_app(kept(wanted, decode_app(current))))
    return {"id": one.app_id, "new": current is None, "removed": False, "differences": to_builtins(differences)}


async def current_definition(client: Client, app_id: str) -> dict[str, Any] | None:
    """The definition aimed at now; None where there is no such app."""
    from msgspec.structs import fields

    from coldchain.model.app import App

    try:
        answer = await _asked(client, "GET", f"/v2/apps/{app_path(app_id)}?embed=coldchain")
    except Refused as error:
        if error.status == 404:
            return None
        raise
    known = {field.encode_name for field in fields(App)}
    return {name: value for name, value in answer["app"].items() if name in known}


async def _asked(client: Client, method: str, path: str, body: object = None) -> Any:
    """The answer. That the platform cannot tell is no status 1: that would mean that something changes."""
    try:
        return await client.call(method, path, body=body)
    except Refused as error:
        if error.status >= 500:
            raise Unreachable(error.what, why=error.why) from error
        raise


def _lines(found: dict[str, Any]) -> list[str]:
    differences = found["differences"]
    number = len(differences)
    said = plural("{number} change", "{number} changes", number) if number else _("no change")
    said = _("new app") if found["new"] else _("removed with its group") if found["removed"] else said
    lines = [f"{found['id']}: {said}", *(f"  {difference_line(one)}" for one in differences)]
    return lines + (_rollout(found["preview"]) if "preview" in found else [])


def difference_line(one: dict[str, Any]) -> str:
    """One difference, as people read it."""
    old, new = (json.dumps(one[name], ensure_ascii=False) for name in ("old", "new"))
    values = {"added": new, "removed": old, "changed": f"{old} → {new}"}[one["kind"]]
    return f"{SIGNS[one['kind']]} {one['path']}: {values}"


def _rollout(shown: dict[str, Any]) -> list[str]:
    """The steps, and what they need at most."""
    need, offered = shown["peakNeed"], shown["offered"]
    tasks = _("tasks are replaced") if shown["replaces"] else _("no task is replaced, only their number changes")
    lines = ["  " + _("rollout ({kind}): {tasks}", kind=shown["kind"], tasks=tasks)]
    if shown["supersedes"]:
        lines.append("  " + _("deployment {id} still runs: only --force replaces it", id=shown["supersedes"]))
    if shown["imageAssumed"]:
        lines.append("  " + _("the image is not resolved yet; it is taken to be there"))
    lines += [f"  {_step(step)}" for step in shown["steps"]]
    return [
        *lines,
        "  "
        + _(
            "live at most {live} ({allowed} allowed), in rotation at least {serving} ({wanted} wanted)",
            live=shown["peakLive"],
            allowed=shown["mostAllowed"],
            serving=shown["leastInRotation"],
            wanted=shown["leastAllowed"],
        ),
        "  "
        + _(
            "needs at most {cpus} cpus and {mem} MiB, offered {offered_cpus} cpus and {offered_mem} MiB",
            cpus=f"{need['cpus']:.10g}",
            mem=f"{need['mem']:.10g}",
            offered_cpus=f"{offered['cpus']:.10g}",
            offered_mem=f"{offered['mem']:.10g}",
        ),
        "  " + _outcome(shown["outcome"]) + (f": {shown['reason']}" if shown["reason"] else ""),
    ]


def _outcome(word: str) -> str:
    return {
        "reached": _("it ends as wanted"),
        "stuck": _("it would wait until its time limit"),
        "unfinished": _("too long to be shown to its end"),
    }[word]


def _step(step: dict[str, Any]) -> str:
    """One line: the round, what happens to whom, and how many there are after it."""
    subject = step["instanceId"][:ID_SHOWN] or (f"{step['seconds']:g} s" if step["seconds"] else "")
    counts = _("{live} live, {serving} in rotation", live=step["live"], serving=step["inRotation"])
    return f"{step['round']:>3}  {step['happening']:<7}  {subject:<{ID_SHOWN}}  {counts:<24}  {step['cause']}"
