"""deploy: sends definitions and follows them until they serve."""

import asyncio
from pathlib import Path

from coldchain.cli.client import Client, Query, app_path
from coldchain.cli.errors import Refused
from coldchain.cli.files import Definition, read_definitions, unsafe
from coldchain.cli.follow import follow
from coldchain.cli.language import _
from coldchain.cli.options import (
    DEFAULT_URL,
    Because,
    Files,
    Force,
    Json,
    Overrides,
    Timeout,
    Url,
    Wait,
    override_query,
)
from coldchain.cli.order import in_order
from coldchain.cli.output import run, say, write_json


def deploy(
    files: Files,
    wait: Wait = True,
    force: Force = False,
    override: Overrides = None,
    because: Because = "",
    timeout: Timeout = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Create or change apps and groups as their definitions say, and follow until they serve.

    Exit status: 0 succeeded; 1 failed or rolled back; 2 invalid definition or usage; 3 no platform answers;
    4 timed out; 130 interrupted (the deployment goes on).
    """
    query = [("partialUpdate", "false"), ("force", str(force).lower()), *override_query(override, because)]
    run(_deploy(Client(url), files, query, wait=wait, timeout=timeout, as_json=as_json))


async def _deploy(
    client: Client, files: list[Path], query: Query, *, wait: bool, timeout: float | None, as_json: bool
) -> None:
    definitions = await asyncio.to_thread(read_definitions, files)
    for warning in unsafe(definitions):
        say(warning)
    async with client:
        begun: list[dict[str, str]] = []
        for one in in_order(definitions):
            name = one.group.group_id if one.group else one.app_id
            try:
                begun.append(await _send(client, one, query))
            except Refused as error:
                error.what = f"{one.source}: {name}: {error.what}"
                if begun:
                    error.lines.append(_("begun before, and going on: {what}", what=", ".join(map(_name, begun))))
                raise
            if not wait and not as_json:
                last = begun[-1]
                words = _("{app}: deployment {id} begun, version {version}")
                say(words.format(app=name, id=last["deploymentId"], version=last["version"]))
        if wait:
            await follow(client, [each["deploymentId"] for each in begun], timeout=timeout, as_json=as_json)
        elif as_json:
            write_json(begun)


async def _send(client: Client, one: Definition, query: Query) -> dict[str, str]:
    if one.group is not None:
        path = f"/v2/groups/{app_path(one.group.group_id)}"
        begun: dict[str, str] = await client.call("PUT", path, body=one.group.document, query=query)
        return {"id": one.group.group_id, **begun}
    answer: dict[str, str] = await client.call(
        "PUT", f"/v2/apps/{app_path(one.app_id)}", body=one.document, query=query
    )
    return {"id": one.app_id, **answer}


def _name(begun: dict[str, str]) -> str:
    return _("{app} (deployment {id})", app=begun["id"], id=begun["deploymentId"])
