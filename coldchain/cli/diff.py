"""diff: what a deploy of files would change, and with `--steps` how: nothing is stored, nothing is started."""

import asyncio
import json
from pathlib import Path
from typing import Any

import typer

from coldchain.cli.client import Client, app_path
from coldchain.cli.deploy import Files
from coldchain.cli.errors import FAILED, Refused, Unreachable
from coldchain.cli.files import Definition, read_definitions
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import run, write_json

SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def diff(files: Files, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Show what the definitions would change. The values of variables are shown, too.

    Exit status: 0 nothing would change; 1 something would; 2 invalid definition or usage; 3 no platform answers.
    """
    run(_diff(Client(url), files, as_json=as_json))


async def _diff(client: Client, files: list[Path], *, as_json: bool) -> None:
    definitions = await asyncio.to_thread(read_definitions, files)
    async with client:
        found = [await _compared(client, one) for one in definitions]
    if as_json:
        write_json(found)
    else:
        for one in found:
            typer.echo("\n".join(_lines(one)))
    if any(one["new"] or one["differences"] for one in found):
        raise typer.Exit(FAILED)


async def _compared(client: Client, one: Definition) -> dict[str, Any]:
    """`differences` is empty for a new app, of which everything is new."""
    from msgspec import to_builtins

    from coldchain.documents.application import decode_app, encode_app
    from coldchain.documents.difference import difference

    current = await _current(client, one.app_id)
    wanted = encode_app(decode_app(one.document))
    differences = () if current is None else difference(current, wanted)
    return {"id": one.app_id, "new": current is None, "differences": to_builtins(differences)}


async def _current(client: Client, app_id: str) -> dict[str, Any] | None:
    """The definition aimed at now; None where there is no such app."""
    from msgspec.structs import fields

    from coldchain.model.app import App

    try:
        answer = await _asked(client, "GET", f"/v2/apps/{app_path(app_id)}")
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
    if found["new"]:
        return [f"{found['id']}: new app"]
    if not differences:
        return [f"{found['id']}: no change"]
    many = "change" if len(differences) == 1 else "changes"
    return [f"{found['id']}: {len(differences)} {many}", *(f"  {_line(one)}" for one in differences)]


def _line(one: dict[str, Any]) -> str:
    old, new = (json.dumps(one[name], ensure_ascii=False) for name in ("old", "new"))
    values = {"added": new, "removed": old, "changed": f"{old} → {new}"}[one["kind"]]
    return f"{SIGNS[one['kind']]} {one['path']}: {values}"
