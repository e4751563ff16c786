"""A framework that does nothing by itself: what tests of the lab speak to Mesos with, and benches compare us with."""

import asyncio
import base64
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.surroundings import EXECUTOR

CAPABILITIES = ("MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE")
PATIENCE_SECONDS = 30.0
REFUSE_SECONDS = 0.01


class BareScheduler:
    """Subscribed while its context lasts, to the master that leads at its beginning; torn down at its end.

    `events` is everything that came, in order, with ENDED (which is ours) for the end of the stream. Updates are
    acknowledged by themselves, unless told otherwise.
    """

    def __init__(
        self,
        lab: MesosLab,
        *,
        name: str = "bare",
        roles: Sequence[str] = ("*",),
        capabilities: Sequence[str] = CAPABILITIES,
        framework_id: str = "",
        failover_seconds: float = 3600.0,
        credential: tuple[str, str] | None = None,
        acknowledges: bool = True,
        leaves: bool = False,
    ) -> None:
        self._lab = lab
        self.framework_id = framework_id
        self.events: list[dict[str, Any]] = []
        self.times: list[float] = []
        """When each event came, by a steady clock."""
        self.information: dict[str, Any] = {
            "user": "root",
            "name": name,
            "roles": list(roles),
            "checkpoint": True,
            "failover_timeout": failover_seconds,
            "capabilities": [{"type": capability} for capability in capabilities],
        }
        self._credential = credential
        if credential:
            self.information["principal"] = credential[0]
        self.acknowledges = acknowledges
        self._leaves = leaves
        self._arrived = asyncio.Condition()
        self._spent: set[str] = set()
        self._url = ""

    async def __aenter__(self) -> Self:
        headers = {"Authorization": aiohttp.encode_basic_auth(*self._credential)} if self._credential else {}
        no_limit = aiohttp.ClientTimeout(total=None, sock_connect=5)
        connector = aiohttp.TCPConnector(ssl=self._lab.trust or True)
        self._session = aiohttp.ClientSession(
            headers=headers, timeout=no_limit, connector=connector, read_bufsize=1 << 26
        )
        try:
            await self.subscribe()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Torn down, with its tasks, unless it leaves as if it had crashed."""
        try:
            if not self._leaves:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    await self.call("TEARDOWN")
        finally:
            await self.leave()
            await self._session.close()

    async def subscribe(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Also again, with the same id, to whoever leads now. Raises aiohttp's errors, with Mesos's words."""
        self._url = f"{(await self._lab.leader()).url}/api/v1/scheduler"
        self._stream = ""
        information = dict(self.information)
        body: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": information}}
        if self.framework_id:
            information["id"] = body["framework_id"] = {"value": self.framework_id}
        response = await self._session.post(self._url, json=body, headers={"Accept": "application/json"})
        if response.status != 200:
            words = (await response.text()).strip()
            raise aiohttp.ClientResponseError(
                response.request_info, (), status=response.status, message=words, headers=response.headers
            )
        self._stream = response.headers["Mesos-Stream-Id"]
        seen = len(self.events)
        self._reading = asyncio.create_task(self._read(response))
        subscribed = await self.event("SUBSCRIBED", after=seen, patience_seconds=patience_seconds)
        self.framework_id = subscribed["subscribed"]["framework_id"]["value"]

    async def leave(self) -> None:
        """The stream is cut, as by a crash: Mesos keeps the tasks for the failover time."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def call(self, kind: str, **fields: Any) -> None:
        """One call. Raises aiohttp's errors, with Mesos's words."""
        body = {"type": kind, "framework_id": {"value": self.framework_id}, **fields}
        headers = {"Mesos-Stream-Id": self._stream}
        async with self._session.post(self._url, json=body, headers=headers) as response:
            if response.status != 202:
                raise aiohttp.ClientResponseError(
                    response.request_info, (), status=response.status, message=(await response.text()).strip()
                )

    async def event(self, kind: str, *, after: int = 0, patience_seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The first event of this type from number `after` on; waits for it."""
        return await self._first(lambda one: one["type"] == kind, kind, after, patience_seconds)

    async def offer(self, hostname: str | None = None, patience_seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """An offer that nobody has taken from here yet, of one agent or any."""

        async def find() -> dict[str, Any]:
            async with self._arrived:
                while True:
                    for offer in self._open_offers():
                        if hostname in (None, offer["hostname"]):
                            self._spent.add(offer["id"]["value"])
                            return offer
                    await self._arrived.wait()

        return await _within(find(), f"an offer of {hostname or 'any agent'}", patience_seconds)

    def _open_offers(self) -> list[dict[str, Any]]:
        gone = {event["rescind"]["offer_id"]["value"] for event in self.events if event["type"] == "RESCIND"}
        offers = [
            one for event in self.events if event["type"] == "OFFERS" for one in event["offers"].get("offers", ())
        ]
        return [one for one in offers if one["id"]["value"] not in gone | self._spent]

    async def update(
        self, task_id: str, *states: str, after: int = 0, patience_seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """The first status of this task in one of these states, of the events from number `after` on."""

        def wanted(event: dict[str, Any]) -> bool:
            status = event["update"]["status"] if event["type"] == "UPDATE" else None
            return status is not None and status["task_id"]["value"] == task_id and status["state"] in states

        event = await self._first(wanted, f"{task_id} {states}", after, patience_seconds)
        return dict(event["update"]["status"])

    async def launch(self, offer: Mapping[str, Any], *tasks: dict[str, Any]) -> None:
        """Take an offer with these tasks; what is left of it comes back as another at once."""
        operation = {"type": "LAUNCH", "launch": {"task_infos": tasks}}
        filters = {"refuse_seconds": REFUSE_SECONDS}
        await self.call("ACCEPT", accept={"offer_ids": [offer["id"]], "operations": [operation], "filters": filters})

    async def decline(self, offer: Mapping[str, Any], seconds: float = REFUSE_SECONDS) -> None:
        await self.call("DECLINE", decline={"offer_ids": [offer["id"]], "filters": {"refuse_seconds": seconds}})

    async def kill(self, task_id: str) -> None:
        await self.call("KILL", kill={"task_id": {"value": task_id}})

    def task(
        self, task_id: str, offer: Mapping[str, Any], command: str = "", *, cpus: float = 0.1, mem: float = 16
    ) -> dict[str, Any]:
        """With this scheduler's one executor on the agent; without a command it sleeps for ever."""
        return self._task(task_id, offer, cpus, mem) | {
            "executor": self.executor(offer),
            "data": base64.b64encode(command.encode()).decode(),
        }

    def command_task(self, task_id: str, offer: Mapping[str, Any], command: str) -> dict[str, Any]:
        """Without an executor of its own: the agent starts `mesos-executor` for it."""
        return self._task(task_id, offer, 0.1, 16) | {"command": {"value": command}}

    def executor(self, offer: Mapping[str, Any], executor_id: str = "bare", script: Path = EXECUTOR) -> dict[str, Any]:
        return {
            "type": "CUSTOM",
            "executor_id": {"value": executor_id},
            "framework_id": {"value": self.framework_id},
            "command": {
                "shell": False,
                "value": sys.executable,
                "arguments": [sys.executable, "-SE", str(script)],
            },
            "resources": [scalar("cpus", 0.1, self._role(offer)), scalar("mem", 32, self._role(offer))],
        }

    def _task(self, task_id: str, offer: Mapping[str, Any], cpus: float, mem: float) -> dict[str, Any]:
        role = self._role(offer)
        return {
            "name": task_id,
            "task_id": {"value": task_id},
            "agent_id": offer["agent_id"],
            "resources": [scalar("cpus", cpus, role), scalar("mem", mem, role)],
        }

    def _role(self, offer: Mapping[str, Any]) -> str:
        return str(offer.get("allocation_info", {}).get("role", "*"))  # their word

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        async with response:
            async for event in events(response.content):
                self.times.append(time.monotonic())
                if self.acknowledges and event["type"] == "UPDATE" and "uuid" in event["update"]["status"]:
                    status = event["update"]["status"]
                    named = {key: status[key] for key in ("agent_id", "task_id", "uuid")}
                    with contextlib.suppress(aiohttp.ClientError):  # the stream ends next, which says more
                        await self.call("ACKNOWLEDGE", acknowledge=named)
                await self._arrive(event)
        self.times.append(time.monotonic())
        await self._arrive({"type": "ENDED"})

    async def _arrive(self, event: dict[str, Any]) -> None:
        async with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()

    async def _first(self, wanted: Any, what: str, after: int, patience_seconds: float) -> dict[str, Any]:
        async def find() -> dict[str, Any]:
            async with self._arrived:
                while True:
                    for event in self.events[after:]:
                        if wanted(event):
                            return event
                    await self._arrived.wait()

        try:
            return await _within(find(), what, patience_seconds)
        except AssertionError as error:
            came = [one for one in self.events[after:] if one["type"] not in ("OFFERS", "HEARTBEAT")]
            raise AssertionError(f"{error}; came: {json.dumps(came)[:2000]}") from None


async def events(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Records behind their lengths; ends with the stream."""
    with contextlib.suppress(aiohttp.ClientError, asyncio.IncompleteReadError):
        while length := await content.readuntil(b"\n"):
            yield json.loads(await content.readexactly(int(length)))


def scalar(name: str, value: float, role: str = "*") -> dict[str, Any]:
    """A resource of that role's share: its reservation stays what the offer says."""
    allocated = {} if role == "*" else {"allocation_info": {"role": role}}  # their word
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **allocated}


async def _within(finding: Any, what: str, patience_seconds: float) -> dict[str, Any]:
    try:
        async with asyncio.timeout(patience_seconds):
            found: dict[str, Any] = await finding
            return found
    except TimeoutError:
        raise AssertionError(f"in vain waited for: {what}") from None
