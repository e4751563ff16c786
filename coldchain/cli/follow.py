"""follow: waits for deployments to end, showing how far they are; goes on over a restart of the controller."""

import asyncio
import sys
from types import TracebackType
from typing import Any

from coldchain.cli.client import Client
from coldchain.cli.errors import CommandError, TimedOut
from coldchain.cli.language import _
from coldchain.cli.output import say, show, table, write_json

POLL_SECONDS = 0.25
STAGES = ("desired", "placed", "healthy", "serving")
LOG_LINES_SHOWN = 10


def stage_words() -> dict[str, str]:
    """The stages in the user's language."""
    return {"desired": _("desired"), "placed": _("placed"), "healthy": _("healthy"), "serving": _("serving")}


Deployment = dict[str, Any]


class _Plain:
    """A line for each deployment whenever something changed."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def __enter__(self) -> "_Plain":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left open."""

    def show(self, deployments: list[Deployment]) -> None:
        for one in deployments:
            counts = ", ".join(f"{word} {one['progress'][stage]}" for stage, word in stage_words().items())
            line = f"{one['app']}: {one['kind']} {one['state']}: {counts}"
            if one["progress"]["old"]:
                line += ", " + _("old {number}", number=one["progress"]["old"])
            if one["imageProgress"]:
                line += f"; {one['imageProgress']}"
            if self._said.get(one["id"]) != line:
                self._said[one["id"]] = line
                say(line)


class _Live:
    """A table that is written over itself."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        plain = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._live = Live(console=plain, auto_refresh=False)

    def __enter__(self) -> "_Live":
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, deployments: list[Deployment]) -> None:
        from rich.console import Group
        from rich.text import Text

        rows = [
            (one["app"], one["kind"], *(one["progress"][stage] for stage in (*STAGES, "old")), one["state"])
            for one in deployments
        ]
        waits = [
            Text(
                f"{one['app']}: {one['imageProgress'] or one['explain']}",
                style="dim",
                no_wrap=True,
                overflow="ellipsis",
            )
            for one in deployments
            if one["imageProgress"] or one["explain"]
        ]
        shown = Group(table((_("app"), _("deployment"), *stage_words().values(), _("old"), _("state")), rows), *waits)
        self._live.update(shown, refresh=True)


class _Silent(_Plain):
    def show(self, deployments: list[Deployment]) -> None:
        """For programs, which read only the end."""


async def follow(client: Client, names: list[str], *, timeout: float | None, as_json: bool) -> None:
    """Until all have ended, and what takes failed ones back has ended too. Raises CommandError unless all succeeded."""
    display: _Plain | _Live = _Silent() if as_json else _Live() if sys.stderr.isatty() else _Plain()
    known: dict[str, Deployment] = {}
    try:
        with display:
            async with asyncio.timeout(timeout):
                while not await _all_ended(client, names, known):
                    display.show(list(known.values()))
                    await asyncio.sleep(POLL_SECONDS)
            display.show(list(known.values()))
    except TimeoutError:
        going = _going(names, known)
        raise TimedOut(
            _("not done after {seconds} s; the deployment goes on", seconds=f"{timeout:g}"), todo=_how_to_look(going)
        ) from None
    except asyncio.CancelledError:
        going = _going(names, known)
        if going:
            say("\n" + _("The deployment goes on without you. {todo}", todo=_how_to_look(going)))
        raise
    asked = [known[name] for name in names]
    if as_json:
        write_json({"deployments": list(known.values())})
    _conclude(asked, known, quiet=as_json)


async def _all_ended(client: Client, names: list[str], known: dict[str, Deployment]) -> bool:
    waiting = [name for name in (*names, *known) if name not in known or known[name]["state"] == "running"]
    while waiting:
        name = waiting.pop()
        known[name] = await client.get_patiently(f"/v1/deployments/{name}")
        back = known[name]["rolledBackBy"]
        if back and back not in known:
            waiting.append(back)
    return all(one["state"] != "running" for one in known.values())


def _going(names: list[str], known: dict[str, Deployment]) -> list[tuple[str, str]]:
    """(deployment, app) of what has not ended."""
    found = [(one["id"], one["app"]) for one in known.values() if one["state"] == "running"]
    return found + [(name, "") for name in names if name not in known]


def _how_to_look(going: list[tuple[str, str]]) -> str:
    name, app_id = going[0] if going else ("DEPLOYMENT", "APP")
    status = f"coldchain status {app_id}".strip()
    return _("`{status}` shows it, `coldchain cancel {id}` takes it back.", status=status, id=name)


def _conclude(asked: list[Deployment], known: dict[str, Deployment], *, quiet: bool) -> None:
    lines: list[str] = []
    for one in asked:
        if one["state"] == "succeeded":
            if not quiet:
                words = _("{app}: {kind} succeeded, {serving} serving")
                show(words.format(app=one["app"], kind=one["kind"], serving=one["progress"]["serving"]))
            continue
        lines.append(f"{one['app']}: {one['kind']} {one['state']}: {one['reason'] or _('no reason given')}")
        lines += failure_lines(one["lastFailure"])
        back = known.get(one["rolledBackBy"] or "")
        if back is not None:
            done = back["state"] == "succeeded"
            result = _("it was taken back") if done else _("taking it back {state}", state=back["state"])
            words = _("{app}: {result} (deployment {id}), {serving} serving")
            serving = back["progress"]["serving"]
            lines.append(words.format(app=one["app"], result=result, id=back["id"], serving=serving))
    if lines:
        failed = [_what_failed(one) for one in asked if one["state"] != "succeeded"]
        raise CommandError(
            _("{number} of {all} deployments did not succeed", number=len(failed), all=len(asked))
            if len(asked) > 1
            else _("the deployment did not succeed"),
            lines=lines,
            todo=_(
                "`coldchain status {app}` shows more, `coldchain logs {app}` what its instances write.", app=failed[0]
            ),
        )


def _what_failed(one: Deployment) -> str:
    """The app to look at: of those of a group the first one that failed."""
    return next((str(each["app"]) for each in one.get("members", ()) if each["state"] == "failed"), str(one["app"]))


def failure_lines(failure: dict[str, Any] | None) -> list[str]:
    """The last failed task in words, with what it wrote last."""
    if not failure:
        return []
    status = "" if failure["exitStatus"] is None else _(", exit status {number}", number=failure["exitStatus"])
    words = _("last failed task: {task} on {agent}{status}: {message}")
    agent = failure["host"] or _("no agent")
    lines = [words.format(task=failure["taskId"], agent=agent, status=status, message=failure["message"])]
    return lines + [f"  | {line}" for line in failure["logTail"][-LOG_LINES_SHOWN:]]
