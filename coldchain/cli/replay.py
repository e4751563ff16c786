"""replay: what was decided in an incident, saved with all that was looked at, and decided again with today's code."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldchain.cli.client import Client, app_path
from coldchain.cli.errors import FAILED, Invalid
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, AppId, Json, Url
from coldchain.cli.output import fail, run, say, write_json

if TYPE_CHECKING:
    from coldchain.documents.bundle import Bundle, Replayed


def bundle(
    app: AppId,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it there.")] = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Save the last decisions on an app with all that they looked at, values of variables included; always JSON."""
    run(_bundle(Client(url), app, output, as_json=as_json))


async def _bundle(client: Client, app: str, output: Path | None, *, as_json: bool) -> None:
    import json

    async with client:
        found = await client.get(f"/v1/apps/{app_path(app)}/bundle")
    if output is None:
        write_json(found)
        return
    try:
        await asyncio.to_thread(output.write_text, json.dumps(found, ensure_ascii=False), "utf-8")
    except OSError as error:
        raise Invalid(_("cannot write {file}", file=output), why=error.strerror or str(error)) from error
    if as_json:
        write_json({"file": str(output), "decisions": len(found["decisions"])})
    else:
        words = _("{file}: {number} decisions on {app}")
        say(words.format(file=output, number=len(found["decisions"]), app=found["appId"]))


def replay(
    file: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A file that `coldchain bundle` saved.")],
    as_json: Json = False,
) -> None:
    """Decide again, here, on what was recorded, and show each decision with its cause.

    Exit status: 0 all is decided as it was; 1 something is decided otherwise; 2 no bundle.
    """
    from coldchain.documents.bundle import replay as decide_again

    found = _read(file)
    replayed = list(decide_again(found))
    if as_json:
        write_json([_document(one) for one in replayed])
    else:
        for one in replayed:
            typer.echo("\n".join(_lines(one)))
        words = _("{number} decisions on {app}, made by Coldchain {version}")
        say(words.format(number=len(replayed), app=found.app_id, version=found.coldchain))
    if not all(one.same for one in replayed):
        raise typer.Exit(FAILED)


def _read(file: Path) -> "Bundle":
    from coldchain.documents.bundle import decode_bundle
    from coldchain.model.errors import MalformedDocument

    try:
        return decode_bundle(file.read_bytes())
    except OSError as error:
        fail(Invalid(_("cannot read {file}", file=file), why=error.strerror or str(error)))
    except MalformedDocument as error:
        fail(Invalid(f"{file}: {error.message}", todo=error.todo))


def _document(one: "Replayed") -> dict[str, Any]:
    return {"at": one.at, "same": one.same, "recorded": one.recorded, "today": one.today}


def _lines(one: "Replayed") -> list[str]:
    """One line an action; where today differs, what was recorded with - and what is decided today with +."""
    at = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    if one.same:
        return [f"  {at}  {_words(action)}" for action in one.recorded]
    return [
        *(f"- {at}  {_words(action)}" for action in one.recorded if action not in one.today),
        *(f"+ {at}  {_words(action)}" for action in one.today if action not in one.recorded),
    ] or [f"~ {at}  " + _("the same actions in another order or number")]


def _words(action: dict[str, Any]) -> str:
    told = {"action", "cause", "failure", "backoff", "to"}
    parts = [f"{name}={value}" for name, value in action.items() if name not in told and value is not None]
    return f"{action['action']} {' '.join(parts)}: {action['cause']}"
