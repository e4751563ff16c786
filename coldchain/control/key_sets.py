"""key_sets: fetches the public keys that routes name, keeps the last good ones, and hands them to the gateways."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from coldchain.control.state import State
from coldchain.decisions import key_set as decide
from coldchain.documents.key_set import read_key_set
from coldchain.documents.keys import Record
from coldchain.model.errors import ColdchainError
from coldchain.model.gateway_resource import KeySet
from coldchain.model.key_set import KeptKeySet, KeySetState
from coldchain.model.version import AppRecord, Version
from coldchain.ports.clock import Clock
from coldchain.ports.key_source import KeySource

FETCHED_AT_ONCE = 4

log = structlog.get_logger(__name__)


class KeySets:
    """Without a `source` nothing is fetched; what is on record is handed on all the same."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._wake = asyncio.Event()
        self.source: KeySource | None = None
        self.states: dict[str, KeySetState] = {}

    def start(self) -> None:
        """Follow the records from now on."""
        self._state.on_commit(self._committed)

    def wanted(self) -> frozenset[str]:
        """The addresses that routes name now."""
        return decide.wanted(self._state.wanted_apps())

    def resources(self) -> list[KeySet]:
        """As gateways have them."""
        return [KeySet(name=one.url, keys=one.keys) for one in self._state.key_sets.values()]

    async def run(self) -> None:
        """For ever."""
        while True:
            self._wake.clear()
            wanted = self.wanted()
            await self._forget(wanted)
            await self._fetch(decide.due(wanted, self.states, self._clock.monotonic()))
            await self._pass(decide.wait_seconds(self.wanted(), self.states, self._clock.monotonic()))

    async def _pass(self, seconds: float | None) -> None:
        """Until definitions have changed, or so much time has passed."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._wake.wait())]
        if seconds is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _fetch(self, urls: Sequence[str]) -> None:
        if self.source is None:
            return
        for begin in range(0, len(urls), FETCHED_AT_ONCE):
            await asyncio.gather(*(self._renew(url, self.source) for url in urls[begin : begin + FETCHED_AT_ONCE]))

    async def _renew(self, url: str, source: KeySource) -> None:
        before = self.states.get(url)
        try:
            keys = read_key_set(await source.fetch(url))
            known = self._state.key_sets.get(url)
            if known is None or known.keys != keys:
                await self._keep(KeptKeySet(url=url, keys=keys, changed_at=self._clock.now()))
                log.info("keys by which tokens are signed have changed", url=url, keys=len(keys))
        except ColdchainError as error:
            if before is None or before.problem != error.message:
                log.warning("keys by which tokens are signed stay as they were", url=url, error=error.message)
            self.states[url] = decide.tried(before, self._clock.monotonic(), problem=error.message)
            return
        self.states[url] = decide.tried(before, self._clock.monotonic(), fetched_at=self._clock.now())

    async def _keep(self, record: KeptKeySet) -> None:
        async with self._state.lock:
            await self._state.fresh()
            await self._state.commit([record])

    async def _forget(self, wanted: frozenset[str]) -> None:
        """What no route names any more."""
        for url in self.states.keys() - wanted:
            del self.states[url]
        if self._state.key_sets.keys() <= wanted:
            return
        try:
            async with self._state.lock:
                await self._state.fresh()
                wanted = self.wanted()
                await self._state.commit([], [one for url, one in self._state.key_sets.items() if url not in wanted])
        except ColdchainError as error:
            log.warning("keys that nobody needs stay for a while", error=error.message)

    def _committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        if any(isinstance(one, AppRecord | Version) for pair in pairs for one in pair):
            self._wake.set()
