"""routes: what the gateways do with requests: show it, write it out, compare or apply a file."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldchain.cli.client import Client
from coldchain.cli.diff import current_definition, difference_line
from coldchain.cli.errors import FAILED, CommandError, Invalid
from coldchain.cli.files import Mistake, mistakes_of, parsed, source_of, text_of
from coldchain.cli.follow import follow
from coldchain.cli.language import _, plural
from coldchain.cli.options import DEFAULT_URL, Force, Json, Timeout, Url, Wait
from coldchain.cli.output import run, say, show, table, write_json

if TYPE_CHECKING:
    from coldchain.model.errors import Problem


class Action(StrEnum):
    """What to do."""

    SHOW = "show"
    DUMP = "dump"
    DIFF = "diff"
    APPLY = "apply"


File = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="What dump wrote, changed; - is standard input.")]


def routes(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="show, dump, diff or apply.")],
    file: File = None,
    wait: Wait = True,
    force: Force = False,
    timeout: Timeout = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Say which requests go to which app. What dump writes can be changed and applied; apps not named keep theirs.

    apply changes all of them together or none; no instance is replaced. show has the routes of each domain in the
    order in which they are asked.

    Exit status of diff: 0 nothing would change; 1 something would.
    """
    client = Client(url)
    run(_routes(client, action, file, wait=wait, force=force, timeout=timeout, as_json=as_json))


async def _routes(
    client: Client,
    action: Action,
    file: Path | None,
    *,
    wait: bool,
    force: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    if (file is None) != (action in (Action.SHOW, Action.DUMP)):
        raise Invalid(
            _("{action} needs a file, or takes none", action=action), todo=_("`coldchain routes --help` shows how.")
        )
    async with client:
        if file is None:
            _print(await client.get("/v1/routes"), action, as_json=as_json)
            return
        changes = await _changes(client, file)
        if action is Action.DIFF:
            _say_changes(changes, as_json=as_json)
            if changes:
                raise typer.Exit(FAILED)
            return
        if not changes:
            _say_changes(changes, as_json=as_json)
            return
        body = [{"id": app_id, "routes": one["routes"]} for app_id, one in changes.items()]
        begun = await client.call("PATCH", "/v2/apps", body=body, query=[("force", str(force).lower())])
        if not as_json:
            _say_changes(changes, as_json=False)
        if wait:
            await follow(client, [begun["deploymentId"]], timeout=timeout, as_json=as_json)
        elif as_json:
            write_json(begun)
        else:
            say(_("deployment {id} begun", id=begun["deploymentId"]))


def _print(found: dict[str, Any], action: Action, *, as_json: bool) -> None:
    if action is Action.DUMP:
        document = {"apps": found["apps"]}
        if as_json:
            write_json(document)
            return
        from coldchain.documents.yaml_writer import write_yaml

        typer.echo(write_yaml(document), nl=False)
    elif as_json:
        write_json({"domains": found["domains"]})
    else:
        rows = [(domain, *_row(one)) for domain, asked in found["domains"].items() for one in asked]
        show(table(("domain", "path", "conditions", "app", "service", "filters"), rows))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    sign = {"prefix": "", "exact": "= ", "regex": "~ "}[one["pathKind"]]
    conditions = [*([",".join(one["methods"])] if one["methods"] else [])]
    conditions += [f"{name}: {value}" for name, value in one["headers"].items()]
    filters = sorted(name for name, value in (one.get("filters") or {}).items() if value is not None)
    return f"{sign}{one['path']}", "; ".join(conditions), one["app"], one["service"], ", ".join(filters)


def _say_changes(changes: dict[str, dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        write_json([{"id": app_id, "differences": one["differences"]} for app_id, one in changes.items()])
        return
    for app_id, one in changes.items():
        number = len(one["differences"])
        typer.echo(f"{app_id}: " + plural("{number} change", "{number} changes", number))
        for each in one["differences"]:
            typer.echo(f"  {difference_line(each)}")
    if not changes:
        say(_("no change"))


def _placed(problems: "Sequence[Problem]", app_id: str) -> "list[Problem]":
    """With their places in the file."""
    from msgspec.structs import replace

    place = "/apps/" + app_id.replace("~", "~0").replace("/", "~1")
    return [replace(one, path=place + one.path.removeprefix("/routes")) for one in problems]


async def _changes(client: Client, path: Path) -> dict[str, dict[str, Any]]:
    """By app, for those whose routes would be others: `routes` as they would be, and `differences`. Raises Invalid with
    the lines of everything that is wrong."""
    from msgspec import to_builtins

    from coldchain.documents.application import decode_app, encode_app
    from coldchain.documents.difference import difference
    from coldchain.documents.routes_file import decode_routes
    from coldchain.model.errors import InvalidDocument, MalformedDocument

    source = source_of(path)
    what = _("{source} has no routes that could be applied; nothing was changed", source=source)
    text = text_of(path)
    try:
        wanted = decode_routes(parsed(path, text))
    except MalformedDocument as error:
        raise Invalid(what, why=str(error)) from error
    except InvalidDocument as error:
        raise Invalid(what, lines=[str(one) for one in mistakes_of(source, text, (), error)]) from error
    found: dict[str, dict[str, Any]] = {}
    mistakes: list[Mistake] = []
    for app_id, given in wanted.items():
        current = await current_definition(client, app_id)
        if current is None:
            raise CommandError(_("there is no app {id}", id=app_id), todo=_("`coldchain status` lists all."))
        try:
            becomes = encode_app(decode_app(current | {"routes": given})).get("routes", [])
        except InvalidDocument as error:
            mistakes += mistakes_of(source, text, (), InvalidDocument(_placed(error.problems, app_id)))
            continue
        differences = difference(current.get("routes", []), becomes)
        if differences:
            found[app_id] = {"routes": becomes, "differences": to_builtins(differences)}
    if mistakes:
        raise Invalid(what, lines=[str(one) for one in mistakes])
    return found
