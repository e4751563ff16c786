"""netd status: how netd stands, over a unix socket that root alone can open: for `coldchain network doctor`, and for
Prometheus by whoever passes it on."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec
from aiohttp import web

from coldchain._version import __version__
from coldchain.control.netd.policy import PolicyLoop
from coldchain.documents.metrics import CONTENT_TYPE, Metric, render
from coldchain.main.netd_policy import policy_metrics
from coldchain.model.base import Noun
from coldchain.model.kept_address import AddressStatus
from coldchain.model.node import Node
from coldchain.network.driver import Calls

Samples = dict[tuple[tuple[str, str], ...], float]


class Standing(Protocol):
    """Whoever says how it stands."""

    @property
    def status(self) -> Noun: ...


class StatusServer:
    """`GET /status`: JSON of each loop's status by its name. `GET /metrics`: text in Prometheus's form."""

    def __init__(
        self,
        path: Path,
        node: Node,
        loops: Mapping[str, Standing],
        calls: Mapping[str, Calls],
        policy: PolicyLoop | None = None,
    ) -> None:
        self._path = path
        self._node = node
        self._loops = loops
        self._calls = calls
        self._policy = policy
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/status", self._status)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        finally:
            os.umask(before)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._path.unlink(missing_ok=True)

    async def _status(self, request: web.Request) -> web.Response:
        document = {
            "version": __version__,
            "node": self._node,
            "calls": {name: its.answered + its.refused for name, its in self._calls.items()},
            "loops": {name: one.status for name, one in self._loops.items()},
        }
        return web.Response(body=msgspec.json.encode(document), content_type="application/json")

    async def _metrics(self, request: web.Request) -> web.Response:
        book = self._loops.get("addresses")
        addresses = book.status if book is not None else None
        found = metrics(self._calls, addresses if isinstance(addresses, AddressStatus) else AddressStatus())
        if self._policy is not None:
            found += await policy_metrics(self._policy)
        text = render(found)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})


def metrics(calls: Mapping[str, Calls], addresses: AddressStatus) -> list[Metric]:
    """Calls of Docker, and how it stands with addresses."""
    counted: Samples = {
        (("call", name), ("outcome", outcome)): float(number)
        for name, its in sorted(calls.items())
        for outcome, number in (("answered", its.answered), ("refused", its.refused))
    }
    seconds: Samples = {(("call", name),): its.seconds for name, its in sorted(calls.items())}
    stand: Samples = {
        (("pool", name), ("state", state)): float(number)
        for name, its in addresses.pools.items()
        for state, number in (("used", its.given), ("free", its.reserve), ("resting", its.resting))
    }
    return [
        Metric("coldchain_netd_calls_total", "counter", "Calls of Docker, by kind and outcome.", counted),
        Metric("coldchain_netd_call_seconds_total", "counter", "What they took, all together.", seconds),
        Metric("coldchain_netd_addresses", "gauge", "Addresses that this machine holds, by pool and state.", stand),
    ]
