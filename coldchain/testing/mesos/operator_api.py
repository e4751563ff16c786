"""Mesos's operator API, as far as tests use it."""

import asyncio
import base64
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp

from coldchain.model.errors import Rejected

RESOURCES = ("cpus", "mem", "disk")
_ENDINGS = ("FINISHED", "FAILED", "KILLED", "ERROR", "LOST", "DROPPED", "GONE", "GONE_BY_OPERATOR")
ENDED = frozenset(f"TASK_{state}" for state in _ENDINGS)


class OneServer:
    """The API of one master or agent; `url` is where it begins. Each call has a connection of its own."""

    def __init__(self, url: str, trust: ssl.SSLContext | None = None) -> None:
        self.url = url
        self.trust = trust

    async def call(self, kind: str, **fields: Any) -> dict[str, Any]:
        """One call by its name, such as GET_TASKS. Raises Rejected with Mesos's words, and aiohttp's errors."""
        headers = {"Accept": "application/json"}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as session,
            session.post(
                f"{self.url}/api/v1",
                json={"type": kind, **fields},
                headers=headers,
                allow_redirects=False,
                ssl=self.trust or True,
            ) as response,
        ):
            if response.status not in (200, 202):
                raise Rejected(f"Mesos: {kind}: {response.status} {(await response.text()).strip()}")
            return dict(await response.json()) if response.content_type == "application/json" else {}

    async def metric(self, name: str) -> float | None:
        """One of the process's own metrics; a standby tells them too."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as session,
            session.get(urllib.parse.urljoin(self.url, "/metrics/snapshot"), ssl=self.trust or True) as response,
        ):
            response.raise_for_status()
            value = (await response.json()).get(name)
            return None if value is None else float(value)

    async def read_file(self, path: str) -> str:
        """A file of a sandbox, whole."""
        answer = await self.call("READ_FILE", read_file={"path": path, "offset": 0})
        return base64.b64decode(answer["read_file"].get("data", "")).decode()

    async def list_files(self, path: str) -> list[str]:
        answer = await self.call("LIST_FILES", list_files={"path": path})
        return [one["path"] for one in answer["list_files"].get("file_infos", ())]


class Operator:
    """Of whoever leads when it is asked, as `find_leader` says."""

    def __init__(self, find_leader: Callable[[], Awaitable[OneServer]]) -> None:
        self._find_leader = find_leader

    async def call(self, kind: str, **fields: Any) -> dict[str, Any]:
        """One call by its name, such as GET_TASKS. Raises Rejected with Mesos's words."""
        return await (await self._find_leader()).call(kind, **fields)

    async def agents(self) -> list[dict[str, Any]]:
        """Those that are registered, also when they do not answer at present (`active` false)."""
        answer = await self.call("GET_AGENTS")
        return list(answer["get_agents"].get("agents", ()))

    async def tasks(self) -> dict[str, list[dict[str, Any]]]:
        """By kind: `tasks`, `pending_tasks`, `unreachable_tasks`, `completed_tasks` and `orphan_tasks`."""
        return dict((await self.call("GET_TASKS"))["get_tasks"])

    async def frameworks(self) -> list[dict[str, Any]]:
        return list((await self.call("GET_FRAMEWORKS"))["get_frameworks"].get("frameworks", ()))

    async def teardown(self, framework_id: str) -> None:
        await self.call("TEARDOWN", teardown={"framework_id": {"value": framework_id}})

    async def drain(self, agent_id: str, *, grace_seconds: float = 5.0, mark_gone: bool = False) -> None:
        """Kill its tasks, each with at most this grace, and offer it no more."""
        grace = {"seconds": int(grace_seconds), "nanos": round(grace_seconds % 1 * 1e9)}  # nanoseconds would mean 0
        fields = {"agent_id": {"value": agent_id}, "max_grace_period": grace, "mark_gone": mark_gone}
        await self.call("DRAIN_AGENT", drain_agent=fields)

    async def reactivate(self, agent_id: str) -> None:
        """The end of `drain`."""
        await self.call("REACTIVATE_AGENT", reactivate_agent={"agent_id": {"value": agent_id}})

    async def mark_gone(self, agent_id: str) -> None:
        await self.call("MARK_AGENT_GONE", mark_agent_gone={"agent_id": {"value": agent_id}})

    async def schedule_maintenance(self, hostnames: Sequence[str], start: float, seconds: float) -> None:
        """From `start` (seconds since 1970) on; frameworks get inverse offers. No host names: nothing is planned."""
        machines = [{"hostname": hostname, "ip": "127.0.0.1"} for hostname in hostnames]
        unavailability = {
            "start": {"nanoseconds": round(start * 1e9)},
            "duration": {"nanoseconds": round(seconds * 1e9)},
        }
        windows = [{"machine_ids": machines, "unavailability": unavailability}] if machines else []
        await self.call("UPDATE_MAINTENANCE_SCHEDULE", update_maintenance_schedule={"schedule": {"windows": windows}})

    async def used(self) -> dict[str, dict[str, float]]:
        """By host name: what Mesos holds for allocated on each agent, in all roles together."""
        found = {}
        for agent in await self.agents():
            found[agent["agent_info"]["hostname"]] = scalars(agent.get("allocated_resources", ()))
        return found

    async def twice_counted(self) -> list[str]:
        """Agents of which more is given away than there is, or not what their tasks and executors say; [] is well.

        Nobody may launch anything meanwhile, or the two answers belong to different moments.
        """
        tasks = (await self.tasks()).get("tasks", [])
        executors = (await self.call("GET_EXECUTORS"))["get_executors"].get("executors", ())
        holders = [*tasks, *({**one["executor_info"], "agent_id": one["agent_id"]} for one in executors)]
        return miscounted(await self.agents(), holders)


def scalars(resources: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Name → sum over all roles."""
    found: dict[str, float] = {}
    for one in resources:
        if "scalar" in one:
            found[one["name"]] = found.get(one["name"], 0.0) + one["scalar"]["value"]
    return found


def miscounted(agents: Sequence[Mapping[str, Any]], holders: Sequence[Mapping[str, Any]]) -> list[str]:
    """`holders`: tasks and executors. One line for each resource that does not add up."""
    held: dict[str, dict[str, float]] = {}
    for holder in holders:
        if holder.get("state") not in ENDED:
            sums = held.setdefault(holder["agent_id"]["value"], {})
            for name, value in scalars(holder.get("resources", ())).items():
                sums[name] = sums.get(name, 0.0) + value
    complaints = []
    for agent in agents:
        info = agent["agent_info"]
        total, given, offered = (
            scalars(agent.get(f"{kind}_resources", ())) for kind in ("total", "allocated", "offered")
        )
        for name in RESOURCES:
            has, gives = total.get(name, 0.0), given.get(name, 0.0)
            holds = held.get(info["id"]["value"], {}).get(name, 0.0)
            if gives + offered.get(name, 0.0) > has + 1e-6 or abs(gives - holds) > 1e-6:
                complaints.append(f"{info['hostname']}: {name}: {gives} of {has} given away, {holds} held")
    return complaints


async def first_that(condition: Callable[[], Awaitable[Any]], what: str, patience_seconds: float) -> Any:
    """The first answer of `condition` that is true; asks again every 20 ms."""
    last: BaseException | None = None
    try:
        async with asyncio.timeout(patience_seconds):
            while True:
                try:
                    if answer := await condition():
                        return answer
                    last = None
                except (aiohttp.ClientError, OSError, TimeoutError, Rejected) as error:
                    last = error
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"in vain waited for: {what} ({last})") from None
