"""holds: commands that hold a deployment, let it go on, and overrule the brake."""

from coldchain.cli.changes import DeploymentId, running_deployment
from coldchain.cli.client import Client
from coldchain.cli.language import _
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.cli.output import run, say, write_json


def pause(deployment: DeploymentId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Hold a running deployment where it is; its time limit stands still. What serves goes on serving."""
    run(_hold(Client(url), deployment, "pause", as_json=as_json))


def resume(deployment: DeploymentId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Let a paused deployment go on; one that waits in a step of its plan to the next."""
    run(_hold(Client(url), deployment, "resume", as_json=as_json))


def promote(deployment: DeploymentId, as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Let a deployment go on to its end, past all the steps of its plan."""
    run(_hold(Client(url), deployment, "promote", as_json=as_json))


async def _hold(client: Client, given: str, verb: str, *, as_json: bool) -> None:
    async with client:
        name = await running_deployment(client, given)
        held = await client.call("POST", f"/v1/deployments/{name}/{verb}")
        if as_json:
            write_json(held)
        else:
            say(_("deployment {id} paused", id=name) if held["pausedBy"] else _("deployment {id} goes on", id=name))


def release_brake(as_json: Json = False, url: Url = DEFAULT_URL) -> None:
    """Go on although so much is bad at once that nothing is killed or replaced."""
    run(_release(Client(url), as_json=as_json))


async def _release(client: Client, *, as_json: bool) -> None:
    async with client:
        brake = await client.call("POST", "/v1/brake/release")
        if as_json:
            write_json(brake)
        else:
            say(_("released, until it is over: {reason}", reason=brake["reason"]))
