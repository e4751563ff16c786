"""gray: rollouts that share requests out among two versions: list, show, change, hold and end them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from coldchain.cli.client import Client, app_path
from coldchain.cli.errors import Invalid
from coldchain.cli.files import parsed, source_of, text_of
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Url, complete_app
from coldchain.cli.output import run, say, show, table, write_json


class Action(StrEnum):
    """What to do."""

    LIST = "list"
    SHOW = "show"
    SET = "set"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"


App = Annotated[
    str | None, typer.Argument(metavar="[APP]", help="Id of the app, for all but list.", autocompletion=complete_app)
]
Share = Annotated[
    float | None, typer.Option("--share", min=0, max=1, help="For set: the share of the new version, 0 to 1.")
]
Rules = Annotated[
    Path | None, typer.Option("--rules", metavar="FILE", help="For set: the rules, as in a definition; - is input.")
]


def gray(
    action: Annotated[
        Action, typer.Argument(metavar="ACTION", help="list, show, set, pause, resume, promote or abort.")
    ],
    app: App = None,
    share: Share = None,
    rules: Rules = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Watch and steer gray rollouts: which share of the requests goes to the new version, and by which rules.

    set changes share or rules; with another share the rollout is held until resume. promote sends all requests to the
    new version, abort all to the old one; what gets nothing any more then leaves.
    """
    run(_gray(Client(url), action, app, share, rules, as_json=as_json))


async def _gray(
    client: Client, action: Action, app: str | None, share: float | None, rules: Path | None, *, as_json: bool
) -> None:
    _check(action, app, share, rules)
    body: dict[str, Any] = {} if share is None else {"share": share}
    if rules is not None:
        body["rules"] = _read(rules)
    async with client:
        if action is Action.LIST:
            found = await client.get("/v1/gray")
        else:
            path = f"/v1/gray/{app_path(app or '')}"
            if action is Action.SHOW:
                found = await client.get(path)
            elif action is Action.SET:
                found = await client.call("PATCH", path, body=body)
            else:
                found = await client.call("POST", f"{path}/{action.value}")
    if as_json:
        write_json(found)
    elif action is Action.LIST:
        heads = (_("app"), _("mark"), _("share"), _("step"), _("state"))
        show(table(heads, [_row(one) for one in found["gray"]]))
    else:
        _tell(found)


def _check(action: Action, app: str | None, share: float | None, rules: Path | None) -> None:
    todo = _("`coldchain {command} --help` shows how.", command="gray")
    if (app is None) != (action is Action.LIST):
        raise Invalid(_("list takes no app, and all else takes one"), todo=todo)
    if (action is Action.SET) != (share is not None or rules is not None):
        raise Invalid(_("set needs --share or --rules, and nothing else takes them"), todo=todo)


def _read(path: Path) -> Any:
    """The rules of a file."""
    from coldchain.model.errors import MalformedDocument

    text = text_of(path)
    try:
        return parsed(path, text)
    except MalformedDocument as error:
        what = _("{source} has no rules; nothing was changed", source=source_of(path))
        raise Invalid(what, why=str(error)) from error


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    return one["app"], one["mark"], _percent(one["share"]), f"{one['stepsDone']}/{len(one['steps'])}", _state(one)


def _state(one: dict[str, Any]) -> str:
    if one["state"] == "promoted":
        return _("promoted")
    if one["state"] == "aborted":
        return _("aborted")
    if one["pausedBy"] == "plan" and one["resumesAt"] is not None:
        return _("paused until {time}", time=one["resumesAt"])
    return _("goes on") if one["pausedBy"] is None else _("paused by {holder}", holder=one["pausedBy"])


def _percent(share: float) -> str:
    return f"{share * 100:.4g} %"


def _tell(one: dict[str, Any]) -> None:
    row = _row(one)
    say(
        _(
            "{app}: {share} of the requests to the new version, step {step}, {state}",
            app=row[0],
            share=row[2],
            step=row[3],
            state=row[4],
        )
    )
    if not one["inForce"]:
        say(_("not every gateway works by it yet"))
    for position, rule in enumerate(one["rules"], 1):
        typer.echo(f"  {position}. {_rule(rule)}")
    for side, name in (("new", one["version"]), ("old", one["formerVersion"] or "-")):
        counts = one["traffic"][side]
        typer.echo(
            f"  {side} {name}: "
            + _(
                "{requests} requests, {errors} errors within {seconds:g} s",
                requests=counts["requests"],
                errors=counts["errors"],
                seconds=one["traffic"]["windowSeconds"],
            )
        )


def _rule(rule: dict[str, Any]) -> str:
    """As a definition has it, without what it does not say."""
    said = {name: value for name, value in rule.items() if value not in (None, False, []) and name != "by"}
    words = (f"{name}={','.join(value) if isinstance(value, list) else value}" for name, value in said.items())
    return " ".join([rule["by"], *(one for one in words if one != "to=gray")])
