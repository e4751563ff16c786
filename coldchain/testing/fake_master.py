"""FakeMaster: the v1 scheduler API of a Mesos master over HTTP, which tells what it is told to tell."""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from coldchain.clients.mesos.scheduler import PATH

Document = dict[str, Any]
ENDED = "ENDED"
"""As in recordings: the stream ends here."""


class FakeMaster:
    """`calls` are all that came, subscriptions included. `script` is told to those who subscribe, one after the other,
    up to its next end; `leader`: where a standby sends them instead. `answers`: makes events of a call; `loses`:
    whether one gets no answer that means anything. `answering`: answers to all calls wait for it."""

    def __init__(self) -> None:
        self.calls: list[Document] = []
        self.script: list[Document] = []
        self.leader = ""
        self.answers: Callable[[Document], Iterable[Document]] = lambda call: ()
        self.loses: Callable[[Document], bool] = lambda call: False
        self.answering = asyncio.Event()
        self.answering.set()
        self.address = ""
        self._streams: list[asyncio.Queue[Document]] = []
        self._came = asyncio.Condition()
        application = web.Application(client_max_size=1 << 26)
        application.router.add_post(PATH, self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)

    async def start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = "{}:{}".format(*self._runner.addresses[0][:2])

    async def stop(self) -> None:
        self.cut()
        await self._runner.cleanup()

    def say(self, *events: Document) -> None:
        """To everybody who is subscribed."""
        for stream in self._streams:
            for event in events:
                stream.put_nowait(event)

    def cut(self) -> None:
        """End all streams."""
        self.say({"type": ENDED})

    async def until(self, kind: str, number: int = 1) -> Document:
        """The call of this type that is the given one of its kind."""
        async with asyncio.timeout(10), self._came:
            while len(found := [one for one in self.calls if one["type"] == kind]) < number:
                await self._came.wait()
            return found[number - 1]

    def of(self, kind: str) -> list[Document]:
        return [one for one in self.calls if one["type"] == kind]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.leader:
            return web.Response(status=307, headers={"Location": f"//{self.leader}{PATH}"})
        call = json.loads(await request.read())
        async with self._came:
            self.calls.append(call)
            self._came.notify_all()
        if call["type"] == "SUBSCRIBE":
            return await self._stream(request)
        if request.headers.get("Mesos-Stream-Id") != "stream":
            return web.Response(status=400, text="no such stream")
        if self.loses(call):
            return web.Response(status=503, text="not now")
        self.say(*self.answers(call))
        await self.answering.wait()
        return web.Response(status=202)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Mesos-Stream-Id": "stream", "Content-Type": "application/json"})
        await response.prepare(request)
        events: asyncio.Queue[Document] = asyncio.Queue()
        while self.script:
            event = self.script.pop(0)
            events.put_nowait(event)
            if event["type"] == ENDED:
                break
        self._streams.append(events)
        try:
            while (event := await events.get())["type"] != ENDED:
                record = json.dumps(event).encode()
                await response.write(b"%d\n%s" % (len(record), record))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._streams.remove(events)
        return response


def subscribed(framework_id: str = "F", heartbeat_seconds: float = 15.0) -> Document:
    content = {"framework_id": {"value": framework_id}, "heartbeat_interval_seconds": heartbeat_seconds}
    return {"type": "SUBSCRIBED", "subscribed": content}


def update(task_id: str, state: str, **more: Any) -> Document:
    status = {"task_id": {"value": task_id}, "state": state, "agent_id": {"value": "S0"}, **more}
    return {"type": "UPDATE", "update": {"status": status}}


def offers(*offer_ids: str, agent: str = "agent-1", cpus: float = 4.0, **more: Any) -> Document:
    resources = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}, "role": "*"}
        for name, value in (("cpus", cpus), ("mem", 1000 * cpus))
    ]
    ports = {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 31999}]}, "role": "*"}
    made = [
        {"id": {"value": one}, "agent_id": {"value": "S0"}, "hostname": agent, "resources": [*resources, ports], **more}
        for one in offer_ids
    ]
    return {"type": "OFFERS", "offers": {"offers": made}}


def knows(call: Document, **states: str) -> Iterable[Document]:
    """The answers to a reconciliation by a master that knows these tasks, and no other."""
    if call["type"] != "RECONCILE":
        return
    asked = [one["task_id"]["value"] for one in call["reconcile"]["tasks"]] or list(states)
    for name in asked:
        yield update(name, states.get(name, "TASK_UNKNOWN"), source="SOURCE_MASTER", reason="REASON_RECONCILIATION")
