"""FakeAgent: the executor's half of a Mesos agent, in the hands of a test, over real HTTP."""

import asyncio
import base64
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from coldchain.documents.executor_messages import decode, encode
from coldchain.engines.executor.environment import ExecutorEnvironment
from coldchain.model.executor import ExecutorReport, ExecutorSettings, TaskDescription, TaskReport

PATIENCE_SECONDS = 10.0

Document = dict[str, Any]


class FakeAgent:
    """`calls` is everything the executor said, in order. Updates are acknowledged by themselves, unless told otherwise.

    `refuses`: HTTP status that subscriptions get instead, `refused` so often. `drop` ends the subscription, as an agent
    that restarts does.
    """

    def __init__(self, settings: ExecutorSettings) -> None:
        self.settings = settings
        self.calls: list[Document] = []
        self.acknowledges = True
        self.refuses = 0
        self.refused = 0
        self.capabilities = ["TASK_KILLING_STATE"]
        self._arrived = asyncio.Condition()
        self._events: asyncio.Queue[Document | None] | None = None

    async def start(self) -> None:
        application = web.Application(client_max_size=2**24)
        application.router.add_post("/slave(1)/api/v1/executor", self._answer)
        self._server = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._server.setup()
        site = web.TCPSite(self._server, "127.0.0.1", 0)
        await site.start()
        self.port = int(self._server.addresses[0][1])

    async def stop(self) -> None:
        self.drop()
        await self._server.cleanup()

    def environment(self, folder: Any, **changes: Any) -> ExecutorEnvironment:
        """That of an executor of this agent."""
        values = {
            "url": f"http://127.0.0.1:{self.port}/slave(1)/api/v1/executor",
            "address": "127.0.0.1",
            "framework_id": "f",
            "executor_id": "e",
            "life": "e:1",
            "work_folder": folder,
            "checkpoint": True,
            "recovery_seconds": 60.0,
            "backoff_seconds_max": 0.1,
        }
        return ExecutorEnvironment(**(values | changes))

    # Hands of the test

    def launch(self, task_id: str, description: TaskDescription | None, **more: Any) -> None:
        data = {"data": encode(description)} if description is not None else {}
        self.send("LAUNCH", launch={"task": {"name": task_id, "task_id": {"value": task_id}, **data, **more}})

    def kill(self, task_id: str, grace_seconds: float | None = None) -> None:
        kill: Document = {"task_id": {"value": task_id}}
        if grace_seconds is not None:
            kill["kill_policy"] = {"grace_period": {"nanoseconds": int(grace_seconds * 1e9)}}
        self.send("KILL", kill=kill)

    def send(self, kind: str, **fields: Any) -> None:
        assert self._events is not None, "nobody is subscribed"
        self._events.put_nowait({"type": kind, **fields})

    def drop(self) -> None:
        if self._events is not None:
            self._events.put_nowait(None)
            self._events = None

    def acknowledge(self, status: Document) -> None:
        self.send("ACKNOWLEDGED", acknowledged={"task_id": status["task_id"], "uuid": status["uuid"]})

    # What the executor said

    def subscriptions(self) -> list[Document]:
        return [one["subscribe"] for one in self.calls if one["type"] == "SUBSCRIBE"]

    def statuses(self) -> list[Document]:
        """In the order of hearing them, also those that came again with a subscription."""
        found = []
        for call in self.calls:
            if call["type"] == "SUBSCRIBE":
                found += [one["status"] for one in call["subscribe"]["unacknowledged_updates"]]
            elif call["type"] == "UPDATE":
                found.append(call["update"]["status"])
        return found

    def states(self, task_id: str) -> list[str]:
        return [one["state"] for one in self.statuses() if one["task_id"]["value"] == task_id]

    def reports(self) -> list[ExecutorReport]:
        said = [one["message"]["data"] for one in self.calls if one["type"] == "MESSAGE"]
        return [decode(data, ExecutorReport) for data in said]

    async def until(self, wanted: Callable[["FakeAgent"], Any]) -> Any:
        """What `wanted` finds, as soon as it finds something."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._arrived:
            while not (found := wanted(self)):
                await self._arrived.wait()
            return found

    async def until_state(self, task_id: str, state: str) -> Document:
        def find(agent: "FakeAgent") -> Document | None:
            named = (one for one in agent.statuses() if one["task_id"]["value"] == task_id)
            return next((one for one in named if one["state"] == state), None)

        found: Document = await self.until(find)
        return found

    # The wire

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = msgspec.json.decode(await request.read())
        if call["type"] != "SUBSCRIBE":
            if call["type"] == "UPDATE" and not _is_uuid(call["update"]["status"]["uuid"]):
                return web.Response(status=400, text="Not a valid UUID")
            if self._events is None:
                return web.Response(status=403, text="Executor is not subscribed")
            await self._note(call)
            if call["type"] == "UPDATE" and self.acknowledges:
                self.acknowledge(call["update"]["status"])
            return web.Response(status=202)
        if self.refuses:
            self.refused += 1
            async with self._arrived:
                self._arrived.notify_all()
            return web.Response(status=self.refuses, text="not now")
        self.drop()
        events = self._events = asyncio.Queue()
        response = web.StreamResponse()
        await response.prepare(request)
        information = {"capabilities": [{"type": one} for one in self.capabilities]}
        executor = {"executor_id": {"value": "e"}, "data": encode(self.settings)}
        self.send("SUBSCRIBED", subscribed={"executor_info": executor, "framework_info": information})
        await self._note(call)
        while (event := await events.get()) is not None:
            record = msgspec.json.encode(event)
            await response.write(str(len(record)).encode() + b"\n" + record)
        return response

    async def _note(self, call: Document) -> None:
        self.calls.append(call)
        async with self._arrived:
            self._arrived.notify_all()


def _is_uuid(text: str) -> bool:
    """As Mesos looks at it: the bytes must say of which kind it is."""
    return uuid.UUID(bytes=base64.b64decode(text)).version is not None


def report_of(status: Document) -> TaskReport:
    """What a status says to the scheduler."""
    return decode(status["data"], TaskReport)


def number_of(status: Document) -> int:
    """Of an update in its executor's life."""
    return int.from_bytes(base64.b64decode(status["uuid"])[-7:], "big")
