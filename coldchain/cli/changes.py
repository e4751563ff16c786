"""changes: commands that change an app that is there: scale, restart, rollback, cancel, delete."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from coldchain.cli.client import Client, app_path
from coldchain.cli.errors import CommandError, Invalid
from coldchain.cli.follow import follow
from coldchain.cli.language import _
from coldchain.cli.options import (
    DEFAULT_URL,
    AppId,
    Because,
    Force,
    Json,
    Overrides,
    Timeout,
    Url,
    Wait,
    override_query,
)
from coldchain.cli.output import fail, run, say, write_json

Count = Annotated[int, typer.Argument(metavar="N", min=0, help="How many instances.")]
VersionId = Annotated[str | None, typer.Argument(metavar="[VERSION]", help="One of `coldchain versions APP`.")]
DeploymentId = Annotated[
    str, typer.Argument(metavar="DEPLOYMENT", help="Its id, the beginning of it, or the id of its app or group.")
]


class _Change:
    """One call that begins a deployment, and how to go on."""

    def __init__(self, url: str, *, wait: bool, timeout: float | None, as_json: bool) -> None:
        self.client = Client(url)
        self.wait, self.timeout, self.as_json = wait, timeout, as_json

    async def make(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        force: bool = False,
        overrides: Sequence[tuple[str, str]] = (),
    ) -> None:
        async with self.client as client:
            query = [("force", str(force).lower()), *overrides]
            await self.follow(await client.call(method, path, body=body, query=query))

    async def follow(self, begun: dict[str, Any]) -> None:
        if self.wait:
            await follow(self.client, [begun["deploymentId"]], timeout=self.timeout, as_json=self.as_json)
        elif self.as_json:
            write_json(begun)
        else:
            say(_("deployment {id} begun", id=begun["deploymentId"]))


def scale(
    app: AppId,
    instances: Count,
    wait: Wait = True,
    force: Force = False,
    override: Overrides = None,
    because: Because = "",
    timeout: Timeout = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Change the number of instances. What leaves is drained first."""
    overrides = override_query(override, because)
    change = _Change(url, wait=wait, timeout=timeout, as_json=as_json)
    run(
        change.make(
            "PATCH", f"/v2/apps/{app_path(app)}", body={"instances": instances}, force=force, overrides=overrides
        )
    )


def restart(
    app: AppId,
    wait: Wait = True,
    force: Force = False,
    override: Overrides = None,
    because: Because = "",
    timeout: Timeout = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Replace every instance by a new one, as a rollout does."""
    overrides = override_query(override, because)
    change = _Change(url, wait=wait, timeout=timeout, as_json=as_json)
    run(change.make("POST", f"/v2/apps/{app_path(app)}/restart", force=force, overrides=overrides))


def rollback(
    app: AppId,
    version: VersionId = None,
    wait: Wait = True,
    force: Force = False,
    override: Overrides = None,
    because: Because = "",
    timeout: Timeout = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Go back to a version; without one, to the last good one with another configuration."""
    overrides = override_query(override, because)
    change = _Change(url, wait=wait, timeout=timeout, as_json=as_json)
    body = {"version": version} if version else {}
    run(change.make("POST", f"/v1/apps/{app_path(app)}/rollback", body=body, force=force, overrides=overrides))


def cancel(
    deployment: DeploymentId,
    force: Annotated[bool, typer.Option("--force", help="Just end it, as it stands; nothing is taken back.")] = False,
    wait: Wait = True,
    timeout: Timeout = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Take a running deployment back."""
    run(_cancel(_Change(url, wait=wait, timeout=timeout, as_json=as_json), deployment, force=force))


async def _cancel(change: _Change, given: str, *, force: bool) -> None:
    async with change.client as client:
        name = await running_deployment(client, given)
        begun = await client.call("DELETE", f"/v2/deployments/{name}", query={"force": str(force).lower()})
        if begun is not None:
            await change.follow(begun)
        elif change.as_json:
            write_json({"cancelled": name})
        else:
            say(_("deployment {id} ended as it stood", id=name))


async def running_deployment(client: Client, given: str) -> str:
    """The id of the one running deployment that is meant: by what DeploymentId says."""
    running = await client.get("/v2/deployments", embed="coldchain")
    name = "/" + given.strip("/")
    found = [
        str(one["id"])
        for one in running
        if one["id"].startswith(given) or name in one["affectedApps"] or name == one.get("group")
    ]
    if len(found) != 1:
        raise CommandError(
            _("{number} running deployments are meant by {given}", number=len(found), given=repr(given)),
            lines=[f"{one['id']} {one['kind']} of {', '.join(one['affectedApps'])}" for one in running],
            todo=_("These are running: name one of them.") if running else _("None is running."),
        )
    return found[0]


def delete(
    app: AppId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = True,
    force: Force = False,
    timeout: Timeout = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Drain and stop all instances, and take the app away with its versions."""
    change = _Change(url, wait=wait, timeout=timeout, as_json=as_json)
    if not yes:
        if not sys.stdin.isatty():
            fail(Invalid(_("nobody is there to agree that {app} is deleted", app=app), todo=_("Say it with --yes.")))
        typer.confirm(_("Delete {app} with all its instances and versions?", app=app), abort=True, err=True)
    run(change.make("DELETE", f"/v2/apps/{app_path(app)}", force=force))
