"""A provider and a consumer of Dubbo that are not ours, in one process of Node.js: sofa-rpc-node, dubbo-remoting."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any, Self

from coldchain.testing import node
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT

_SCRIPT = Path(__file__).with_suffix(".js")
INTERFACE, VERSION, GROUP = "com.shop.Stock", "1.0.0", "SOFA"
LINE_BYTES_MAX = 64 * 1024 * 1024


class DubboPeer:
    """It serves INTERFACE at `address`, and dies with the process that started it. `zookeeper`: HOST:PORT/ROOT, where
    its provider announces itself, and where its consumer finds others if a call names no address."""

    def __init__(self, zookeeper: str = "") -> None:
        self._zookeeper = zookeeper
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *DIES_WITH_ITS_PARENT,
            str(node.node()),
            str(_SCRIPT),
            *(INTERFACE, VERSION, GROUP, self._zookeeper),
            env=node.environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())
        self.address = f"127.0.0.1:{self.port}"
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._reading
        await self._process.wait()

    async def call(self, address: str, method: str, *values: object, timeout_seconds: float = 10.0) -> Any:
        """What its consumer gets from a provider. Raises AssertionError with what it says was wrong."""
        return await self._ask("call", address=address, method=method, values=values, timeout=timeout_seconds * 1000)

    async def seen(self) -> list[Any]:
        """The arguments of the last call that its provider has had, as it understood them."""
        return list(await self._ask("seen"))

    async def beat(self, address: str) -> None:
        """Its consumer sends a heartbeat, and has its answer."""
        await self._ask("beat", address=address)

    async def time(self, address: str, count: int, width: int, value: object) -> tuple[float, list[float]]:
        """So many calls of echo, `width` at a time: seconds for all, and for each."""
        measured = await self._ask("time", address=address, count=count, width=width, value=value)
        return measured["milliseconds"] / 1000, [one / 1000 for one in measured["took"]]

    async def _ask(self, ask: str, **more: object) -> Any:
        assert self._process.stdin is not None
        number = next(self._numbers)
        self._waiting[number] = waiting = asyncio.get_running_loop().create_future()
        self._process.stdin.write(f"{json.dumps({'ask': ask, 'number': number, **more})}\n".encode())
        reply = await waiting
        if "error" in reply:
            raise AssertionError(reply["error"])
        return reply.get("answer")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            reply = json.loads(line)
            self._waiting.pop(reply["number"]).set_result(reply)
        for waiting in self._waiting.values():
            waiting.set_exception(AssertionError("Node.js has ended"))
