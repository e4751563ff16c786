"""balancer: what stands before several gateways: it asks each for its readiness, and load goes to those that are."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import aiohttp

from coldchain.testing.driven import StepFailed
from coldchain.testing.load.generator import Generator

LOOK_SECONDS = 0.2
"""Far below the second by which a gateway's readiness ends before the controller gives it up."""
ANSWER_SECONDS = 1.0
PATIENCE_SECONDS = 30.0


class Balancer:
    """`gateways`: ports where consumers come in, with the ports of readiness. While none is ready it goes on with those
    that were ready last, as balancers do."""

    def __init__(self, gateways: Sequence[tuple[int, int]], generator: Generator) -> None:
        self._gateways = gateways
        self._generator = generator
        self.used: tuple[int, ...] = ()

    async def found(self) -> None:
        """Waits until one is ready. Raises StepFailed."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.used:
            if time.monotonic() > deadline:
                raise StepFailed(f"no gateway is ready within {PATIENCE_SECONDS:g} s")
            await asyncio.sleep(LOOK_SECONDS)

    async def run(self) -> None:
        """Until cancelled."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                answers = await asyncio.gather(*(_ready(session, status) for _, status in self._gateways))
                pairs = zip(self._gateways, answers, strict=True)
                ready = tuple(port for (port, _), answer in pairs if answer)
                if ready and ready != self.used:
                    self.used = ready
                    self._generator.direct([("127.0.0.1", port) for port in ready])
                await asyncio.sleep(LOOK_SECONDS)


async def _ready(session: aiohttp.ClientSession, port: int) -> bool:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(f"http://127.0.0.1:{port}/.coldchain/ready") as answer:
            return answer.status == 200
    return False
